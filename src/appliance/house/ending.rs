//! The end in good order: the worker first, then everybody else, then what is mounted, then the machine.

use std::io;
use std::time::{Duration, Instant};

use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, sync};

use super::super::{crash, mounts};
use super::{Ending, House};
use crate::sys::restart;

/// For the worker to drain.
const WORKER_TIME: Duration = Duration::from_secs(10);
/// For all others.
const OTHERS_TIME: Duration = Duration::from_secs(2);
const EVERYBODY: Pid = Pid::from_raw(-1);

impl House {
    /// Ends the machine; comes back only with an error of the kernel's.
    pub(super) fn end(mut self, ending: &Ending) -> io::Error {
        self.stop_worker();
        self.parts.network.stop();
        self.stop_everybody();
        self.write_last_texts();
        self.save_clock();
        if self.keeps_data {
            crash::forget_run(&self.settings.data.join("box"));
        }
        self.journal.release();
        for folder in [&self.settings.data, &self.settings.boot] {
            if let Err(error) = mounts::release(folder) {
                tracing::warn!(%error, "{} is still in use", folder.display());
            }
        }
        sync();
        // A restart is watched to its end; a box that is off is not.
        match ending {
            Ending::PowerOff => self.feeder.close(),
            Ending::Restart(_) => self.feeder.feed(),
        }
        tracing::info!(?ending, "good-bye");
        leave(ending)
    }

    fn stop_worker(&mut self) {
        self.supervision.close();
        self.signal_worker(Signal::SIGTERM);
        self.wait_while(WORKER_TIME, |house, _| house.worker.is_some());
        if self.worker.is_some() {
            tracing::warn!("the worker does not end, and is ended");
            self.signal_worker(Signal::SIGKILL);
            self.wait_while(OTHERS_TIME, |house, _| house.worker.is_some());
        }
    }

    /// A worker that somebody stopped hears nothing but this.
    fn signal_worker(&self, signal: Signal) {
        if let Some(life) = &self.worker {
            life.worker.signal(signal);
            life.worker.signal(Signal::SIGCONT);
        }
    }

    fn stop_everybody(&mut self) {
        kill(EVERYBODY, Signal::SIGTERM).ok();
        self.wait_while(OTHERS_TIME, |_, has_children| has_children);
        kill(EVERYBODY, Signal::SIGKILL).ok();
        self.reap(Instant::now());
    }

    /// Goes on reading the log, reaping and feeding for at most `limit`; `holds` is told whether any child is left.
    fn wait_while(&mut self, limit: Duration, holds: impl Fn(&Self, bool) -> bool) {
        let deadline = Instant::now() + limit;
        loop {
            self.feeder.feed();
            while let Ok(Some(_)) = self.signals.read_signal() {}
            let now = Instant::now();
            let has_children = self.reap(now);
            if !holds(self, has_children) || now >= deadline {
                return;
            }
            if let Some(life) = &mut self.worker {
                life.worker.read_log(false).iter().for_each(|line| self.journal.line(line));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Leaves the machine to the kernel.
pub fn leave(ending: &Ending) -> io::Error {
    if let Ending::Restart(Some(word)) = ending {
        tracing::warn!(error = %restart::with_argument(word), "the firmware does not take a word");
    }
    let mode = if *ending == Ending::PowerOff { RebootMode::RB_POWER_OFF } else { RebootMode::RB_AUTOBOOT };
    match reboot(mode) {
        Ok(never) => match never {},
        Err(error) => error.into(),
    }
}
