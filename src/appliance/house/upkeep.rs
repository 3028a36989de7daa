//! What is done by the clock: the watchdog, the space on the card, the saved time.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::super::core::space;
use super::super::owner_partition::REPORT;
use super::super::{clock, crash, identity_copy, report, reserve};
use super::{Ending, House, TURN};
use crate::base::condition::{Condition, Severity};
use crate::base::wall_time::UnixTime;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
/// A watchdog that has not reset by then does not work.
const HUNGER_MAX: Duration = Duration::from_secs(30);

impl House {
    pub(super) fn keep_up(&mut self, now: Instant) {
        if now.duration_since(self.clocks.second) >= TURN {
            self.clocks.second = now;
            self.feed(now);
            self.report(now);
        }
        if self.clocks.minute.is_none_or(|last| now.duration_since(last) >= MINUTE) {
            self.clocks.minute = Some(now);
            self.look_at_space();
            self.forgive(now);
        }
        if now.duration_since(self.clocks.hour) >= HOUR {
            self.clocks.hour = now;
            self.save_clock();
        }
    }

    /// Saves the time of a clock that is true, so that the next start knows it is later.
    pub(super) fn save_clock(&self) {
        if !self.is_clock_known || !self.keeps_data {
            return;
        }
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = UnixTime(i64::try_from(seconds).unwrap_or(i64::MAX));
        if let Err(error) = clock::save(&self.settings.data.join("box"), now) {
            tracing::warn!(%error, "the time could not be saved");
        }
    }

    /// Writes the report that the owner asked for.
    fn report(&mut self, now: Instant) {
        let Some(owner) = self.owner.as_ref().filter(|_| self.report_due.is_some_and(|due| due <= now))
        else {
            return;
        };
        self.report_due = None;
        if let Err(error) = owner.write_text(REPORT, &report::text(&self.settings, &self.sysctl)) {
            tracing::warn!(%error, "{REPORT} could not be written");
        }
    }

    /// Brings the copy of the keys on p1 up to date, or takes it away where it is not wished.
    pub(super) fn keep_identity(&mut self) {
        let Some(owner) = &self.owner else { return };
        let state = self.settings.data.join("state");
        let kept = if self.keeps_identity {
            let news = identity_copy::news(&self.settings.boot, &state);
            news.and_then(|copy| copy.map_or(Ok(()), |copy| owner.write_identity(&copy)))
        } else if owner.has_identity() {
            owner.forget_identity()
        } else {
            Ok(())
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "the copy of the box's keys on the drive GENKAN is not up to date");
        }
    }

    fn feed(&mut self, now: Instant) {
        let Err(reason) = self.watchdog.judge(now) else {
            self.clocks.hungry = None;
            self.feeder.feed();
            return;
        };
        let since = *self.clocks.hungry.get_or_insert_with(|| {
            tracing::error!("the watchdog is not fed: {reason}");
            crash::last_word(&format!("BUG: genkan was reset: {reason}\n"));
            now
        });
        if !self.feeder.is_there() || now.duration_since(since) > HUNGER_MAX {
            self.end_by(Ending::Restart(None));
        }
    }

    fn look_at_space(&mut self) {
        let look = if self.keeps_data { reserve::tend } else { reserve::space_in };
        let Ok((free, total)) = look(&self.settings.data) else { return };
        match space::judge(free, total) {
            Some(condition) => self.notices.set(condition),
            None => self.notices.clear(space::CODE),
        }
        let place = if self.keeps_data { "on the card" } else { "in memory, lost at a restart" };
        let text = format!("{place}; {}", space::describe(free, total));
        self.is_stale |= self.status.data != text;
        self.status.data = text;
    }

    /// A worker that has been ready for a while is not reproached with its predecessor's end.
    fn forgive(&mut self, now: Instant) {
        let ready = self.worker.as_ref().and_then(|life| life.ready);
        if ready.is_some_and(|since| now.duration_since(since) >= MINUTE) {
            self.notices.clear("BOX-03");
        }
    }

    /// Notes that something of the box itself does not work.
    pub(super) fn note_unwritten(&mut self, error: &io::Error) {
        let what = "The drive GENKAN cannot be written: STATUS.txt and JOIN.txt are not up to date.";
        let cure = "Check that the card is not write-protected, or replace it.";
        let condition =
            Condition::new("BOX-06", Severity::Warning, what).because(error.to_string()).cure(cure);
        self.notices.set(condition);
    }
}
