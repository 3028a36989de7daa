//! The box's clocks: the kernel's two, the board's, and the time kept on the data partition for a board without one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime, clock_settime};

use crate::base::wall_time::UnixTime;
use crate::sys;
use crate::wire::errand::MonotonicNanos;
use crate::wire::sntp::UnixNanos;

use super::core::time_sync::{Adjustment, Reading};

/// The file below the box's own directory that keeps the time: whole seconds since 1970, as text.
pub const SAVED_FILE: &str = "clock";

const BOARD: &str = "/dev/rtc0";
const SAVED_MAX: u64 = 32;
const NANOS: i64 = 1_000_000_000;

/// The kernel's clock that only runs forward, and from the start of the machine.
#[must_use]
pub fn monotonic() -> MonotonicNanos {
    nanos(ClockId::CLOCK_MONOTONIC).unsigned_abs()
}

/// Both clocks at one moment.
#[must_use]
pub fn reading() -> Reading {
    Reading { monotonic: monotonic(), system: nanos(ClockId::CLOCK_REALTIME) }
}

/// Changes the system's clock. Needs `CAP_SYS_TIME`.
pub fn apply(adjustment: Adjustment) -> io::Result<()> {
    match adjustment {
        Adjustment::Step(time) => {
            let time = Duration::from_nanos(u64::try_from(time).map_err(|_| io::ErrorKind::InvalidInput)?);
            Ok(clock_settime(ClockId::CLOCK_REALTIME, time.into())?)
        }
        Adjustment::Slew(offset) => sys::clock::slew(offset),
    }
}

/// What the board's clock shows; `None` where there is none, as on a Raspberry Pi before the 5.
#[must_use]
pub fn read_board() -> Option<UnixNanos> {
    let device = File::open(BOARD).ok()?;
    let seconds =
        sys::clock::read_board(&device).inspect_err(|error| tracing::warn!(%error, "{BOARD}")).ok()?;
    seconds.checked_mul(NANOS)
}

/// Sets the board's clock, if there is one, to the system's.
pub fn write_board() {
    let Ok(device) = File::open(BOARD) else { return };
    if let Err(error) = sys::clock::set_board(&device, reading().system.div_euclid(NANOS)) {
        tracing::warn!(%error, "{BOARD} cannot be set");
    }
}

/// The time that was kept in `directory` last; `None` when there is none that can be read.
#[must_use]
pub fn load(directory: &Path) -> Option<UnixTime> {
    let mut text = String::new();
    let file = File::open(directory.join(SAVED_FILE)).ok()?;
    file.take(SAVED_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok().map(UnixTime)
}

/// Keeps `time` in `directory`: whole, or not at all.
pub fn save(directory: &Path, time: UnixTime) -> io::Result<()> {
    let fresh = directory.join(format!("{SAVED_FILE}.new"));
    let mut file = File::create(&fresh)?;
    writeln!(file, "{}", time.0)?;
    // Before its name: else a power cut may leave an empty file under it.
    file.sync_all()?;
    std::fs::rename(fresh, directory.join(SAVED_FILE))?;
    File::open(directory)?.sync_all()
}

fn nanos(clock: ClockId) -> i64 {
    let time =
        clock_gettime(clock).expect("the kernel has these clocks, and the place for the answer is ours");
    time.tv_sec().saturating_mul(NANOS).saturating_add(time.tv_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_time_comes_back_and_rubbish_does_not() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(load(directory.path()), None);
        save(directory.path(), UnixTime(1_795_305_600)).expect("written");
        assert_eq!(load(directory.path()), Some(UnixTime(1_795_305_600)));
        for rubbish in ["", "yesterday", "\0\0\0\0", "99999999999999999999999999"] {
            std::fs::write(directory.path().join(SAVED_FILE), rubbish).expect("written");
            assert_eq!(load(directory.path()), None, "{rubbish}");
        }
    }

    #[test]
    fn the_clocks_run() {
        let (first, second) = (reading(), reading());
        assert!(second.monotonic >= first.monotonic && first.system > 0);
    }
}
