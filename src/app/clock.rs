//! The wall clock of the process: unknown until it shows a time that can be true, and, under PID 1, until PID 1 vouches for it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::base::wall_time::{UnixTime, WallTime};

/// No true clock shows a time before this program was written (2026-11-22T00:00:00Z).
const CLOCK_FLOOR: UnixTime = UnixTime(1_795_305_600);

/// How often readers see a new time. Expiry and certificates are judged by minutes and days.
const TICK: Duration = Duration::from_secs(1);

/// Who says what time it is.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Whether PID 1 vouches for the system's clock; `None` where nobody watches over it.
    vouched: Option<watch::Receiver<bool>>,
}

impl Clock {
    /// The system's clock; with `vouched` only while that says so.
    pub fn new(vouched: Option<watch::Receiver<bool>>) -> Self {
        Self { vouched }
    }

    /// The time now.
    pub fn read(&self) -> WallTime {
        if self.vouched.as_ref().is_some_and(|vouched| !*vouched.borrow()) {
            return WallTime::Unknown;
        }
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        judge(UnixTime(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)))
    }

    /// Publishes the time once a second until `stop`.
    pub fn watch(&self, stop: CancellationToken) -> watch::Receiver<WallTime> {
        let (sender, receiver) = watch::channel(self.read());
        if receiver.borrow().known().is_none() {
            tracing::warn!(
                "the time is not known: no certificate is ordered and nothing expires until it is"
            );
        }
        let clock = self.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = ticks.tick() => sender.send_replace(clock.read()),
                };
            }
        });
        receiver
    }
}

fn judge(time: UnixTime) -> WallTime {
    if time < CLOCK_FLOOR { WallTime::Unknown } else { WallTime::Known(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_the_program_was_written_is_unknown() {
        assert_eq!(CLOCK_FLOOR.to_string(), "2026-11-22T00:00:00Z");
        assert_eq!(judge(UnixTime(0)), WallTime::Unknown);
        assert_eq!(judge(CLOCK_FLOOR), WallTime::Known(CLOCK_FLOOR));
    }

    #[test]
    fn under_pid_1_the_time_is_known_only_while_it_vouches() {
        let (sender, vouched) = watch::channel(false);
        let clock = Clock::new(Some(vouched));
        assert_eq!(clock.read(), WallTime::Unknown);
        sender.send_replace(true);
        assert_eq!(clock.read(), Clock::new(None).read());
        sender.send_replace(false);
        assert_eq!(clock.read(), WallTime::Unknown);
    }
}
