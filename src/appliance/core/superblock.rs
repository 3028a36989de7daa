//! The few fields of an ext4 superblock that PID 1 reads, and the one it writes: the UUID of a fresh data partition.
//! Layout: the kernel's `Documentation/filesystems/ext4/super.rst`.

/// Where the superblock stands in the partition, in bytes.
pub const OFFSET: usize = 1024;
/// Its size in bytes.
pub const SIZE: usize = 1024;

const MAGIC: u16 = 0xef53;
const CHECKSUM: usize = 0x3fc;
const UUID: usize = 0x68;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
const RO_COMPAT_GDT_CSUM: u32 = 0x10;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;

/// A superblock that carries ext4's magic number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock([u8; SIZE]);

/// Why a superblock cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    #[error("no ext4 file system")]
    Magic,
    #[error("a block size of 2^{0} KiB")]
    BlockSize(u32),
    #[error("its checksums depend on its UUID; make it with the feature metadata_csum_seed")]
    UuidIsFixed,
}

impl Superblock {
    /// Recognises a superblock by magic number and block size.
    pub fn parse(bytes: &[u8; SIZE]) -> Result<Self, SuperblockError> {
        let block = Self(*bytes);
        if u16::from_le_bytes([bytes[0x38], bytes[0x39]]) != MAGIC {
            return Err(SuperblockError::Magic);
        }
        match block.u32_at(0x18) {
            0..=6 => Ok(block),
            size => Err(SuperblockError::BlockSize(size)),
        }
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_size(&self) -> u64 {
        1024 << self.u32_at(0x18)
    }

    /// Blocks of the file system.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        u64::from(self.u32_at(4)) | u64::from(self.u32_at(0x150)) << 32
    }

    /// The same with another UUID.
    ///
    /// # Errors
    /// Other checksums of the file system contain the UUID.
    pub fn with_uuid(&self, uuid: [u8; 16]) -> Result<Self, SuperblockError> {
        let (incompat, ro_compat) = (self.u32_at(0x60), self.u32_at(0x64));
        let has_checksum = ro_compat & RO_COMPAT_METADATA_CSUM != 0;
        let is_fixed = if has_checksum {
            incompat & INCOMPAT_CSUM_SEED == 0
        } else {
            ro_compat & RO_COMPAT_GDT_CSUM != 0
        };
        if is_fixed {
            return Err(SuperblockError::UuidIsFixed);
        }
        let mut bytes = self.0;
        bytes[UUID..UUID + 16].copy_from_slice(&uuid);
        if has_checksum {
            let checksum = crc32c(&bytes[..CHECKSUM]);
            bytes[CHECKSUM..].copy_from_slice(&checksum.to_le_bytes());
        }
        Ok(Self(bytes))
    }

    /// As it is written.
    #[must_use]
    pub fn bytes(&self) -> &[u8; SIZE] {
        &self.0
    }

    fn u32_at(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }
}

/// Castagnoli's CRC as ext4 uses it: begun with ones, not inverted at the end.
fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(!crc32c(b"123456789"), 0xe306_9283, "the check value of CRC-32C");
    }

    #[test]
    fn a_uuid_that_others_depend_on_stays() {
        let mut bytes = [0; SIZE];
        bytes[0x38..0x3a].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[0x64..0x68].copy_from_slice(&RO_COMPAT_METADATA_CSUM.to_le_bytes());
        let fixed = Superblock::parse(&bytes).expect("ext4");
        assert_eq!(fixed.with_uuid([7; 16]), Err(SuperblockError::UuidIsFixed));
        bytes[0x60..0x64].copy_from_slice(&INCOMPAT_CSUM_SEED.to_le_bytes());
        let seeded = Superblock::parse(&bytes).expect("ext4").with_uuid([7; 16]).expect("it may change");
        assert_eq!(seeded.bytes()[UUID..UUID + 16], [7; 16]);
        assert_ne!(seeded.bytes()[CHECKSUM..], [0; 4]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), SIZE), with_magic: bool) {
            let mut bytes: [u8; SIZE] = bytes.try_into().expect("the size asked for");
            if with_magic {
                bytes[0x38..0x3a].copy_from_slice(&MAGIC.to_le_bytes());
            }
            if let Ok(block) = Superblock::parse(&bytes) {
                prop_assert!(block.block_size() >= 1024);
                let _ = (block.blocks(), block.with_uuid([1; 16]));
            }
        }
    }
}
