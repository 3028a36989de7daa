//! The conditions that PID 1 knows, by code.

use std::collections::BTreeMap;

use crate::base::condition::Condition;

/// Most conditions at a time; there are fewer codes.
const MOST: usize = 64;

/// A set of conditions that knows whether it changed.
#[derive(Debug, Default)]
pub struct Notices {
    held: BTreeMap<String, Condition>,
    is_changed: bool,
}

impl Notices {
    /// The condition holds now; one of the same code is replaced.
    pub fn set(&mut self, condition: Condition) {
        let is_new = !self.held.contains_key(&condition.code);
        if (is_new && self.held.len() >= MOST) || self.held.get(&condition.code) == Some(&condition) {
            return;
        }
        self.held.insert(condition.code.clone(), condition);
        self.is_changed = true;
    }

    /// The condition holds no longer.
    pub fn clear(&mut self, code: &str) {
        self.is_changed |= self.held.remove(code).is_some();
    }

    /// All of them, by code.
    #[must_use]
    pub fn all(&self) -> Vec<Condition> {
        self.held.values().cloned().collect()
    }

    /// Whether anything changed since this was last asked.
    pub fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::condition::Severity;

    #[test]
    fn equal_codes_replace_each_other_and_only_news_is_a_change() {
        let mut notices = Notices::default();
        notices.set(Condition::new("NET-01", Severity::Progress, "no link"));
        assert!(notices.take_change() && !notices.take_change());
        notices.set(Condition::new("NET-01", Severity::Progress, "no link"));
        notices.clear("NET-02");
        assert!(!notices.take_change());
        notices.set(Condition::new("NET-01", Severity::Warning, "no address"));
        assert_eq!(notices.all().len(), 1);
        notices.clear("NET-01");
        assert!(notices.take_change() && notices.all().is_empty());
    }

    #[test]
    fn it_is_bounded() {
        let mut notices = Notices::default();
        (0..1000).for_each(|code| notices.set(Condition::new(&format!("X-{code}"), Severity::Warning, "x")));
        assert_eq!(notices.all().len(), MOST);
    }
}
