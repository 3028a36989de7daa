//! Times for people.

use crate::base::wall_time::UnixTime;

/// `3 min ago`, or the moment itself while the time is not known.
pub fn ago(time: UnixTime, now: Option<UnixTime>) -> String {
    match now {
        Some(now) => format!("{} ago", span(now.0.saturating_sub(time.0))),
        None => time.to_minute(),
    }
}

/// A length of time by its largest unit.
pub fn span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_times_in_their_largest_unit() {
        for (seconds, expected) in [
            (-5, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (7200, "2 h"),
            (172_800, "2 days"),
            (i64::MAX, "106751991167300 days"),
        ] {
            assert_eq!(span(seconds), expected);
        }
        let time = UnixTime(1_800_000_000);
        assert_eq!(ago(time, Some(UnixTime(1_800_000_090))), "1 min ago");
        assert_eq!(ago(time, None), "2027-01-15 08:00 UTC");
    }
}
