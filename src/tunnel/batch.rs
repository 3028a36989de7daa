//! Memory that one round of reads fills, kept from round to round.

use std::io;

/// Reads per source and turn: enough to pay for the wake-up, few enough that 64 packets of one source delay the others by
/// less than a millisecond.
pub const BATCH: usize = 64;

/// Up to [`BATCH`] messages of at most `room` bytes, each with a tag such as its source.
pub struct Batch<T> {
    bytes: Vec<u8>,
    room: usize,
    messages: Vec<(usize, T)>,
}

impl<T> Batch<T> {
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self { bytes: vec![0; room * BATCH], room, messages: Vec::with_capacity(BATCH) }
    }

    /// Replaces the contents by what `read` gives, until it would block, fails, or the batch is full. `read` returns the
    /// length and the tag.
    pub fn fill(&mut self, mut read: impl FnMut(&mut [u8]) -> io::Result<(usize, T)>) -> io::Result<()> {
        self.messages.clear();
        for room in self.bytes.chunks_exact_mut(self.room) {
            let mut result = read(room);
            while result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
                result = read(room);
            }
            match result {
                Ok(message) => self.messages.push(message),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        let rooms = self.bytes.chunks_exact(self.room);
        rooms.zip(&self.messages).map(|(room, (length, tag))| (&room[..*length], tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_ends_when_there_is_no_more() {
        let mut batch = Batch::new(4);
        let mut left = vec![3, 2, 1];
        let fill = |room: &mut [u8]| {
            let length = left.pop().ok_or(io::ErrorKind::WouldBlock)?;
            room[..length].fill(b'x');
            Ok((length, length * 10))
        };
        batch.fill(fill).expect("no failure");
        let messages: Vec<_> = batch.iter().map(|(bytes, tag)| (bytes.len(), *tag)).collect();
        assert_eq!(messages, [(1, 10), (2, 20), (3, 30)]);
        batch.fill(|_| Err(io::ErrorKind::WouldBlock.into())).expect("no failure");
        assert_eq!(batch.iter().count(), 0);
    }

    #[test]
    fn a_round_is_bounded_and_a_failure_is_told() {
        let mut batch = Batch::new(1);
        batch.fill(|_| Ok((1, ()))).expect("no failure");
        assert_eq!(batch.iter().count(), BATCH);
        assert!(batch.fill(|_| Err(io::ErrorKind::NotConnected.into())).is_err());
    }
}
