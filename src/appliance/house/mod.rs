//! The life of the box after its boot: one loop that waits for the worker, the network, signals and deadlines.

mod ending;
mod news;
mod show;
mod upkeep;

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::board;
use super::boot::Booted;
use super::configuration::Places;
use super::core::notices::Notices;
use super::core::owner_file::OwnerFile;
use super::core::supervision::Supervision;
use super::core::watchdog::Watchdog;
use super::journal::Journal;
use super::led::Led;
use super::owner_partition::{API_KEY, JOIN, OwnerPartition, STATUS};
use super::power_key::PowerKey;
use super::seams::Parts;
use super::settings::Settings;
use super::watchdog::Feeder;
use super::worker::Worker;
use crate::base::condition::Condition;
use crate::wire::supervision::BoxStatus;

/// The loop turns at least so often: the watchdog is fed, and what is due is done.
const TURN: Duration = Duration::from_secs(1);

/// What PID 1 answers to: children, an end by power-off, an end by restart (also ctrl-alt-del).
const SIGNALS: [Signal; 4] = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGUSR2, Signal::SIGINT];

/// How the box ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    PowerOff,
    /// With a word for the firmware, if any.
    Restart(Option<CString>),
}

/// The running box.
pub struct House {
    settings: Settings,
    no_aes: bool,
    journal: Journal,
    parts: Parts,
    signals: SignalFd,
    power_key: PowerKey,
    feeder: Feeder,
    watchdog: Watchdog,
    supervision: Supervision,
    worker: Option<Life>,
    places: Places,
    owner: Option<OwnerPartition>,
    keeps_data: bool,
    keeps_identity: bool,
    notices: Notices,
    status: BoxStatus,
    is_clock_known: bool,
    heard: Heard,
    status_file: OwnerFile,
    join_file: OwnerFile,
    key_file: OwnerFile,
    clocks: Clocks,
    led: Led,
    /// When the light changes next.
    led_due: Option<Instant>,
    /// When the report that the owner asked for is written.
    report_due: Option<Instant>,
    /// Where the kernel's settings are.
    sysctl: PathBuf,
    /// Something that is shown has changed.
    is_stale: bool,
    /// The banner that the console shows.
    shown: Vec<String>,
    ending: Option<Ending>,
}

/// One life of the worker.
struct Life {
    worker: Worker,
    ready: Option<Instant>,
    /// It has closed its end of the conversation.
    is_mute: bool,
}

/// What the worker last said of itself.
#[derive(Default)]
struct Heard {
    conditions: Vec<Condition>,
    summary: Vec<String>,
}

/// When regular things were last done.
struct Clocks {
    start: Instant,
    second: Instant,
    minute: Option<Instant>,
    hour: Instant,
    /// Since when the watchdog is not fed.
    hungry: Option<Instant>,
}

/// Takes the signals of PID 1 from their usual way; from now on they wait until the loop reads them.
///
/// # Errors
/// The kernel has no signalfd.
pub fn take_signals() -> io::Result<SignalFd> {
    let mask: SigSet = SIGNALS.into_iter().collect();
    mask.thread_block()?;
    Ok(SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

impl House {
    /// What a boot has left, come to life at `now`.
    #[must_use]
    pub fn new(
        settings: Settings,
        journal: Journal,
        parts: Parts,
        signals: SignalFd,
        booted: Booted,
        now: Instant,
    ) -> Self {
        let text = |name| booted.owner.as_ref().and_then(|owner| owner.text(name));
        let mut notices = Notices::default();
        let mut parts = parts;
        if let Some(card) = &booted.card {
            parts.update.start(card, &settings.data, &booted.options, now);
        }
        booted.conditions.iter().cloned().for_each(|condition| notices.set(condition));
        Self {
            places: Places::new(&settings.boot, &settings.config, &settings.data),
            status_file: OwnerFile::new(text(STATUS)),
            join_file: OwnerFile::new(text(JOIN)),
            key_file: OwnerFile::new(text(API_KEY)),
            no_aes: booted.options.no_aes,
            settings,
            journal,
            parts,
            signals,
            power_key: PowerKey::open(),
            feeder: booted.feeder,
            watchdog: Watchdog::new(now),
            supervision: Supervision::new(now),
            worker: None,
            owner: booted.owner,
            keeps_data: booted.keeps_data,
            keeps_identity: booted.model.keep_identity_copy,
            notices,
            status: board::status(&booted.options),
            is_clock_known: false,
            heard: Heard::default(),
            clocks: Clocks { start: now, second: now, minute: None, hour: now, hungry: None },
            led: Led::open(&booted.machine.leds, now),
            led_due: None,
            report_due: None,
            sysctl: booted.machine.sysctl,
            is_stale: true,
            shown: Vec::new(),
            ending: None,
        }
    }

    /// Lives until somebody or something wants an end; then ends, and so does the machine.
    pub fn run(mut self) -> io::Error {
        loop {
            let now = Instant::now();
            self.hear_signals(now);
            self.hear_worker(now);
            self.hear_network(now);
            self.hear_updates(now);
            self.keep_up(now);
            self.show(now);
            if let Some(ending) = self.ending.take() {
                return self.end(&ending);
            }
            self.wait();
        }
    }

    /// Until something comes or is due.
    fn wait(&self) {
        let now = Instant::now();
        let deadlines = [
            self.supervision.poll_timeout(),
            self.parts.network.poll_timeout(),
            self.led_due,
            Some(now + TURN),
        ];
        let next = deadlines.into_iter().flatten().min().expect("a turn is always due");
        // Rounded up: waking early would only mean waiting again.
        let timeout = next.saturating_duration_since(now) + Duration::from_millis(1);
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
        let mut waiting = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        waiting.extend(self.power_key.descriptors().map(readable));
        waiting.extend(self.parts.network.descriptors().into_iter().map(readable));
        waiting.extend(self.parts.update.descriptors().into_iter().map(readable));
        if let Some(life) = &self.worker {
            let post = if life.worker.has_post() { PollFlags::POLLOUT } else { PollFlags::empty() };
            waiting.push(readable(life.worker.output()));
            if !life.is_mute {
                waiting.push(PollFd::new(life.worker.conversation(), PollFlags::POLLIN | post));
            }
        }
        // What is ready is found by asking everyone; an interrupted wait is a turn like another.
        poll(&mut waiting, timeout).ok();
    }
}

fn readable(descriptor: std::os::fd::BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(descriptor, PollFlags::POLLIN)
}
