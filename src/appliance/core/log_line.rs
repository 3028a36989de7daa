//! How grave a line of the log is, and whether it says what the last one said.

use std::time::{Duration, Instant};

/// A line's own word for its weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// INFO and below, and whatever has no word.
    Info,
    Warn,
    Error,
}

/// A repeated line is shown again after this time, with a count.
const REPEAT: Duration = Duration::from_secs(30);

/// Swallows repetitions.
#[derive(Debug, Default)]
pub struct Repeats {
    text: String,
    since: Option<Instant>,
    count: u32,
}

/// The level by the word among the first three, or the field of a JSON line; a panic is an error.
#[must_use]
pub fn level(line: &str) -> Level {
    let names =
        [("ERROR", Level::Error), ("WARN", Level::Warn), ("INFO", Level::Info), ("DEBUG", Level::Info)];
    if line.starts_with('{') {
        let field = names.iter().find(|(name, _)| line.contains(&format!("\"level\":\"{name}\"")));
        return field.map_or(Level::Info, |(_, level)| *level);
    }
    if line.contains("panicked at ") {
        return Level::Error;
    }
    let word = line.split_whitespace().take(3).find_map(|word| names.iter().find(|(name, _)| word == *name));
    word.map_or(Level::Info, |(_, level)| *level)
}

impl Repeats {
    /// Whether the line is to be shown at `now`; gives before it what has to be said of those that were not.
    pub fn admit(&mut self, line: &str, now: Instant) -> (Option<String>, bool) {
        let text = without_time(line);
        let is_same = text == self.text;
        if is_same && self.since.is_some_and(|since| now.duration_since(since) < REPEAT) {
            self.count = self.count.saturating_add(1);
            return (None, false);
        }
        let swallowed = std::mem::take(&mut self.count);
        let notice = (swallowed > 0).then(|| format!("(the line before came {swallowed} times more)"));
        if !is_same {
            text.clone_into(&mut self.text);
        }
        self.since = Some(now);
        (notice, true)
    }
}

/// The line without a time stamp in front.
fn without_time(line: &str) -> &str {
    let line = line.trim_start();
    match line.split_once(char::is_whitespace) {
        Some((first, rest)) if first.starts_with(|c: char| c.is_ascii_digit()) => rest.trim_start(),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn levels_are_read_from_text_and_json() {
        assert_eq!(level("2026-11-22T12:00:00Z  WARN genkan::app: odd"), Level::Warn);
        assert_eq!(level(" INFO genkan: an ERROR in a text does not count as one"), Level::Info);
        assert_eq!(level(r#"{"timestamp":"x","level":"ERROR","message":"broken"}"#), Level::Error);
        assert_eq!(level("thread 'main' panicked at src/x.rs:1:1:"), Level::Error);
        assert_eq!(level(""), Level::Info);
    }

    #[test]
    fn repetitions_are_counted_and_said() {
        let start = Instant::now();
        let mut repeats = Repeats::default();
        assert_eq!(repeats.admit("2026-01-01 WARN x", start), (None, true));
        assert_eq!(repeats.admit("2026-01-02 WARN x", start), (None, false));
        assert_eq!(repeats.admit("2026-01-03 WARN x", start), (None, false));
        let (notice, is_shown) = repeats.admit("2026-01-03 WARN y", start);
        assert!(is_shown && notice.is_some_and(|text| text.contains("2 times")));
        assert_eq!(repeats.admit("2026-01-03 WARN y", start + REPEAT), (None, true));
    }

    proptest! {
        #[test]
        fn any_line_has_a_level(line in "\\PC{0,80}") {
            let _ = level(&line);
            prop_assert!(Repeats::default().admit(&line, Instant::now()).1);
        }
    }
}
