//! A stream of bytes as lines, in bounded memory: a line that is too long is cut.

/// Splits a stream at newlines.
#[derive(Debug)]
pub struct Lines {
    most: usize,
    begun: Vec<u8>,
    /// The line that is begun has lost its end.
    is_cut: bool,
}

/// One line without its newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub bytes: Vec<u8>,
    /// It was longer.
    pub is_cut: bool,
}

impl Lines {
    /// For lines of at most `most` bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, begun: Vec::new(), is_cut: false }
    }

    /// Takes what has arrived and gives the lines that are whole.
    pub fn push(&mut self, mut bytes: &[u8]) -> Vec<Line> {
        let mut whole = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.begin(&bytes[..end]);
            whole.push(self.take());
            bytes = &bytes[end + 1..];
        }
        self.begin(bytes);
        whole
    }

    /// The stream has ended: what was begun is the last line.
    pub fn finish(&mut self) -> Option<Line> {
        (!self.begun.is_empty()).then(|| self.take())
    }

    fn begin(&mut self, bytes: &[u8]) {
        let room = self.most - self.begun.len();
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.is_cut |= bytes.len() > room;
    }

    fn take(&mut self) -> Line {
        Line { bytes: std::mem::take(&mut self.begun), is_cut: std::mem::take(&mut self.is_cut) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let mut lines = Lines::new(4);
        assert_eq!(lines.push(b"abc"), []);
        let whole = lines.push(b"def\nxy\nz");
        assert_eq!(whole[0], Line { bytes: b"abcd".to_vec(), is_cut: true });
        assert_eq!(whole[1], Line { bytes: b"xy".to_vec(), is_cut: false });
        assert_eq!(lines.finish(), Some(Line { bytes: b"z".to_vec(), is_cut: false }));
        assert_eq!(lines.finish(), None);
    }

    proptest! {
        #[test]
        fn how_it_arrives_does_not_matter(text in "[a-c\n]{0,60}", step in 1..7_usize) {
            let mut piecewise = Lines::new(8);
            let mut found: Vec<Line> = text.as_bytes().chunks(step).flat_map(|piece| piecewise.push(piece)).collect();
            found.extend(piecewise.finish());
            let mut at_once = Lines::new(8);
            let mut expected = at_once.push(text.as_bytes());
            expected.extend(at_once.finish());
            prop_assert_eq!(&found, &expected);
            prop_assert!(found.iter().all(|line| line.bytes.len() <= 8));
        }
    }
}
