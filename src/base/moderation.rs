//! When a thread that packets pass through lets more of them come before it goes on, as network cards do with their interrupts.

use std::time::{Duration, Instant};

/// Asked for; with the slack that the kernel takes it is 50 to 100 us. Measured at MTU 1280, processor time of the whole path:
/// from machine to stranger 1.62 to 1.34 CPU-seconds per GB, 60,000 datagrams a second 3.8 to 2.8 us each. Twice as much gains nothing.
const PAUSE: Duration = Duration::from_micros(50);
/// Datagrams a second from which on it pays. At 20,000 the pause itself costs more than it saves (6.1 us each instead of 4.3).
/// Nothing that a person waits for comes so often.
const BUSY: u128 = 30_000;
/// Over which datagrams are counted: longer than a sender of 20,000 a second is held up before it catches up, or it would pass for a busy one.
const WINDOW: Duration = Duration::from_millis(50);
/// A wait that was shorter was none: there is work enough already.
const SHORTEST_WAIT: Duration = Duration::from_micros(10);

/// Watches how often datagrams come.
#[derive(Debug, Clone, Copy)]
pub struct Moderation {
    since: Instant,
    arrived: u64,
    is_busy: bool,
    waits_since: Instant,
}

impl Moderation {
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { since: now, arrived: 0, is_busy: false, waits_since: now }
    }

    /// Whether [`Moderation::handle_wait`] changes anything.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// The thread has nothing to do.
    pub fn handle_wait(&mut self, now: Instant) {
        self.waits_since = now;
    }

    /// The thread woke up, and had taken `arrived` datagrams in all before: for how long it does best to sleep again.
    pub fn handle_wake(&mut self, arrived: u64, now: Instant) -> Option<Duration> {
        let passed = now.saturating_duration_since(self.since);
        if passed >= WINDOW {
            let count = u128::from(arrived.saturating_sub(self.arrived));
            self.is_busy = count * 1_000_000 >= BUSY * passed.as_micros();
            (self.since, self.arrived) = (now, arrived);
        }
        let has_waited = now.saturating_duration_since(self.waits_since) >= SHORTEST_WAIT;
        (self.is_busy && has_waited).then_some(PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pauses of a second of wakes, each after so many datagrams.
    fn pauses(wakes: u32, datagrams: u64) -> usize {
        let start = Instant::now();
        let mut moderation = Moderation::new(start);
        let wake = |number: u32| {
            moderation
                .handle_wake(u64::from(number) * datagrams, start + Duration::from_secs(1) * number / wakes)
        };
        (1..=wakes).filter_map(wake).count()
    }

    #[test]
    fn only_where_very_many_come() {
        assert_eq!(pauses(10_000, 1), 0);
        assert_eq!(pauses(2_000, 14), 0);
        assert_eq!(pauses(2_000, 16), 1_901, "all but those of the first window");
        assert_eq!(pauses(40_000, 1), 38_001);
    }

    #[test]
    fn not_where_work_waits_already() {
        let start = Instant::now();
        let mut moderation = Moderation::new(start);
        let at = |micros| start + Duration::from_micros(micros);
        assert_eq!(moderation.handle_wake(2_000, at(60_000)), Some(PAUSE));
        moderation.handle_wait(at(60_100));
        assert_eq!(moderation.handle_wake(2_010, at(60_101)), None);
        moderation.handle_wait(at(60_200));
        assert_eq!(moderation.handle_wake(2_020, at(60_210)), Some(PAUSE));
    }

    #[test]
    fn after_a_rest_the_first_is_not_kept_waiting() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut moderation = Moderation::new(start);
        assert_eq!(moderation.handle_wake(2_000, at(60)), Some(PAUSE));
        assert_eq!(moderation.handle_wake(2_100, at(61)), Some(PAUSE), "the window goes on");
        assert_eq!(moderation.handle_wake(2_200, at(200)), None);
        assert_eq!(moderation.handle_wake(2_201, at(201)), None);
    }

    #[test]
    fn one_that_catches_up_is_not_busy() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut moderation = Moderation::new(start);
        let steady = (1..=25).map(|tick| (tick * 20, at(tick)));
        let after_a_stall = (45..=100).map(|tick| (tick * 20, at(tick)));
        assert!(
            steady.chain(after_a_stall).all(|(arrived, now)| moderation.handle_wake(arrived, now).is_none())
        );
    }
}
