//! Which conditions hold, and since when: a blip stays silent, a report that nobody renews lapses.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::condition::{Condition, shown};

/// Conditions held at once; a household has a dozen, and 256 names may want certificates.
pub const CONDITIONS_MAX: usize = 512;

/// Everything that holds now.
#[derive(Debug, Default)]
pub struct ConditionBoard {
    held: BTreeMap<Key, Held>,
}

/// Code, and what it is about.
type Key = (String, String);

#[derive(Debug)]
struct Held {
    condition: Condition,
    visible_at: Instant,
    lapses_at: Option<Instant>,
}

/// How long a condition waits before it is shown, and how long it is believed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// It must hold for this long before anybody is told.
    pub patience: Duration,
    /// It goes unless it is set again within this time; `None` holds until it is cleared.
    pub lapse: Option<Duration>,
}

impl ConditionBoard {
    /// Something holds. Set again, its text is replaced and its patience goes on. Returns whether anything changed; a condition beyond
    /// [`CONDITIONS_MAX`] changes nothing.
    pub fn set(&mut self, condition: Condition, timing: Timing, now: Instant) -> bool {
        self.handle_timeout(now);
        let lapses_at = timing.lapse.map(|lapse| now + lapse);
        let key = (condition.code.clone(), condition.about.clone());
        if let Some(held) = self.held.get_mut(&key) {
            held.lapses_at = lapses_at;
            let is_new = held.condition != condition;
            held.condition = condition;
            return is_new;
        }
        if self.held.len() >= CONDITIONS_MAX {
            return false;
        }
        self.held.insert(key, Held { condition, visible_at: now + timing.patience, lapses_at });
        true
    }

    /// It holds no longer. Returns whether it did.
    pub fn clear(&mut self, code: &str, about: &str) -> bool {
        self.held.remove(&(code.to_owned(), about.to_owned())).is_some()
    }

    /// Of `code`, only what is about one of `about` goes on to hold. Returns whether anything went.
    pub fn keep_only(&mut self, code: &str, about: &[String]) -> bool {
        let before = self.held.len();
        self.held.retain(|(held, of), _| held != code || about.contains(of));
        self.held.len() != before
    }

    /// What lapsed is no longer believed. Returns whether anything went.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let before = self.held.len();
        self.held.retain(|_, held| held.lapses_at.is_none_or(|at| at > now));
        self.held.len() != before
    }

    /// When the answer of [`Self::visible`] changes by itself: something is shown from then on, or believed no longer.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let ends = self.held.values().flat_map(|held| [Some(held.visible_at), held.lapses_at]);
        ends.flatten().filter(|at| *at > now).min()
    }

    /// What people are told at `now`: what has held for long enough and does not follow from another that holds, the worst first.
    #[must_use]
    pub fn visible(&self, now: Instant) -> Vec<Condition> {
        let believed = self.held.values().filter(|held| held.lapses_at.is_none_or(|at| at > now));
        let all: Vec<Condition> = believed.map(|held| held.condition.clone()).collect();
        let is_silent = |one: &Condition| {
            self.held.get(&(one.code.clone(), one.about.clone())).is_none_or(|held| held.visible_at > now)
        };
        // A cause that is still silent hides its consequences already: they would be told first, and wrongly.
        shown(&all).into_iter().filter(|one| !is_silent(one)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::condition::Severity;

    const SECOND: Duration = Duration::from_secs(1);

    fn condition(code: &str) -> Condition {
        Condition::new(code, Severity::Error, "x")
    }

    fn codes(board: &ConditionBoard, now: Instant) -> Vec<String> {
        board.visible(now).into_iter().map(|one| one.code).collect()
    }

    #[test]
    fn a_blip_is_never_shown_and_what_lasts_is() {
        let (mut board, start) = (ConditionBoard::default(), Instant::now());
        let timing = Timing { patience: 5 * SECOND, lapse: None };
        assert!(board.set(condition("A-01"), timing, start));
        assert_eq!(board.poll_timeout(start), Some(start + 5 * SECOND));
        assert!(codes(&board, start + 4 * SECOND).is_empty());
        assert!(board.clear("A-01", ""));
        assert!(!board.clear("A-01", ""));
        assert!(board.set(condition("A-01"), timing, start + 6 * SECOND));
        assert!(board.set(condition("A-01").because("other words"), timing, start + 10 * SECOND));
        assert_eq!(codes(&board, start + 11 * SECOND), ["A-01"], "patience goes on over a change of words");
        assert_eq!(board.visible(start + 11 * SECOND)[0].why, "other words");
        assert!(!board.set(condition("A-01").because("other words"), timing, start + 12 * SECOND));
    }

    #[test]
    fn a_report_that_is_not_renewed_lapses() {
        let (mut board, start) = (ConditionBoard::default(), Instant::now());
        let timing = Timing { patience: Duration::ZERO, lapse: Some(10 * SECOND) };
        board.set(condition("A-01"), timing, start);
        board.set(condition("A-01"), timing, start + 5 * SECOND);
        assert_eq!(board.poll_timeout(start + 5 * SECOND), Some(start + 15 * SECOND));
        assert_eq!(codes(&board, start + 14 * SECOND), ["A-01"]);
        assert!(codes(&board, start + 15 * SECOND).is_empty());
        assert!(board.handle_timeout(start + 15 * SECOND));
        assert_eq!(board.poll_timeout(start + 15 * SECOND), None);
    }

    #[test]
    fn a_silent_cause_hides_its_consequence() {
        let (mut board, start) = (ConditionBoard::default(), Instant::now());
        board.set(condition("A-01"), Timing { patience: 5 * SECOND, lapse: None }, start);
        board.set(condition("B-01").follows_from(&["A-01"]), Timing::default(), start);
        assert!(codes(&board, start).is_empty());
        assert_eq!(codes(&board, start + 5 * SECOND), ["A-01"]);
        board.clear("A-01", "");
        assert_eq!(codes(&board, start), ["B-01"]);
    }

    #[test]
    fn what_is_no_longer_about_anything_goes_and_the_board_has_an_end() {
        let (mut board, now) = (ConditionBoard::default(), Instant::now());
        for about in ["a", "b"] {
            board.set(condition("A-01").about(about), Timing::default(), now);
        }
        board.set(condition("B-01").about("a"), Timing::default(), now);
        assert!(board.keep_only("A-01", &["b".to_owned()]));
        assert!(!board.keep_only("A-01", &["b".to_owned()]));
        assert_eq!(codes(&board, now), ["A-01", "B-01"]);
        for number in 0..CONDITIONS_MAX * 2 {
            board.set(condition("C-01").about(number.to_string()), Timing::default(), now);
        }
        assert_eq!(board.visible(now).len(), CONDITIONS_MAX);
        assert!(
            board.set(condition("A-01").about("b").because("y"), Timing::default(), now),
            "no news is lost"
        );
    }
}
