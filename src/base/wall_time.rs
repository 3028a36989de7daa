//! Wall-clock time, which a box without a battery clock may not know yet. Durations use `std::time::Instant` instead.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time: whole seconds since 1970-01-01T00:00:00Z. Serialises as RFC 3339 text in JSON, as an integer elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub i64);

/// The wall clock as its reader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WallTime {
    /// No trustworthy source has been heard: nothing may be judged expired, nothing dated.
    Unknown,
    Known(UnixTime),
}

impl WallTime {
    #[must_use]
    pub fn known(self) -> Option<UnixTime> {
        match self {
            Self::Unknown => None,
            Self::Known(time) => Some(time),
        }
    }

    /// Whether `deadline` has certainly passed; never true while the clock is unknown.
    #[must_use]
    pub fn is_past(self, deadline: UnixTime) -> bool {
        self.known().is_some_and(|now| now >= deadline)
    }
}

impl UnixTime {
    /// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z: what RFC 3339 can spell. Text with an offset may mean a day more.
    const EARLIEST: Self = Self(-62_167_219_200);
    const LATEST: Self = Self(253_402_300_799);

    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)))
    }

    /// For people: `2026-11-25 02:13 UTC`.
    #[must_use]
    pub fn to_minute(self) -> String {
        let text = self.to_string();
        match (text.get(..10), text.get(11..16)) {
            (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
            _ => text,
        }
    }
}

/// A time beyond what can be spelt is shown as the last one that can: an error here would be a panic in every serialiser.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = (*self).clamp(Self::EARLIEST, Self::LATEST);
        let time = OffsetDateTime::from_unix_timestamp(shown.0).map_err(|_| fmt::Error)?;
        f.write_str(&time.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl std::str::FromStr for UnixTime {
    type Err = time::error::Parse;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time = OffsetDateTime::parse(text, &Rfc3339)?;
        Ok(Self(time.unix_timestamp()).clamp(Self::EARLIEST, Self::LATEST))
    }
}

impl Serialize for UnixTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for UnixTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            i64::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_year_one_is_before_1970() {
        let time: UnixTime = "2026-11-22T12:00:00Z".parse().expect("valid RFC 3339");
        assert_eq!(time.to_string(), "2026-11-22T12:00:00Z");
        assert_eq!(time.to_minute(), "2026-11-22 12:00 UTC");
        let zero: UnixTime = "0001-01-01T00:00:00Z".parse().expect("Go's zero time");
        assert!(zero < UnixTime(0));
    }

    #[test]
    fn every_time_can_be_written() {
        for (text, expected) in [
            ("9999-12-31T23:59:59-23:59", "\"9999-12-31T23:59:59Z\""),
            ("0000-01-01T00:00:00+23:59", "\"0000-01-01T00:00:00Z\""),
        ] {
            let time: UnixTime = text.parse().expect("valid RFC 3339");
            assert_eq!(serde_json::to_string(&time).expect("text"), expected);
        }
        for number in [i64::MIN, i64::MAX] {
            assert_eq!(UnixTime(number).to_string().len(), "9999-12-31T23:59:59Z".len());
        }
    }

    #[test]
    fn an_unknown_clock_expires_nothing() {
        assert!(!WallTime::Unknown.is_past(UnixTime(0)));
        assert!(WallTime::Known(UnixTime(5)).is_past(UnixTime(5)));
        assert!(!WallTime::Known(UnixTime(4)).is_past(UnixTime(5)));
    }
}
