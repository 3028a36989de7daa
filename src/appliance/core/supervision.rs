//! When the worker is started again after it ended.

use std::time::{Duration, Instant};

use crate::base::backoff::Backoff;

/// Delay after the first end, and the longest one.
const FIRST: Duration = Duration::from_millis(250);
const MOST: Duration = Duration::from_secs(30);
/// A worker that ran so long after it was ready is healthy: its end begins a new count.
const HEALTHY: Duration = Duration::from_mins(1);
/// Ends before readiness after which the configuration is suspected.
const SUSPICION: u32 = 3;

/// What the worker is doing, seen from outside.
#[derive(Debug, Clone)]
pub struct Supervision {
    backoff: Backoff,
    state: State,
    /// Ends without readiness in a row.
    failed_starts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting {
        until: Instant,
    },
    Running {
        ready: Option<Instant>,
    },
    /// It is not to be started again.
    Closed,
}

impl Supervision {
    /// The first start is due at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let state = State::Waiting { until: now };
        Self { backoff: Backoff::new(FIRST, MOST), state, failed_starts: 0 }
    }

    /// Whether the worker is to be started at `now`.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        matches!(self.state, State::Waiting { until } if until <= now)
    }

    /// When the next start is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until } => Some(until),
            State::Running { .. } | State::Closed => None,
        }
    }

    pub fn handle_start(&mut self) {
        if self.state != State::Closed {
            self.state = State::Running { ready: None };
        }
    }

    pub fn handle_ready(&mut self, now: Instant) {
        if let State::Running { ready: ready @ None } = &mut self.state {
            *ready = Some(now);
            self.failed_starts = 0;
        }
    }

    /// The worker ended, or could not be started; gives the delay before the next start, `None` when there is none.
    pub fn handle_exit(&mut self, now: Instant) -> Option<Duration> {
        let ready = match self.state {
            State::Closed => return None,
            State::Running { ready } => ready,
            State::Waiting { .. } => None,
        };
        if ready.is_none() {
            self.failed_starts = self.failed_starts.saturating_add(1);
        }
        if ready.is_some_and(|since| now.duration_since(since) >= HEALTHY) {
            self.backoff.reset();
        }
        let delay = self.backoff.delay();
        self.state = State::Waiting { until: now + delay };
        Some(delay)
    }

    /// The box shuts down: no further start.
    pub fn close(&mut self) {
        self.state = State::Closed;
    }

    /// Whether the worker has so often ended before it was ready that another configuration is worth a try.
    #[must_use]
    pub fn suspects_config(&self) -> bool {
        self.failed_starts >= SUSPICION
    }

    /// Another configuration is in place: begin anew at `now`.
    pub fn handle_new_config(&mut self, now: Instant) {
        if let State::Waiting { .. } = self.state {
            *self = Self::new(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_healthy_minute_resets_the_delay_and_a_crash_loop_does_not() {
        let mut now = Instant::now();
        let mut supervision = Supervision::new(now);
        let mut end_after = |life: Duration| {
            supervision.handle_start();
            supervision.handle_ready(now);
            now += life;
            supervision.handle_exit(now).expect("it is not closed")
        };
        assert_eq!(end_after(Duration::from_secs(1)), FIRST);
        assert_eq!(end_after(Duration::from_secs(59)), FIRST * 2);
        assert_eq!(end_after(Duration::from_mins(1)), FIRST);
    }

    #[test]
    fn three_failed_starts_throw_suspicion_on_the_configuration() {
        let now = Instant::now();
        let mut supervision = Supervision::new(now);
        for _ in 0..SUSPICION {
            assert!(!supervision.suspects_config());
            supervision.handle_start();
            supervision.handle_exit(now);
        }
        assert!(supervision.suspects_config());
        supervision.handle_new_config(now);
        assert!(!supervision.suspects_config() && supervision.is_due(now));
    }

    #[test]
    fn a_closed_supervision_starts_nothing() {
        let now = Instant::now();
        let mut supervision = Supervision::new(now);
        supervision.close();
        supervision.handle_start();
        assert_eq!(supervision.handle_exit(now), None);
        assert!(!supervision.is_due(now + MOST) && supervision.poll_timeout().is_none());
    }

    proptest! {
        #[test]
        fn it_always_starts_again_within_the_longest_delay(lives in proptest::collection::vec((0..200_u64, any::<bool>()), 1..50)) {
            let mut now = Instant::now();
            let mut supervision = Supervision::new(now);
            for (seconds, is_ready) in lives {
                prop_assert!(supervision.is_due(now));
                supervision.handle_start();
                if is_ready {
                    supervision.handle_ready(now);
                }
                now += Duration::from_secs(seconds);
                let delay = supervision.handle_exit(now).expect("it is not closed");
                prop_assert!(delay <= MOST && supervision.poll_timeout() == Some(now + delay));
                now += delay;
            }
        }
    }
}
