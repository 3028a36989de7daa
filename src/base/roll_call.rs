//! Which loops still make turns: each counts its own, and an observer tells who stands still.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Loops watched at once; one more is not watched.
pub const LOOPS_MAX: usize = 1024;

/// The loops of a process. Clones share the list; each call holds its lock for a few instructions.
#[derive(Debug, Clone, Default)]
pub struct RollCall(Arc<Mutex<List>>);

#[derive(Debug, Default)]
struct List {
    next: u64,
    loops: BTreeMap<u64, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    area: &'static str,
    name: String,
    count: Arc<AtomicU64>,
    is_gone: bool,
}

/// A loop's own end. A loop that is done says so by [`Turns::leave`]; one that is gone without a word stands still from then on.
#[derive(Debug)]
pub struct Turns {
    roll: RollCall,
    id: u64,
    count: Arc<AtomicU64>,
}

/// Remembers what it saw, and so knows how long ago each loop turned.
#[derive(Debug)]
pub struct Observer {
    roll: RollCall,
    seen: BTreeMap<u64, (u64, Instant)>,
}

/// A loop as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub area: &'static str,
    /// Unique among what people look at, as `edge: listener 443`.
    pub name: String,
    /// For how long it has made no turn, as far as the looks are apart; without end for one that is gone.
    pub still: Duration,
}

impl RollCall {
    /// A loop begins.
    #[must_use]
    pub fn join(&self, area: &'static str, name: impl Into<String>) -> Turns {
        let count = Arc::new(AtomicU64::new(0));
        let entry = Entry { area, name: name.into(), count: Arc::clone(&count), is_gone: false };
        let mut list = self.list();
        let id = list.next;
        list.next += 1;
        if list.loops.len() < LOOPS_MAX {
            list.loops.insert(id, entry);
        }
        drop(list);
        Turns { roll: self.clone(), id, count }
    }

    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer { roll: self.clone(), seen: BTreeMap::new() }
    }

    /// The list is right after every call, so a panic elsewhere does not spoil it.
    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    /// The loop has come round once more.
    pub fn count(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// The loop ends in good order.
    pub fn leave(self) {
        self.roll.list().loops.remove(&self.id);
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.roll.list().loops.entry(self.id).and_modify(|entry| entry.is_gone = true);
    }
}

impl Observer {
    /// Every loop, and how long it has stood still. A loop counts as turning when it is seen first.
    pub fn look(&mut self, now: Instant) -> Vec<Seen> {
        let loops = self.roll.list().loops.clone();
        self.seen.retain(|id, _| loops.contains_key(id));
        let mut all = Vec::with_capacity(loops.len());
        for (id, Entry { area, name, count, is_gone }) in loops {
            let turns = count.load(Ordering::Relaxed);
            let seen = self.seen.entry(id).or_insert((turns, now));
            if seen.0 != turns {
                *seen = (turns, now);
            }
            let still = if is_gone { Duration::MAX } else { now.saturating_duration_since(seen.1) };
            all.push(Seen { area, name, still });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_loop_that_stands_still_is_told_from_one_that_turns() {
        let (roll, start) = (RollCall::default(), Instant::now());
        let (turning, still) = (roll.join("edge", "turning"), roll.join("edge", "still"));
        let mut observer = roll.observer();
        observer.look(start);
        turning.count();
        let seen = observer.look(start + 3 * SECOND);
        let times: Vec<_> = seen.iter().map(|seen| (seen.name.as_str(), seen.still)).collect();
        assert_eq!(times, [("turning", Duration::ZERO), ("still", 3 * SECOND)]);
        still.count();
        assert_eq!(observer.look(start + 4 * SECOND)[1].still, Duration::ZERO);
    }

    #[test]
    fn who_leaves_is_forgotten_and_who_vanishes_is_not() {
        let (roll, start) = (RollCall::default(), Instant::now());
        let mut observer = roll.observer();
        let (leaving, vanishing) = (roll.join("edge", "leaving"), roll.join("edge", "vanishing"));
        observer.look(start);
        leaving.leave();
        drop(vanishing);
        let seen = observer.look(start + SECOND);
        assert_eq!(seen, [Seen { area: "edge", name: "vanishing".into(), still: Duration::MAX }]);
    }

    #[test]
    fn the_list_has_an_end() {
        let roll = RollCall::default();
        let all: Vec<_> = (0..LOOPS_MAX + 10).map(|number| roll.join("edge", number.to_string())).collect();
        assert_eq!(roll.observer().look(Instant::now()).len(), LOOPS_MAX);
        all.into_iter().for_each(Turns::leave);
        assert!(roll.observer().look(Instant::now()).is_empty());
    }
}
