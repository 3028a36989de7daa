//! The card among the disks, and its partitions as the kernel knows them.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::core::card::{BOOT, CardError, DATA, Mbr, Partition, SECTOR};
use crate::sys::block;

/// Between two looks for a card that is slow to appear.
const LOOK: Duration = Duration::from_millis(50);
const BLOCK_DEVICES: &str = "/sys/class/block";

/// The card, found.
#[derive(Debug)]
pub struct Card {
    device: PathBuf,
    mbr: Mbr,
    /// The whole disk, in sectors.
    sectors: u64,
}

/// Why there is no card, or it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    #[error("no disk has the signature of a genkan card; seen: {0}")]
    NotFound(String),
    #[error("{}: {cause}", device.display())]
    Table { device: PathBuf, cause: CardError },
    #[error("{}: {cause}", device.display())]
    Io { device: PathBuf, cause: io::Error },
}

impl Card {
    /// Looks for the card for at most `patience`: at `wanted`, or among all disks.
    pub fn find(wanted: Option<&str>, patience: Duration) -> Result<Self, PartitionError> {
        let deadline = Instant::now() + patience;
        loop {
            let found = match wanted {
                Some(device) => Self::open(Path::new(device)),
                None => Self::search(),
            };
            if found.is_ok() || Instant::now() >= deadline {
                return found;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Takes `device` as the card and makes its partitions known where the kernel has not.
    pub fn open(device: &Path) -> Result<Self, PartitionError> {
        let failed = |cause| PartitionError::Io { device: device.to_owned(), cause };
        let file = File::open(device).map_err(failed)?;
        let mut sector = [0; SECTOR];
        file.read_exact_at(&mut sector, 0).map_err(failed)?;
        let mbr = Mbr::parse(&sector)
            .map_err(|cause| PartitionError::Table { device: device.to_owned(), cause })?;
        let sectors = block::size(&file).map_err(failed)? / SECTOR as u64;
        let card = Self { device: device.to_owned(), mbr, sectors };
        (BOOT..=DATA).try_for_each(|number| card.announce(&file, number)).map_err(failed)?;
        Ok(card)
    }

    /// The device of partition `number`.
    #[must_use]
    pub fn partition(&self, number: usize) -> PathBuf {
        let disk = self.device.to_string_lossy();
        let between = if disk.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
        PathBuf::from(format!("{disk}{between}{number}"))
    }

    /// The first sector of partition `number`; 0 where there is none.
    #[must_use]
    pub fn start(&self, number: usize) -> u64 {
        self.mbr.partition(number).map_or(0, |partition| partition.start.into())
    }

    #[must_use]
    pub fn has_data(&self) -> bool {
        self.mbr.partition(DATA).is_some()
    }

    #[must_use]
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Lets the data partition reach to the end of the card, making it when there is none; it may be mounted. First the
    /// table, in one sector, then the kernel's view of it. Nothing is done when it reaches there already.
    pub fn extend_data(&mut self) -> Result<(), PartitionError> {
        let table = |cause| PartitionError::Table { device: self.device.clone(), cause };
        let Some(mbr) = self.mbr.with_data_to_the_end(self.sectors).map_err(table)? else { return Ok(()) };
        let failed = |cause| PartitionError::Io { device: self.device.clone(), cause };
        let mut disk = OpenOptions::new().read(true).write(true).open(&self.device).map_err(failed)?;
        disk.seek(SeekFrom::Start(0)).and_then(|_| disk.write_all(mbr.bytes())).map_err(failed)?;
        disk.sync_all().map_err(failed)?;
        let was_there = self.has_data();
        self.mbr = mbr;
        if was_there {
            let (start, length) = self.bytes_of(DATA).expect("it was there and grew");
            block::resize_partition(&disk, DATA, start, length).map_err(failed)
        } else {
            self.announce(&disk, DATA).map_err(failed)
        }
    }

    fn search() -> Result<Self, PartitionError> {
        let mut seen = Vec::new();
        for name in disks() {
            match Self::open(&Path::new("/dev").join(&name)) {
                Ok(card) => return Ok(card),
                Err(_) => seen.push(name),
            }
        }
        Err(PartitionError::NotFound(if seen.is_empty() { "no disk".into() } else { seen.join(", ") }))
    }

    /// Tells the kernel of a partition that it has not found by itself.
    fn announce(&self, disk: &File, number: usize) -> io::Result<()> {
        let device = self.partition(number);
        let name = device.file_name().expect("a device has a name");
        match self.bytes_of(number) {
            Some((start, length)) if !Path::new(BLOCK_DEVICES).join(name).exists() => {
                block::add_partition(disk, number, start, length)
            }
            _ => Ok(()),
        }
    }

    fn bytes_of(&self, number: usize) -> Option<(u64, u64)> {
        let Partition { start, sectors } = self.mbr.partition(number)?;
        Some((u64::from(start) * SECTOR as u64, u64::from(sectors) * SECTOR as u64))
    }
}

/// Names of all disks, partitions left out, in a fixed order.
fn disks() -> Vec<String> {
    let entries = std::fs::read_dir(BLOCK_DEVICES).into_iter().flatten().flatten();
    let whole = entries.filter(|entry| !entry.path().join("partition").exists());
    let mut names: Vec<String> = whole.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}
