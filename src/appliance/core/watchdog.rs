//! When the hardware watchdog may be fed: while all loops of the worker make their turns.
//!
//! Three clocks: a worker that was ready must have shown each loop within [`SILENCE_MAX`]; one that is not ready yet has
//! [`START_BUDGET`] from its start; and when no worker has been ready for [`HOPELESS`], restarting it again does not help,
//! and the whole box is reset.

use std::time::{Duration, Instant};

use crate::wire::supervision::Beat;

/// Longest time a loop may be silent.
pub const SILENCE_MAX: Duration = Duration::from_secs(15);
/// From a worker's start to its readiness.
pub const START_BUDGET: Duration = Duration::from_mins(1);
/// Longest time without any worker that was ready.
pub const HOPELESS: Duration = Duration::from_mins(10);

const LOOPS: [&str; 4] = ["coordinator", "tunnel", "edge", "store"];

/// Judges the worker by its beats.
#[derive(Debug, Clone)]
pub struct Watchdog {
    worker: Worker,
    /// When a worker was last in order.
    last_ready: Instant,
}

#[derive(Debug, Clone, Copy)]
enum Worker {
    /// None runs: its supervisor waits before the next start.
    Absent,
    Starting {
        since: Instant,
    },
    /// With the last turn of each loop.
    Ready {
        turns: [Instant; 4],
    },
}

impl Watchdog {
    /// No worker runs yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { worker: Worker::Absent, last_ready: now }
    }

    pub fn handle_start(&mut self, now: Instant) {
        self.worker = Worker::Starting { since: now };
    }

    pub fn handle_exit(&mut self) {
        self.worker = Worker::Absent;
    }

    /// The worker says that every room is raised; said again, it changes nothing.
    pub fn handle_ready(&mut self, now: Instant) {
        if let Worker::Starting { .. } = self.worker {
            self.worker = Worker::Ready { turns: [now; 4] };
            self.last_ready = now;
        }
    }

    pub fn handle_beat(&mut self, beat: Beat, now: Instant) {
        let Worker::Ready { turns } = &mut self.worker else { return };
        let alive = [beat.coordinator, beat.tunnel, beat.edge, beat.store];
        for (turn, _) in turns.iter_mut().zip(alive).filter(|(_, alive)| *alive) {
            *turn = now;
        }
        self.last_ready = now;
    }

    /// Whether the watchdog may be fed at `now`.
    ///
    /// # Errors
    /// Why not, as a sentence for the log.
    pub fn judge(&self, now: Instant) -> Result<(), String> {
        match &self.worker {
            Worker::Starting { since } if now.duration_since(*since) > START_BUDGET => {
                return Err(format!("the worker is not ready after {} s", START_BUDGET.as_secs()));
            }
            Worker::Ready { turns } => silent_loop(turns, now)?,
            Worker::Absent | Worker::Starting { .. } => {}
        }
        if now.duration_since(self.last_ready) > HOPELESS {
            return Err(format!("no worker has been ready for {} min", HOPELESS.as_secs() / 60));
        }
        Ok(())
    }
}

fn silent_loop(turns: &[Instant; 4], now: Instant) -> Result<(), String> {
    let silent = turns.iter().zip(LOOPS).find(|(turn, _)| now.duration_since(**turn) > SILENCE_MAX);
    match silent {
        Some((_, name)) => Err(format!("{name} has not made a turn for {} s", SILENCE_MAX.as_secs())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WHOLE: Beat = Beat { coordinator: true, tunnel: true, edge: true, store: true };
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_silent_loop_starves_it_and_is_named() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(start);
        watchdog.handle_start(start);
        watchdog.handle_ready(start);
        for second in 1..=16 {
            watchdog.handle_beat(Beat { store: false, ..WHOLE }, start + SECOND * second);
        }
        assert!(watchdog.judge(start + SECOND * 15).is_ok());
        let error = watchdog.judge(start + SECOND * 16).expect_err("the store is silent");
        assert!(error.starts_with("store "), "{error}");
    }

    #[test]
    fn a_worker_that_hangs_at_its_start_is_noticed_and_one_that_waits_is_not() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(start);
        assert!(watchdog.judge(start + START_BUDGET * 2).is_ok(), "the boot itself may take long");
        watchdog.handle_start(start);
        watchdog.handle_beat(WHOLE, start + START_BUDGET);
        assert!(watchdog.judge(start + START_BUDGET + SECOND).is_err());
        watchdog.handle_exit();
        assert!(watchdog.judge(start + START_BUDGET + SECOND).is_ok());
        assert!(watchdog.judge(start + HOPELESS + SECOND).is_err());
    }

    proptest! {
        #[test]
        fn it_is_fed_exactly_while_the_four_are_heard(gaps in proptest::collection::vec(0..40_u64, 1..30)) {
            let mut now = Instant::now();
            let mut watchdog = Watchdog::new(now);
            watchdog.handle_start(now);
            watchdog.handle_ready(now);
            for gap in gaps {
                now += SECOND * u32::try_from(gap).expect("small");
                prop_assert_eq!(watchdog.judge(now).is_ok(), gap <= SILENCE_MAX.as_secs());
                watchdog.handle_beat(WHOLE, now);
                prop_assert!(watchdog.judge(now).is_ok());
            }
        }
    }
}
