//! The card's partition table: an MBR with a signature of ours and four primary partitions, of which the last may be missing
//! or shorter than the card.

/// Bytes of a sector, and of the table.
pub const SECTOR: usize = 512;

/// The disk signature (at byte 440, little endian) by which the card is found.
pub const SIGNATURE: u32 = 0x6765_6e6b;

/// The owner's partition.
pub const BOOT: usize = 1;
/// The data partition.
pub const DATA: usize = 4;

/// Partition type: Linux.
const LINUX: u8 = 0x83;
/// Partitions begin and end on this boundary, in sectors: 4 MiB, what cards erase at once.
const ALIGNMENT: u64 = 4 * 1024 * 1024 / SECTOR as u64;
/// A data partition is not made smaller than this, in sectors: 64 MiB.
const DATA_MIN: u64 = 64 * 1024 * 1024 / SECTOR as u64;
const TABLE: usize = 446;
const ENTRY: usize = 16;

/// A card of ours, by its first sector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mbr([u8; SECTOR]);

/// One partition, in sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    pub start: u32,
    pub sectors: u32,
}

/// Why a first sector is not a card's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    #[error("no partition table")]
    NoTable,
    #[error("another disk: its signature is {0:#010x}")]
    Signature(u32),
    #[error("partition {0} is missing")]
    Missing(usize),
    #[error("partition {0} begins inside the one before it")]
    Overlap(usize),
    #[error("the card has no room for a data partition: use one of 2 GB or more")]
    NoRoom,
}

impl Mbr {
    /// Recognises the first sector of a card.
    pub fn parse(bytes: &[u8; SECTOR]) -> Result<Self, CardError> {
        if bytes[510..] != [0x55, 0xaa] {
            return Err(CardError::NoTable);
        }
        let mbr = Self(*bytes);
        let signature = mbr.u32_at(440);
        if signature != SIGNATURE {
            return Err(CardError::Signature(signature));
        }
        let mut free = 1;
        for number in 1..=DATA {
            let Some(partition) = mbr.partition(number) else {
                if number == DATA {
                    continue;
                }
                return Err(CardError::Missing(number));
            };
            if u64::from(partition.start) < free {
                return Err(CardError::Overlap(number));
            }
            free = partition.end();
        }
        Ok(mbr)
    }

    /// Partition `number` from 1 to 4; `None` when its entry is empty.
    #[must_use]
    pub fn partition(&self, number: usize) -> Option<Partition> {
        let at = entry(number);
        let partition = Partition { start: self.u32_at(at + 8), sectors: self.u32_at(at + 12) };
        (self.0[at + 4] != 0 && partition.sectors != 0).then_some(partition)
    }

    /// The table with a data partition that reaches to the end of a card of `disk` sectors; `None` when it does already.
    ///
    /// # Errors
    /// There is no data partition yet and no room for one.
    pub fn with_data_to_the_end(&self, disk: u64) -> Result<Option<Self>, CardError> {
        let before = self.partition(DATA - 1).map_or(1, Partition::end);
        let found = self.partition(DATA);
        let start = found.map_or(before.next_multiple_of(ALIGNMENT), |data| u64::from(data.start));
        let last = disk.min(u64::from(u32::MAX));
        let end = last - last % ALIGNMENT;
        let Some(found) = found else {
            return if end < start + DATA_MIN {
                Err(CardError::NoRoom)
            } else {
                Ok(Some(self.with_data(start, end)))
            };
        };
        Ok((end > found.end()).then(|| self.with_data(start, end)))
    }

    /// The sector as it is written.
    #[must_use]
    pub fn bytes(&self) -> &[u8; SECTOR] {
        &self.0
    }

    fn with_data(&self, start: u64, end: u64) -> Self {
        let short = |sectors: u64| u32::try_from(sectors).expect("the end is below 2^32").to_le_bytes();
        let mut bytes = self.0;
        let at = entry(DATA);
        // Cylinders, heads and sectors are out of range for every card: the filler that says so.
        bytes[at..at + 8].copy_from_slice(&[0, 0xfe, 0xff, 0xff, LINUX, 0xfe, 0xff, 0xff]);
        bytes[at + 8..at + 12].copy_from_slice(&short(start));
        bytes[at + 12..at + 16].copy_from_slice(&short(end - start));
        Self(bytes)
    }

