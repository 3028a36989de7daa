//! The system's clock and the board's: what the `nix` crate does not set.

use std::fs::File;
use std::io;
use std::mem::zeroed;
use std::os::fd::AsRawFd;

use time::{Date, OffsetDateTime, PrimitiveDateTime, Time};

/// Lets the system's clock gain `nanos` (or lose them), by half a thousandth until it is done (adjtimex(2)). Needs
/// `CAP_SYS_TIME`.
pub fn slew(nanos: i64) -> io::Result<()> {
    // SAFETY: `timex` is plain integers, for which zero is a value.
    let mut request: libc::timex = unsafe { zeroed() };
    request.modes = libc::ADJ_OFFSET_SINGLESHOT;
    request.offset = (nanos / 1000) as _;
    // SAFETY: the kernel reads and writes one `timex`; `request` is one, initialised and alive during the call.
    let result = unsafe { libc::adjtimex(&raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `struct rtc_time` of `linux/rtc.h`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct BoardTime {
    second: libc::c_int,
    minute: libc::c_int,
    hour: libc::c_int,
    day: libc::c_int,
    /// From 0.
    month: libc::c_int,
    /// From 1900.
    year: libc::c_int,
    unused: [libc::c_int; 3],
}

mod request {
    use super::BoardTime;

    nix::ioctl_read!(read, b'p', 0x09, BoardTime);
    nix::ioctl_write_ptr!(set, b'p', 0x0a, BoardTime);
}

/// What the board's clock `device` (`/dev/rtc0`) shows, in seconds since 1970. Errors: also `InvalidData` for a date that
/// there is not.
pub fn read_board(device: &File) -> io::Result<i64> {
    let mut shown = BoardTime::default();
    // SAFETY: RTC_RD_TIME writes one `rtc_time`; `shown` is laid out as one and alive during the call.
    unsafe { request::read(device.as_raw_fd(), &raw mut shown) }?;
    to_unix(shown).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Sets the board's clock `device` to `seconds` since 1970.
pub fn set_board(device: &File, seconds: i64) -> io::Result<()> {
    let time = from_unix(seconds).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: RTC_SET_TIME reads one `rtc_time`; `time` is laid out as one and alive during the call.
    unsafe { request::set(device.as_raw_fd(), &raw const time) }?;
    Ok(())
}

fn to_unix(shown: BoardTime) -> Option<i64> {
    let byte = |number: libc::c_int| u8::try_from(number).ok();
    let month = time::Month::try_from(byte(shown.month)?.checked_add(1)?).ok()?;
    let date = Date::from_calendar_date(shown.year.checked_add(1900)?, month, byte(shown.day)?).ok()?;
    let time = Time::from_hms(byte(shown.hour)?, byte(shown.minute)?, byte(shown.second)?).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp())
}

fn from_unix(seconds: i64) -> Option<BoardTime> {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    Some(BoardTime {
        second: time.second().into(),
        minute: time.minute().into(),
        hour: time.hour().into(),
        day: time.day().into(),
        month: libc::c_int::from(u8::from(time.month())) - 1,
        year: time.year() - 1900,
        unused: [0; 3],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boards_calendar_is_the_worlds() {
        // 2026-11-22T13:14:15Z
        let shown =
            BoardTime { second: 15, minute: 14, hour: 13, day: 22, month: 10, year: 126, unused: [0; 3] };
        assert_eq!(to_unix(shown), Some(1_795_353_255));
        for seconds in [0, 1_795_353_255, 951_782_400, 4_102_444_800] {
            assert_eq!(from_unix(seconds).and_then(to_unix), Some(seconds));
        }
        let broken = BoardTime { day: 0, ..shown };
        assert_eq!((to_unix(broken), from_unix(i64::MAX).map(|time| time.year)), (None, None));
    }
}
