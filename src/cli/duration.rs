//! Durations as people write them: `90s`, `1h30m`, `7d`, `2w`, `1y`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::CliError;
use crate::base::wall_time::UnixTime;

/// Seconds of each unit, the longest first.
const UNITS: [(char, u64); 6] =
    [('y', 365 * 24 * 3600), ('w', 7 * 24 * 3600), ('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)];

pub fn parse(text: &str) -> Result<Duration, CliError> {
    let wrong =
        || CliError::Usage(format!("\"{text}\" is not a duration; write for example 90s, 1h30m, 7d, 1y"));
    let mut seconds = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, behind) = rest.split_at(digits);
        let unit = behind.chars().next().ok_or_else(wrong)?;
        let (_, length) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        seconds = number.checked_mul(length).and_then(|more| seconds.checked_add(more)).ok_or_else(wrong)?;
        rest = &behind[unit.len_utf8()..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_secs(seconds)) }
}

/// When something ends that lasts so long from now on; `never` is `None`.
pub fn end(text: &str) -> Result<Option<UnixTime>, CliError> {
    if text == "never" {
        return Ok(None);
    }
    let duration = parse(text)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(Some(UnixTime(i64::try_from(now).unwrap_or(i64::MAX)).saturating_add(duration)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood() {
        for (text, seconds) in [("90s", 90), ("1h30m", 5400), ("7d", 604_800), ("1y", 31_536_000), ("0s", 0)]
        {
            assert_eq!(parse(text).expect(text), Duration::from_secs(seconds));
        }
        for text in ["", "90", "h", "1x", "-1h", "1h 30m", "99999999999999999999y", "9999999999999999y", "1é"]
        {
            assert!(matches!(parse(text), Err(CliError::Usage(_))), "{text}");
        }
    }
}
