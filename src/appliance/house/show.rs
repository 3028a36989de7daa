//! What goes out: the console's banner, the worker's status page, `STATUS.txt` and `JOIN.txt`.

use std::time::{Duration, Instant};

use super::super::console::banner;
use super::super::core::led::LedState;
use super::super::owner_partition::{API_KEY, JOIN, STATUS};
use super::House;
use crate::base::condition::Condition;
use crate::wire::supervision::FromInit;

/// A boot that becomes ready in this time writes one `STATUS.txt`, not two.
const SETTLING: Duration = Duration::from_secs(20);

impl House {
    /// Shows what has changed.
    pub(super) fn show(&mut self, now: Instant) {
        if self.notices.take_change() || std::mem::take(&mut self.is_stale) {
            self.status.conditions = self.notices.all();
            self.tell(&FromInit::Box(self.status.clone()));
            let mut shown = self.status.clone();
            shown.conditions = self.all_conditions();
            let lines = banner(&shown, self.state());
            if lines != self.shown {
                self.journal.show(&lines);
                self.shown = lines;
            }
            let text = (self.parts.status_text)(&self.status, &shown.conditions, &self.heard.summary);
            self.status_file.handle_text(text);
        }
        let is_ready = self.worker.as_ref().is_some_and(|life| life.ready.is_some());
        self.led.show(LedState::of(&self.status, &self.heard.conditions, is_ready), now);
        self.led_due = self.led.handle_timeout(now).map(|wait| now + wait);
        let is_settled = now.duration_since(self.clocks.start) >= SETTLING || is_ready;
        if is_settled {
            self.write_owner_files(now);
        }
    }

    /// Everything that holds, PID 1's first.
    pub(super) fn all_conditions(&self) -> Vec<Condition> {
        self.notices.all().into_iter().chain(self.heard.conditions.iter().cloned()).collect()
    }

    /// Writes what has not reached the card, however short ago the last write was.
    pub(super) fn write_last_texts(&self) {
        let Some(owner) = &self.owner else { return };
        for (name, file) in [(STATUS, &self.status_file), (JOIN, &self.join_file), (API_KEY, &self.key_file)]
        {
            if let Some(text) = file.poll_last_write()
                && let Err(error) = owner.write_text(name, text)
            {
                tracing::warn!(%error, "{name} is not up to date");
            }
        }
    }

    fn state(&self) -> &'static str {
        match &self.worker {
            Some(life) if life.ready.is_some() => "ready",
            Some(_) => "starting",
            None => "restarting",
        }
    }

    fn write_owner_files(&mut self, now: Instant) {
        let Some(owner) = &self.owner else { return };
        let mut failure = None;
        for (name, file) in
            [(STATUS, &mut self.status_file), (JOIN, &mut self.join_file), (API_KEY, &mut self.key_file)]
        {
            let Some(text) = file.poll_write(now) else { continue };
            let result = owner.write_text(name, text);
            file.handle_written(result.is_ok(), now);
            failure = failure.or(result.err());
        }
        if let Some(error) = failure {
            tracing::warn!(%error, "the drive GENKAN cannot be written");
            self.note_unwritten(&error);
        }
    }
}
