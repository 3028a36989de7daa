//! The last lines of the log, bounded by bytes.

use std::collections::VecDeque;

/// What a line costs beside its text, in bytes.
const OVERHEAD: usize = 16;

/// A ring of lines: the oldest go when there is no room.
#[derive(Debug)]
pub struct LogRing {
    lines: VecDeque<Box<str>>,
    bytes: usize,
    most: usize,
}

impl LogRing {
    /// For `most` bytes in all.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { lines: VecDeque::new(), bytes: 0, most }
    }

    /// Adds a line; one that is longer than the whole ring is left out.
    pub fn push(&mut self, line: &str) {
        let cost = line.len() + OVERHEAD;
        if cost > self.most {
            return;
        }
        self.bytes += cost;
        self.lines.push_back(line.into());
        while self.bytes > self.most {
            let oldest = self.lines.pop_front().expect("what is too much is in a line");
            self.bytes -= oldest.len() + OVERHEAD;
        }
    }

    /// The newest lines, oldest first, at most `count`.
    pub fn tail(&self, count: usize) -> impl Iterator<Item = &str> {
        self.lines.iter().skip(self.lines.len().saturating_sub(count)).map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_holds_the_newest_lines_that_fit(lines in proptest::collection::vec("[a-z]{0,40}", 0..60), most in 0..400_usize) {
            let mut ring = LogRing::new(most);
            for line in &lines {
                ring.push(line);
                prop_assert!(ring.bytes <= most);
            }
            let kept: Vec<&str> = ring.tail(usize::MAX).collect();
            let fitting: Vec<&str> = lines.iter().map(String::as_str).filter(|line| line.len() + OVERHEAD <= most).collect();
            prop_assert!(fitting.ends_with(&kept));
            prop_assert_eq!(ring.tail(2).count(), kept.len().min(2));
        }
    }
}
