//! What comes in: signals and ended children, the worker's words, the network's and the updater's news.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::super::owner_partition::OwnerPartition;
use super::super::seams::{NetworkNews, UpdateNews};
use super::super::worker::Worker;
use super::{Ending, House, Life};
use crate::base::condition::{Condition, Severity};
use crate::wire::supervision::{FromInit, FromWorker};

/// Lines of the log that are shown of a worker that ended.
const LAST_LINES: usize = 40;
/// A report tells of a box that has come to rest: by then it has an address.
const REPORT_AFTER: Duration = Duration::from_secs(5);
/// The worker's last words, in one condition.
const WORDS_SHOWN: usize = 3;

impl House {
    pub(super) fn hear_signals(&mut self, now: Instant) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or_default();
            match Signal::try_from(number) {
                Ok(Signal::SIGTERM | Signal::SIGUSR2) => self.end_by(Ending::PowerOff),
                Ok(Signal::SIGINT) => self.end_by(Ending::Restart(None)),
                _ => {}
            }
        }
        self.reap(now);
        if self.power_key.was_pressed() {
            self.end_by(Ending::PowerOff);
        }
    }

    /// Starts the worker when it is due, and hears it.
    pub(super) fn hear_worker(&mut self, now: Instant) {
        if self.worker.is_none() && self.supervision.is_due(now) {
            self.start_worker(now);
        }
        let Some(life) = &mut self.worker else { return };
        life.worker.read_log(false).iter().for_each(|line| self.journal.line(line));
        life.worker.send();
        if life.is_mute {
            return;
        }
        match life.worker.listen() {
            Ok(messages) => messages.into_iter().for_each(|message| self.hear(message, now)),
            Err(error) => {
                life.is_mute = true;
                if error.kind() == std::io::ErrorKind::InvalidData {
                    tracing::error!(%error, "the worker says what cannot be understood, and is ended");
                    life.worker.signal(Signal::SIGKILL);
                }
            }
        }
    }

    pub(super) fn hear_network(&mut self, now: Instant) {
        for news in self.parts.network.poll(now) {
            self.is_stale = true;
            match news {
                NetworkNews::Link(link) => self.status.link = link,
                NetworkNews::Addresses(addresses) => self.status.addresses = addresses,
                NetworkNews::Clock { known, source } => self.set_clock(known, source),
                NetworkNews::Holds(condition) => self.notices.set(condition),
                NetworkNews::HoldsNoLonger(code) => self.notices.clear(&code),
            }
        }
    }

    pub(super) fn hear_updates(&mut self, now: Instant) {
        for news in self.parts.update.poll(&self.notices.all(), now) {
            match news {
                UpdateNews::Tell(message) => self.tell(&message),
                UpdateNews::Holds(condition) => self.notices.set(condition),
                UpdateNews::HoldsNoLonger(code) => self.notices.clear(&code),
                UpdateNews::Restart(word) => self.end_by(Ending::Restart(word)),
            }
        }
    }

    /// The first wish counts.
    pub(super) fn end_by(&mut self, ending: Ending) {
        if self.ending.is_none() {
            tracing::info!(?ending, "the box ends");
            self.ending = Some(ending);
        }
    }

    /// Takes the status of every child that has ended, its own or not: PID 1 inherits them all. Gives whether any is left.
    pub(super) fn reap(&mut self, now: Instant) -> bool {
        loop {
            let (child, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(child, code)) => (child, code),
                Ok(WaitStatus::Signaled(child, signal, _)) => (child, 128 + signal as i32),
                Err(nix::errno::Errno::EINTR) => continue,
                Ok(_) => return true,
                Err(_) => return false,
            };
            self.handle_exit(child, status, now);
        }
    }

    fn handle_exit(&mut self, child: Pid, status: i32, now: Instant) {
        if self.worker.as_ref().is_some_and(|life| life.worker.pid() == child) {
            self.lose_worker(status, now);
        } else {
            self.parts.network.handle_exit(child, now);
        }
    }

    fn start_worker(&mut self, now: Instant) {
        match Worker::start(&self.settings, self.no_aes) {
            Ok(worker) => {
                tracing::info!(pid = worker.pid().as_raw(), "the worker starts");
                self.worker = Some(Life { worker, ready: None, is_mute: false });
                self.supervision.handle_start();
                self.watchdog.handle_start(now);
                self.tell(&FromInit::Clock { known: self.is_clock_known });
                if let Some(message) = self.parts.update.greeting() {
                    self.tell(&message);
                }
            }
            Err(error) => {
                tracing::error!(%error, "the worker cannot be started");
                let what = "The worker cannot be started.";
                let cure = "If it does not go by itself, report it with the log.";
                let condition = Condition::new("BOX-03", Severity::Error, what);
                self.notices.set(condition.because(error.to_string()).cure(cure));
                self.supervision.handle_exit(now);
            }
        }
        self.is_stale = true;
    }

    fn lose_worker(&mut self, status: i32, now: Instant) {
        let Some(mut life) = self.worker.take() else { return };
        life.worker.read_log(true).iter().for_each(|line| self.journal.line(line));
        self.watchdog.handle_exit();
        self.parts.update.handle_worker_gone();
        self.heard = super::Heard::default();
        self.is_stale = true;
        let Some(delay) = self.supervision.handle_exit(now) else { return };
        tracing::error!(status, ?delay, "the worker ended by itself and is started again");
        self.notices.set(self.worker_ended(status));
        if self.supervision.suspects_config() && self.places.has_other_good() {
            self.fall_back(now);
        }
    }

    /// A configuration that reads well but that no worker can run with.
    fn fall_back(&mut self, now: Instant) {
        match self.places.fall_back() {
            Ok(_) => {
                let what = "No worker gets ready with the configuration: the last good one runs.";
                let cure = "See the worker's last words above, and correct the files in the folder genkan.";
                self.notices.set(Condition::new("CFG-02", Severity::Error, what).cure(cure));
                self.supervision.handle_new_config(now);
            }
            Err(error) => tracing::error!(%error, "the last good configuration cannot be put into force"),
        }
    }

    fn worker_ended(&self, status: i32) -> Condition {
        let how = if status > 128 { format!("by signal {}", status - 128) } else { format!("with {status}") };
        let lines = self.journal.tail(LAST_LINES);
        let spoken = lines.iter().filter(|line| line.contains("ERROR") || line.contains("genkan: "));
        let words: Vec<&str> = spoken.map(|line| line.trim()).collect();
        let words = words[words.len().saturating_sub(WORDS_SHOWN)..].join("\n");
        let what = format!("The worker ended {how}; it is started again.");
        Condition::new("BOX-03", Severity::Error, what)
            .because(words)
            .cure("If it does not go by itself, report it with the log.")
    }

    fn hear(&mut self, message: FromWorker, now: Instant) {
        self.parts.update.hear(&message, now);
        match message {
            FromWorker::Beat(beat) => self.watchdog.handle_beat(beat, now),
            FromWorker::Ready => self.welcome(now),
            FromWorker::Conditions(conditions) => {
                self.is_stale |= self.heard.conditions != conditions;
                self.heard.conditions = conditions;
            }
            FromWorker::Summary(summary) => {
                self.is_stale |= self.heard.summary != summary;
                self.heard.summary = summary;
            }
            FromWorker::JoinSheet(text) => self.join_file.handle_text(text),
            FromWorker::ApiKeySheet(text) => self.key_file.handle_text(text),
            // Theirs who look after updates.
            FromWorker::Update { .. } | FromWorker::Up { .. } => {}
            FromWorker::Reboot => self.end_by(Ending::Restart(None)),
        }
    }

    fn welcome(&mut self, now: Instant) {
        let Some(life) = &mut self.worker else { return };
        if life.ready.is_some() {
            return;
        }
        life.ready = Some(now);
        self.is_stale = true;
        self.supervision.handle_ready(now);
        self.watchdog.handle_ready(now);
        tracing::info!("the worker is ready");
        if self.keeps_data
            && let Err(error) = self.places.keep_running()
        {
            tracing::warn!(%error, "this configuration could not be kept as the last good one");
        }
        self.keep_identity();
        self.tell(&FromInit::Box(self.status.clone()));
        if self.owner.as_ref().is_some_and(OwnerPartition::asks_api_key) {
            self.tell(&FromInit::WantApiKey);
        }
        if self.owner.as_ref().is_some_and(OwnerPartition::asks_report) {
            self.report_due = Some(now + REPORT_AFTER);
        }
    }

    fn set_clock(&mut self, known: bool, source: String) {
        self.is_clock_known = known;
        self.status.clock = if known { source } else { "unknown".to_owned() };
        self.tell(&FromInit::Clock { known });
    }

    pub(super) fn tell(&mut self, message: &FromInit) {
        if let Some(life) = &mut self.worker {
            life.worker.tell(message);
        }
    }
}
