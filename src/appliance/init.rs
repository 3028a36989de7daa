//! `genkan init`: PID 1. Boots, then lives until the box ends; a panic is a restart that leaves its reason.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::reboot::{RebootMode, reboot, set_cad_enabled};
use nix::unistd::sync;

use super::boot;
use super::console::Console;
use super::crash;
use super::house::{House, take_signals};
use super::journal::Journal;
use super::seams::Parts;
use super::settings::Settings;

/// Exit status when this is not process 1.
const EXIT_USAGE: u8 = 2;
/// A kernel that refuses to end the machine is left to the watchdog, after the reason could be read.
const LAST_PAUSE: Duration = Duration::from_mins(1);

/// Is process 1 of the card. Comes back only where it cannot be that, or where the kernel refuses to end the machine.
pub fn run(settings: Settings, mut parts: Parts) -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("genkan: init is the first process of the card, and nothing that is started by hand");
        return ExitCode::from(EXIT_USAGE);
    }
    let journal = Journal::new(Console::open());
    journal.start();
    restart_on_panic(settings.data.join("box/log").as_path());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "genkan starts");
    let signals = take_signals().expect("a kernel that runs this has signalfd");
    // From now on ctrl-alt-del is a signal; in a container it is nobody's.
    set_cad_enabled(false).ok();
    let booted = boot::run(&settings, &journal, parts.network.as_mut());
    let house = House::new(settings, journal, parts, signals, booted, Instant::now());
    let error = house.run();
    eprintln!("genkan: the kernel does not end the machine: {error}");
    std::thread::sleep(LAST_PAUSE);
    ExitCode::FAILURE
}

/// A kernel whose process 1 ends panics; a restart is what its owner would do next.
fn restart_on_panic(log: &Path) {
    let log = log.to_owned();
    std::panic::set_hook(Box::new(move |panic| {
        let text = format!("init {panic}").replace('\n', " ");
        crash::last_word(&format!("{text}\n"));
        // Not by the journal, whose lock this thread may hold.
        eprintln!("{text}");
        drop(std::fs::write(log.join("panic.txt"), &text));
        sync();
        reboot(RebootMode::RB_AUTOBOOT).ok();
        std::process::abort();
    }));
}
