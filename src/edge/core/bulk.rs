//! When one direction of a relayed connection is bulk: worth a pipe inside the kernel instead of copies through a buffer.

/// Full chunks in a row that make a direction bulk: 64 KiB, more than chatty protocols say at once.
const FULL_CHUNKS: u8 = 4;
/// A move of less is a small one: two segments.
const SMALL: usize = 4096;
/// Small moves in a row that end it.
const SMALL_MOVES: u8 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// So many full chunks were received in a row.
    Chatty(u8),
    /// So many small moves were made in a row.
    Bulk(u8),
}

impl Default for Pace {
    fn default() -> Self {
        Self::Chatty(0)
    }
}

impl Pace {
    #[must_use]
    pub fn is_bulk(self) -> bool {
        matches!(self, Self::Bulk(_))
    }

    /// So many bytes came by a buffer of `capacity`.
    pub fn count_received(&mut self, bytes: usize, capacity: usize) {
        if let Self::Chatty(full) = *self {
            let full = if bytes < capacity { 0 } else { full + 1 };
            *self = if full < FULL_CHUNKS { Self::Chatty(full) } else { Self::Bulk(0) };
        }
    }

    /// So many bytes came by a pipe.
    pub fn count_moved(&mut self, bytes: usize) {
        if let Self::Bulk(small) = *self {
            let small = if bytes < SMALL { small + 1 } else { 0 };
            *self = if small < SMALL_MOVES { Self::Bulk(small) } else { Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_chunks_in_a_row_make_it_bulk_and_small_moves_in_a_row_end_it() {
        let mut pace = Pace::default();
        for bytes in [100, 100, 100, 99, 100, 100, 100] {
            pace.count_received(bytes, 100);
            assert!(!pace.is_bulk());
        }
        pace.count_received(100, 100);
        assert!(pace.is_bulk());
        for _ in 0..SMALL_MOVES - 1 {
            pace.count_moved(1);
        }
        pace.count_moved(SMALL);
        assert!(pace.is_bulk(), "one large move is enough to stay");
        for _ in 0..SMALL_MOVES {
            assert!(pace.is_bulk());
            pace.count_moved(1);
        }
        assert_eq!(pace, Pace::default());
    }
}
