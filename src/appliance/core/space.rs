//! How full the data partition is, in words that do not change with every byte.

use crate::base::condition::{Condition, Severity};

/// Below so much free space the owner is told, in bytes or in parts of the whole, whichever is more.
const LOW_BYTES: u64 = 16 * 1024 * 1024;
const LOW_PART: u64 = 20;
/// Below so much nothing more can be kept, in bytes.
const FULL: u64 = 2 * 1024 * 1024;
const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// Bytes kept back, and what must be free to keep them back, in bytes.
pub const RESERVE: i64 = 8 << 20;
const PLENTY: u64 = 64 << 20;

/// What to do about the reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It is needed now.
    Full,
    /// It stays as it is.
    Enough,
    /// It can be kept back.
    Plenty,
}

/// Judges `free` among `total` bytes for the reserve.
#[must_use]
pub fn room(free: u64, total: u64) -> Room {
    match free {
        ..FULL => Room::Full,
        free if free >= PLENTY && free >= total / LOW_PART => Room::Plenty,
        _ => Room::Enough,
    }
}

/// The code of what is said about space.
pub const CODE: &str = "DATA-03";

/// What to tell of `free` among `total` bytes, if anything.
#[must_use]
pub fn judge(free: u64, total: u64) -> Option<Condition> {
    let cure = "Put a file named RESET on the drive GENKAN to erase the data, or move to a larger card.";
    if free < FULL {
        let what = "The data partition is full: nothing new is kept.";
        return Some(Condition::new(CODE, Severity::Error, what).cure(cure));
    }
    let is_low = free < (total / LOW_PART).max(LOW_BYTES);
    is_low.then(|| Condition::new(CODE, Severity::Warning, "The data partition is almost full.").cure(cure))
}

/// Size and use as text; use in steps of ten per cent.
#[must_use]
pub fn describe(free: u64, total: u64) -> String {
    let size = if total >= GIB { format!("{} GiB", total / GIB) } else { format!("{} MiB", total / MIB) };
    let used = u128::from(total.saturating_sub(free)) * 100 / u128::from(total.max(1));
    format!("{size}, up to {} % used", (used / 10 + 1) * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_card_and_a_large_one_are_told_in_time() {
        assert_eq!(judge(400 * MIB, 512 * MIB), None);
        assert_eq!(judge(10 * MIB, 64 * MIB).map(|told| told.severity), Some(Severity::Warning));
        assert_eq!(judge(GIB, 32 * GIB).map(|told| told.severity), Some(Severity::Warning));
        assert_eq!(judge(MIB, 32 * GIB).map(|told| told.severity), Some(Severity::Error));
        assert_eq!(judge(0, 0).map(|told| told.code).as_deref(), Some(CODE));
    }

    #[test]
    fn what_is_kept_back_does_not_make_a_partition_look_full() {
        assert_eq!(room(MIB, 512 * MIB), Room::Full);
        assert_eq!(room(8 * MIB, 512 * MIB), Room::Enough);
        assert_eq!(room(PLENTY, 512 * MIB), Room::Plenty);
        assert_eq!(judge(PLENTY - RESERVE.unsigned_abs(), 512 * MIB), None);
    }

    #[test]
    fn the_text_is_steady() {
        assert_eq!(describe(29 * GIB, 30 * GIB), "30 GiB, up to 10 % used");
        assert_eq!(describe(29 * GIB - 4096, 30 * GIB), describe(29 * GIB, 30 * GIB));
        assert_eq!(describe(0, 0), "0 MiB, up to 10 % used");
    }
}
