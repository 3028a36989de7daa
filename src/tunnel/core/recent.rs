//! A bounded memory of recent things.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Remembers at most `limit` entries for at least half of `lifetime` and at most all of it after their last use.
///
/// Two generations instead of a list of uses: a full or old young generation becomes the old one, and the old one is
/// forgotten. Every operation is O(1), and a flood of new keys pushes out what is not in use.
#[derive(Debug)]
pub struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// When the young generation began.
    began: Instant,
    limit: usize,
    lifetime: Duration,
}

impl<K: Eq + Hash, V: Copy> Recent<K, V> {
    #[must_use]
    pub fn new(limit: usize, lifetime: Duration, now: Instant) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), began: now, limit, lifetime }
    }

    pub fn insert(&mut self, key: K, value: V, now: Instant) {
        self.age(now);
        if self.young.len() >= self.limit / 2 && !self.young.contains_key(&key) {
            self.turn(now);
        }
        self.young.insert(key, value);
    }

    /// Looking counts as a use.
    pub fn find(&mut self, key: K, now: Instant) -> Option<V> {
        self.age(now);
        if let Some(value) = self.young.get(&key) {
            return Some(*value);
        }
        let value = self.old.remove(&key)?;
        self.insert(key, value, now);
        Some(value)
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    fn age(&mut self, now: Instant) {
        let half = self.lifetime / 2;
        if now < self.began + half {
            return;
        }
        if now >= self.began + self.lifetime {
            self.young.clear();
        }
        self.turn(now);
    }

    fn turn(&mut self, now: Instant) {
        self.old.clear();
        std::mem::swap(&mut self.young, &mut self.old);
        self.began = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(10);

    #[test]
    fn entries_in_use_survive_a_flood_and_the_rest_does_not() {
        let now = Instant::now();
        let mut recent = Recent::new(100, LIFETIME, now);
        recent.insert(u32::MAX, (), now);
        recent.insert(u32::MAX - 1, (), now);
        for key in 0..1000 {
            recent.insert(key, (), now);
            assert!(recent.find(u32::MAX, now).is_some());
            assert!(recent.len() <= 100);
        }
        assert_eq!(recent.find(u32::MAX - 1, now), None);
    }

    #[test]
    fn entries_expire_between_half_and_all_of_their_lifetime() {
        let now = Instant::now();
        let mut recent = Recent::new(100, LIFETIME, now);
        recent.insert(1, 'a', now);
        assert_eq!(recent.find(1, now + LIFETIME / 2), Some('a'));
        assert_eq!(recent.find(1, now + LIFETIME), Some('a'), "it was used at half time");
        assert_eq!(recent.find(1, now + 3 * LIFETIME), None);
        assert!(recent.is_empty());
    }
}
