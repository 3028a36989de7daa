//! A partition, read and written past the page cache: what is read comes from the card, what is written is on it after [`sync`].
//!
//! [`sync`]: BlockDevice::sync

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::core::fat_file::{SECTOR, Sector};

/// No device asks for more than a page.
const ALIGNMENT: usize = 4096;

/// An open partition.
#[derive(Debug)]
pub struct BlockDevice {
    file: File,
    size: u64,
}

/// Bytes where direct input and output accept them.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl BlockDevice {
    pub fn open_to_read(path: &Path) -> io::Result<Self> {
        Self::open(path, OpenOptions::new().read(true), 0)
    }

    pub fn open_to_write(path: &Path) -> io::Result<Self> {
        Self::open(path, OpenOptions::new().read(true).write(true), 0)
    }

    /// As [`open_to_write`](Self::open_to_write); `EBUSY` for a partition that is mounted, or that somebody else has opened so.
    pub fn open_alone(path: &Path) -> io::Result<Self> {
        Self::open(path, OpenOptions::new().read(true).write(true), libc::O_EXCL)
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills the whole of `buffer`; `offset` and the buffer's length are multiples of a sector.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// As [`read_at`](Self::read_at), the other way.
    pub fn write_at(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        self.file.write_all_at(buffer, offset)
    }

    pub fn read_sector(&self, number: u64) -> io::Result<Sector> {
        let mut buffer = Buffer::new(SECTOR);
        self.read_at(offset_of(number)?, buffer.bytes())?;
        Ok((&*buffer.bytes()).try_into().expect("the buffer is one sector"))
    }

    /// One sector and no byte beside it; cards write a sector whole or not at all.
    pub fn write_sector(&self, number: u64, sector: &Sector) -> io::Result<()> {
        let mut buffer = Buffer::new(SECTOR);
        buffer.bytes().copy_from_slice(sector);
        self.write_at(offset_of(number)?, buffer.bytes())?;
        self.sync()
    }

    /// Waits until all that was written survives a power cut.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn open(path: &Path, options: &mut OpenOptions, flags: libc::c_int) -> io::Result<Self> {
        let mut file = options.custom_flags(libc::O_DIRECT | libc::O_NOFOLLOW | flags).open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, size })
    }
}

impl Buffer {
    /// `length` zeros.
    #[must_use]
    pub fn new(length: usize) -> Self {
        let bytes = vec![0; length + ALIGNMENT];
        let start = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { bytes, start, length }
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}

fn offset_of(sector: u64) -> io::Result<u64> {
    sector.checked_mul(SECTOR as u64).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
