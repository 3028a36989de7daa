#![doc = include_str!("README.md")]

pub mod catalogue;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use crate::base::condition::Condition;
use crate::base::condition_board::ConditionBoard;

/// The one list of what holds in this process. Clones share it; each call holds its lock for a few instructions.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    board: Mutex<ConditionBoard>,
    changes: watch::Sender<u64>,
}

impl Health {
    /// Something holds. How long it stays silent, and when it lapses, stands in the [`catalogue`].
    pub fn set(&self, condition: Condition, now: Instant) {
        let timing = catalogue::timing(&condition.code);
        let (code, about) = (condition.code.clone(), condition.about.clone());
        let is_news = self.board().set(condition, timing, now);
        if is_news {
            tracing::debug!(code, about, "a condition holds");
            self.tell();
        }
    }

    /// It holds no longer.
    pub fn clear(&self, code: &str) {
        self.clear_about(code, "");
    }

    /// It holds no longer for this one.
    pub fn clear_about(&self, code: &str, about: &str) {
        let was_held = self.board().clear(code, about);
        if was_held {
            tracing::debug!(code, about, "a condition holds no longer");
            self.tell();
        }
    }

    /// Of `code`, only what is about one of `about` goes on to hold.
    pub fn keep_only(&self, code: &str, about: &[String]) {
        if self.board().keep_only(code, about) {
            self.tell();
        }
    }

    /// What people are told at `now`; the worst first, without what follows from another that holds.
    #[must_use]
    pub fn visible(&self, now: Instant) -> Vec<Condition> {
        self.board().visible(now)
    }

    /// When [`Self::visible`] changes by itself.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.board().poll_timeout(now)
    }

    /// Changes whenever something is set or cleared.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    fn tell(&self) {
        self.0.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The board is right after every call, so a panic elsewhere does not spoil it.
    fn board(&self) -> MutexGuard<'_, ConditionBoard> {
        self.0.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchers_hear_of_changes_and_of_nothing_else() {
        let (health, now) = (Health::default(), Instant::now());
        let mut watch = health.watch();
        let condition = || catalogue::NO_NAME.condition("no name");
        health.set(condition(), now);
        assert!(watch.has_changed().expect("health lives"));
        watch.mark_unchanged();
        health.set(condition(), now);
        health.clear(catalogue::TUNNEL_DOWN.code);
        health.keep_only(catalogue::NO_NAME.code, &[String::new()]);
        assert!(!watch.has_changed().expect("health lives"));
        assert_eq!(health.visible(now), [condition()]);
        health.clear(catalogue::NO_NAME.code);
        assert!(watch.has_changed().expect("health lives"));
        assert!(health.visible(now).is_empty());
    }
}
