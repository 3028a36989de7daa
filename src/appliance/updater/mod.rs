//! Updates, as PID 1 drives them: no thread, no waiting but for one sector and one small file.
//!
//! ```text
//! at start      Updater::at_boot(settings, boot, now); then take_restart()
//! worker says   handle_message(now, &message)     every FromWorker; FromWorker::Update begins an update
//! worker ends   handle_worker_gone()
//! own state     handle_own(&conditions)           whenever PID 1's conditions change
//! epoll         descriptor() is readable -> handle_readable(now); it changes when an update begins or ends. Once a second does too
//! reaper        any child may be reaped by PID 1: nothing here waits for it
//! timer         poll_timeout() -> handle_timeout(now)
//! after each    take_message() -> to the worker, as status() at its start; take_restart() -> stop all in good order, unmount,
//!               then Restart::perform(); conditions() -> with PID 1's own
//! ```
//!
//! [`core::slot`](crate::appliance::core::slot) decides; this carries its actions out. An action that fails ends what it belongs to:
//! an update that cannot be armed is given up, a switch that cannot be set for a new version sends the box back to the old one.

mod child;
mod memory;
mod status;

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::boot_switch::BootSwitch;
use super::core::health_watch::{HealthWatch, Patience, Verdict};
use super::core::slot::{Action, Boot, Slot, Slots, SwitchFile, Trial};
use super::core::vitals::Vitals;
use crate::base::condition::Condition;
use crate::sys::restart;
use crate::wire::supervision::{FromInit, FromWorker};
use crate::wire::update::Progress;
use child::Child;
use memory::Memory;
use status::Status;

/// How the names of updates end.
const ENDING: &str = "gku";
const FILE_NAME_MAX: usize = 128;

/// How often the health is looked at while a version is tried.
const LOOK: Duration = Duration::from_secs(1);

/// Where things are on this box.
#[derive(Debug, Clone)]
pub struct Settings {
    pub switch: BootSwitch,
    /// Partitions of slots A and B.
    pub slots: [PathBuf; 2],
    /// A file in a folder of root's own on the data partition, which need not exist yet.
    pub memory: PathBuf,
    /// Where the worker puts updates.
    pub state: PathBuf,
    /// As manifests call it.
    pub board: String,
    pub keys: PathBuf,
    pub build: PathBuf,
    /// This binary.
    pub program: PathBuf,
    pub patience: Patience,
}

/// The box must restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// Ask the Pi's firmware to try the other slot. In QEMU the switch has asked already.
    pub tryboot: bool,
}

impl Restart {
    /// Restarts now; everything must be stopped, synchronised and unmounted. Returns only when the kernel refuses.
    pub fn perform(self) -> std::io::Error {
        restart::with_argument(if self.tryboot { c"0 tryboot" } else { c"0" })
    }
}

/// See the module.
#[derive(Debug)]
pub struct Updater {
    settings: Settings,
    slots: Slots,
    memory: Memory,
    vitals: Vitals,
    watch: Option<HealthWatch>,
    child: Option<Child>,
    status: Status,
    restart: Option<Restart>,
}

impl Updater {
    /// What this boot is, and what an update that was under way came to.
    pub fn at_boot(settings: Settings, boot: Boot, now: Instant) -> Self {
        let memory = Memory::new(settings.memory.clone());
        let (slots, actions) = Slots::at_boot(boot, memory.read());
        let watch = slots.expected().map(|before| HealthWatch::new(before, settings.patience, now));
        let status = Status::at_boot(&slots, settings.switch.read().err());
        let mut updater = Self {
            settings,
            slots,
            memory,
            vitals: Vitals::default(),
            watch,
            child: None,
            status,
            restart: None,
        };
        updater.carry_out(actions).expect("a boot only remembers an outcome, which stops nothing");
        updater
    }

    pub fn handle_message(&mut self, now: Instant, message: &FromWorker) {
        self.vitals.handle_message(now, message);
        if let FromWorker::Update { file } = message {
            self.begin(now, file);
        }
        self.look(now);
    }

    pub fn handle_worker_gone(&mut self) {
        self.vitals.handle_worker_gone();
    }

    /// All conditions that PID 1 knows, but for those of [`conditions`](Self::conditions).
    pub fn handle_own(&mut self, conditions: &[Condition]) {
        self.vitals.handle_own(conditions);
    }

