//! The wall clock of the process: unknown until it shows a time that can be true.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::base::wall_time::{UnixTime, WallTime};

/// No true clock shows a time before this program was written (2026-11-22T00:00:00Z).
const CLOCK_FLOOR: UnixTime = UnixTime(1_795_305_600);

/// How often readers see a new time. Expiry and certificates are judged by minutes and days.
const TICK: Duration = Duration::from_secs(1);

/// Reads the system clock once.
pub fn read() -> WallTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    judge(UnixTime(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)))
}

/// Publishes the clock once a second until `stop`.
pub fn watch(stop: CancellationToken) -> watch::Receiver<WallTime> {
    let (sender, receiver) = watch::channel(read());
    if receiver.borrow().known().is_none() {
        tracing::warn!(
            "the clock shows a time in the past: no certificate is ordered and nothing expires until it is set"
        );
    }
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => sender.send_replace(read()),
            };
        }
    });
    receiver
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
}
