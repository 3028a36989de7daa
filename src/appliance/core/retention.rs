//! What is kept on the card within a budget: the log in two files that take turns, and the last crashes.

use std::time::{Duration, Instant};

use crate::base::rate::{Rate, TokenBucket};

/// Bytes of the kept log, both files together.
pub const LOG_BUDGET: u64 = 16 * 1024 * 1024;
/// Bytes of the kept crashes.
pub const CRASH_BUDGET: u64 = 4 * 1024 * 1024;
/// Crashes that are kept.
pub const CRASHES_MAX: usize = 16;
/// Lines kept at once, then one per interval: a broken peer must not wear out the card.
const LINES: Rate = Rate { interval: Duration::from_secs(2), burst: 200 };

/// Decides about each line for the kept log.
#[derive(Debug)]
pub struct KeptLog {
    /// Bytes in the current file.
    written: u64,
    budget: u64,
    bucket: TokenBucket,
    dropped: u32,
}

/// What to do with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    Append,
    /// Let the current file take the place of the older one, begin a new one, and append to that.
    Rotate,
    /// Too many in too short a time.
    Drop,
}

impl KeptLog {
    /// Goes on with a current file of `written` bytes.
    #[must_use]
    pub fn new(written: u64, budget: u64) -> Self {
        Self { written, budget, bucket: TokenBucket::default(), dropped: 0 }
    }

    /// Decides about a line of `bytes`, its newline included, and counts it.
    pub fn admit(&mut self, bytes: usize, now: Instant) -> Keeping {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if bytes > self.budget / 2 || !self.bucket.take(LINES, now) {
            self.dropped = self.dropped.saturating_add(1);
            return Keeping::Drop;
        }
        if self.written.saturating_add(bytes) > self.budget / 2 {
            self.written = bytes;
            return Keeping::Rotate;
        }
        self.written += bytes;
        Keeping::Append
    }

    /// How many lines were dropped since this was last asked.
    pub fn take_dropped(&mut self) -> u32 {
        std::mem::take(&mut self.dropped)
    }
}

/// Which of `files` (name and size) go, so that the rest keeps both limits; names sort by age, and the newest stay.
#[must_use]
pub fn surplus(mut files: Vec<(String, u64)>, count: usize, budget: u64) -> Vec<String> {
    files.sort_unstable_by(|a, b| b.0.cmp(&a.0));
    let mut total = 0_u64;
    let mut kept = 0;
    files.retain(|(_, size)| {
        let fits = kept < count && total.saturating_add(*size) <= budget;
        if fits {
            total += size;
            kept += 1;
        }
        !fits
    });
    files.into_iter().map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_two_files_never_exceed_the_budget(lines in proptest::collection::vec(1..80_usize, 0..300), budget in 100..400_u64) {
            let start = Instant::now();
            let mut kept = KeptLog::new(0, budget);
            let (mut current, mut older) = (0_u64, 0_u64);
            for (second, line) in (0..).zip(&lines) {
                let bytes = u64::try_from(*line).expect("small");
                match kept.admit(*line, start + LINES.interval * second) {
                    Keeping::Append => current += bytes,
                    Keeping::Rotate => (older, current) = (current, bytes),
                    Keeping::Drop => prop_assert!(bytes > budget / 2),
                }
                prop_assert!(current + older <= budget);
            }
        }

        #[test]
        fn what_stays_keeps_both_limits(sizes in proptest::collection::vec(0..50_u64, 0..30), count in 0..10_usize, budget in 0..200_u64) {
            let files: Vec<(String, u64)> = sizes.iter().enumerate().map(|(at, size)| (format!("{at:03}"), *size)).collect();
            let gone = surplus(files.clone(), count, budget);
            let stays: Vec<&(String, u64)> = files.iter().filter(|(name, _)| !gone.contains(name)).collect();
            prop_assert!(stays.len() <= count && stays.iter().map(|(_, size)| size).sum::<u64>() <= budget);
            if let Some((name, size)) = files.last() {
                prop_assert!(count == 0 || *size > budget || !gone.contains(name), "the newest stays");
            }
        }
    }

    #[test]
    fn a_flood_is_dropped_and_counted() {
        let now = Instant::now();
        let mut kept = KeptLog::new(0, LOG_BUDGET);
        let stored = (0..1000).filter(|_| kept.admit(50, now) != Keeping::Drop).count();
        assert_eq!(stored, 200);
        assert_eq!((kept.take_dropped(), kept.take_dropped()), (800, 0));
    }
}