    /// What to wait for, readable; `None` while no update is written.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.child.as_ref().map(Child::descriptor)
    }

    /// Reads what there is; never waits.
    pub fn handle_readable(&mut self, now: Instant) {
        let Some(child) = &mut self.child else { return };
        let (lines, open) = child.read(now);
        for progress in lines {
            self.handle_progress(now, progress);
        }
        if !open && self.child.take().is_some() {
            self.give_up("the program that writes the slot ended without a word; the log says more");
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.child.as_ref().is_some_and(|child| child.deadline() <= now) {
            self.child.take().expect("just seen").stop();
            self.give_up("writing the slot made no progress for two minutes; the card may be worn out");
        }
        self.look(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do, and why.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<(Instant, &'static str)> {
        let child = self.child.as_ref().map(|child| (child.deadline(), "writing the slot stalls"));
        let watch =
            self.watch.as_ref().map(|watch| watch.poll_timeout().min((now + LOOK, "health is looked at")));
        child.into_iter().chain(watch).min()
    }

    /// News for the worker, the newest only.
    pub fn take_message(&mut self) -> Option<FromInit> {
        self.status.take_message()
    }

    /// What the worker should know when it starts.
    #[must_use]
    pub fn status(&self) -> Option<FromInit> {
        self.status.message()
    }

    /// Once, when the box must restart.
    pub fn take_restart(&mut self) -> Option<Restart> {
        self.restart.take()
    }

    #[must_use]
    pub fn conditions(&self) -> Vec<Condition> {
        self.status.conditions(&self.slots)
    }

    fn begin(&mut self, now: Instant, file: &str) {
        if !is_update_name(file) {
            return self.status.refuse(format!("{file:?} is not the name of an update"));
        }
        let path = self.settings.state.join(file);
        let begun = match self.slots.handle_update() {
            Ok(actions) => self.carry_out(actions),
            Err(busy) => {
                std::fs::remove_file(&path).ok();
                return self.status.refuse(busy.to_string());
            }
        };
        let begun = begun.and_then(|target| target.ok_or_else(|| "no slot is free".to_owned()));
        let child = begun.and_then(|slot| Child::start(&self.settings, &path, slot, now));
        match child {
            Ok(child) => {
                self.child = Some(child);
                self.status.progress("verifying the update");
            }
            Err(reason) => self.give_up(&reason),
        }
    }

    fn handle_progress(&mut self, now: Instant, progress: Progress) {
        match progress {
            Progress::Step { .. } => self.status.progress(&progress.to_string()),
            Progress::Failed { text } => {
                self.child = None;
                self.give_up(&text);
            }
            Progress::Written { version, build } => {
                self.child = None;
                let health = self.vitals.health(now);
                let actions = self.slots.handle_written(&version, build, health);
                match self.carry_out(actions) {
                    Ok(_) => self
                        .status
                        .progress(&format!("version {version} is written; the box restarts into it")),
                    Err(reason) => self.give_up(&reason),
                }
            }
        }
    }

    fn give_up(&mut self, reason: &str) {
        tracing::warn!(reason, "update given up");
        let actions = self.slots.handle_failed();
        self.status.fail(reason.to_owned());
        if let Err(reason) = self.carry_out(actions) {
            tracing::error!(reason, "the update cannot be taken back");
        }
    }

    /// While a version is tried: does it do what the old one did?
    fn look(&mut self, now: Instant) {
        let Some(watch) = &mut self.watch else { return };
        watch.handle_health(now, &self.vitals.health(now));
        let (actions, held) = match watch.poll(now) {
            Verdict::Waiting => return,
            Verdict::Held => (self.slots.handle_held(), true),
            Verdict::Lost(reason) => (self.slots.handle_lost(&reason), false),
        };
        self.watch = None;
        let done = self.carry_out(actions);
        match done {
            Ok(_) if held => tracing::info!("the new version is confirmed"),
            Ok(_) => tracing::error!("the new version is not taken: the box goes back"),
            Err(reason) => {
                tracing::error!(
                    reason,
                    "the new version cannot be made the one that starts: the box goes back"
                );
                let actions = self.slots.handle_lost(&reason);
                self.carry_out(actions).ok();
            }
        }
        self.status.decided(&self.slots);
    }

    /// In order, up to the first that fails; the slot to write, if there is one.
    fn carry_out(&mut self, actions: Vec<Action>) -> Result<Option<Slot>, String> {
        let mut target = None;
        for action in actions {
            match action {
                Action::Switch(switch) => {
                    self.settings.switch.set(switch).map_err(|error| error.to_string())?;
                }
                Action::Remember(trial) => self.remember(&trial)?,
                Action::Forget => self.memory.forget().map_err(|error| self.memory.fault(&error))?,
                Action::Write(slot) => target = Some(slot),
                Action::Restart { tryboot } => {
                    let tryboot = tryboot && self.settings.switch.file == SwitchFile::Autoboot;
                    self.restart = Some(Restart { tryboot });
                }
            }
        }
        Ok(target)
    }

    /// An outcome that cannot be kept is found again by the next boot, all but its reason; it stops nothing.
    fn remember(&self, trial: &Trial) -> Result<(), String> {
        match self.memory.write(trial) {
            Err(error) if trial.outcome.is_some() => {
                tracing::error!(reason = self.memory.fault(&error), "the update's outcome is not remembered");
                Ok(())
            }
            done => done.map_err(|error| self.memory.fault(&error)),
        }
    }
}

/// Plain names with the right ending, one folder deep at most. The folder may be a link of the worker's making: what is reached
/// through it is read by a program that believes signatures alone, and removed only when it ends as updates do.
fn is_update_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+');
    let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain);
    name.len() <= FILE_NAME_MAX
        && name.split('/').count() <= 2
        && name.split('/').all(is_plain)
        && Path::new(name).extension().is_some_and(|ending| ending == ENDING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_of_updates_are_touched() {
        for name in ["genkan-1.2.3.gku", "genkan-1.2.3-rc.1+5.gku", "incoming/update.gku"] {
            assert!(is_update_name(name), "{name}");
        }
        let long = format!("{}.gku", "a".repeat(200));
        for name in
            ["", ".gku", "/a.gku", "../a.gku", "a/../b.gku", "a/.gku", "a//b.gku", "x.redb", "a.gku\0", &long]
        {
            assert!(!is_update_name(name), "{name}");
        }
    }
}
