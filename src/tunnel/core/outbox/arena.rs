//! Memory that batches are written into, used again and again.

/// Bytes of one arena between two drains: a batch of 64 of the largest offloaded packets (64 KiB each).
pub const MAX_OUTBOX_BYTES: usize = 4 << 20;

/// Grows to its high-water mark and stays there; `end` is where the next write begins.
#[derive(Debug, Default)]
pub struct Arena {
    bytes: Vec<u8>,
    end: usize,
}

impl Arena {
    /// Forgets what was written.
    pub fn clear(&mut self) {
        self.end = 0;
    }

    /// Bytes written since it was cleared.
    #[must_use]
    pub fn end(&self) -> usize {
        self.end
    }

    /// Everything that was written, and what was reserved last.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Room behind what was written; `None` when that would be too much.
    pub fn reserve(&mut self, length: usize) -> Option<&mut [u8]> {
        let needed = self.end + length;
        if needed > MAX_OUTBOX_BYTES {
            return None;
        }
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        Some(&mut self.bytes[self.end..needed])
    }

    /// Keeps the first `length` bytes of what was reserved; where they begin.
    pub fn commit(&mut self, length: usize) -> usize {
        let start = self.end;
        self.end += length;
        debug_assert!(self.end <= self.bytes.len(), "only what was reserved is committed");
        start
    }
}
