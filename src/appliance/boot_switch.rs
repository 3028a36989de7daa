//! Setting the switch: one sector of one file of the card's first partition, in place.
//!
//! The sector is written to the card, not through a mounted file system: a FAT has no journal, and a mount for writing would
//! touch its dirty flag, its directory and its table, each a chance to lose the file that decides whether the box starts. The
//! partition may be mounted meanwhile, for which the kernel refuses to open its own device for writing (`CONFIG_BLK_DEV_WRITE_MOUNTED`
//! is off), but not the whole card's; who reads the file through that mount may see the old text until the next boot.

use std::io;
use std::path::PathBuf;

use super::block_device::BlockDevice;
use super::core::fat_file::{FatError, Place, locate};
use super::core::slot::{Switch, SwitchError, SwitchFile};

/// Why the switch could not be read or set; it is as it was unless the card itself failed.
#[derive(Debug, thiserror::Error)]
pub enum BootSwitchError {
    #[error("the card cannot be opened: {0}")]
    Open(io::Error),
    #[error(transparent)]
    Find(#[from] FatError<io::Error>),
    #[error(transparent)]
    Text(#[from] SwitchError),
    #[error("the card's first partition cannot be written: {0}; the card may be worn out")]
    Write(io::Error),
    #[error("{0} was written and reads otherwise: the card is worn out, replace it")]
    Differs(&'static str),
}

/// The switch of this box.
#[derive(Debug, Clone)]
pub struct BootSwitch {
    pub file: SwitchFile,
    /// The whole card.
    pub device: PathBuf,
    /// Where its first partition begins, in sectors.
    pub first: u64,
}

impl BootSwitch {
    pub fn read(&self) -> Result<Switch, BootSwitchError> {
        let device = BlockDevice::open_to_read(&self.device).map_err(BootSwitchError::Open)?;
        let place = self.locate(&device)?;
        let sector = device.read_sector(self.first + place.sector).map_err(FatError::Read)?;
        Ok(self.file.decode(&sector[..place.length])?)
    }

    /// Writes nothing when the file says so already. Afterwards it is on the card and has been read again.
    pub fn set(&self, switch: Switch) -> Result<(), BootSwitchError> {
        let device = BlockDevice::open_to_write(&self.device).map_err(BootSwitchError::Open)?;
        let place = self.locate(&device)?;
        let text = self.file.encode(switch, place.length)?;
        let mut sector = device.read_sector(self.first + place.sector).map_err(FatError::Read)?;
        if sector[..place.length] == text {
            return Ok(());
        }
        sector[..place.length].copy_from_slice(&text);
        device.write_sector(self.first + place.sector, &sector).map_err(BootSwitchError::Write)?;
        let again = device.read_sector(self.first + place.sector).map_err(FatError::Read)?;
        if again == sector { Ok(()) } else { Err(BootSwitchError::Differs(self.file.name())) }
    }

    fn locate(&self, device: &BlockDevice) -> Result<Place, FatError<io::Error>> {
        locate(self.file.name(), |sector| device.read_sector(self.first + sector))
    }
}