    fn u32_at(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }
}

impl Partition {
    /// The first sector after it.
    #[must_use]
    pub fn end(self) -> u64 {
        u64::from(self.start) + u64::from(self.sectors)
    }
}

fn entry(number: usize) -> usize {
    debug_assert!((1..=DATA).contains(&number), "partitions are numbered from 1 to 4");
    TABLE + (number - 1) * ENTRY
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u32 = 2048;

    fn card(data: Option<(u32, u32)>) -> [u8; SECTOR] {
        let mut bytes = [0; SECTOR];
        bytes[440..444].copy_from_slice(&SIGNATURE.to_le_bytes());
        bytes[510..].copy_from_slice(&[0x55, 0xaa]);
        let first = [(4 * MIB, 32 * MIB), (36 * MIB, 64 * MIB), (100 * MIB, 64 * MIB)];
        for (number, (start, sectors)) in first.into_iter().chain(data).enumerate() {
            let at = TABLE + number * ENTRY;
            bytes[at + 4] = 0x0c;
            bytes[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
            bytes[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn the_data_partition_grows_to_the_end_once() {
        let mbr = Mbr::parse(&card(Some((164 * MIB, 64 * MIB)))).expect("a card");
        let grown =
            mbr.with_data_to_the_end(u64::from(1000 * MIB) + 5).expect("room").expect("it is shorter");
        assert_eq!(grown.partition(DATA), Some(Partition { start: 164 * MIB, sectors: 836 * MIB }));
        assert_eq!(grown.bytes()[..TABLE + 3 * ENTRY], mbr.bytes()[..TABLE + 3 * ENTRY]);
        assert_eq!(grown.with_data_to_the_end(u64::from(1000 * MIB) + 5), Ok(None));
        let huge = grown.with_data_to_the_end(u64::MAX).expect("room").expect("it is shorter");
        assert!(huge.partition(DATA).is_some_and(|data| u32::try_from(data.end()).is_ok()));
    }

    #[test]
    fn a_missing_data_partition_is_made_where_there_is_room() {
        let mbr = Mbr::parse(&card(None)).expect("a card");
        let made = mbr.with_data_to_the_end(u64::from(512 * MIB)).expect("room").expect("it was missing");
        assert_eq!(made.partition(DATA), Some(Partition { start: 164 * MIB, sectors: 348 * MIB }));
        assert_eq!(mbr.with_data_to_the_end(u64::from(200 * MIB)), Err(CardError::NoRoom));
    }

    #[test]
    fn other_disks_are_not_taken_for_a_card() {
        let mut other = card(None);
        other[440] ^= 1;
        assert!(matches!(Mbr::parse(&other), Err(CardError::Signature(_))));
        assert_eq!(Mbr::parse(&[0; SECTOR]), Err(CardError::NoTable));
        let mut short = card(None);
        short[TABLE + 2 * ENTRY + 4] = 0;
        assert_eq!(Mbr::parse(&short), Err(CardError::Missing(3)));
        assert_eq!(Mbr::parse(&card(Some((163 * MIB, 1)))), Err(CardError::Overlap(4)));
    }

    proptest! {
        #[test]
        fn what_is_made_is_a_card_again(table in proptest::collection::vec(any::<u8>(), 64), disk: u64) {
            let mut bytes = card(None);
            bytes[TABLE..TABLE + 64].copy_from_slice(&table);
            let parsed = Mbr::parse(&bytes);
            if let Ok(Ok(Some(made))) = parsed.map(|mbr| mbr.with_data_to_the_end(disk)) {
                prop_assert!(Mbr::parse(made.bytes()).is_ok());
                prop_assert!(made.partition(DATA).is_some_and(|data| data.end() <= disk));
            }
        }
    }
}
