//! Room kept back on the data partition, so that a full one still lets the worker start: its database cannot even be opened without a
//! few free blocks.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;

use super::core::space::{RESERVE, Room, room};

/// In the folder `box` of the data partition.
const NAME: &str = "box/reserve";

/// Gives the reserve up where the partition in `folder` is full, and keeps one back where there is plenty. Gives the bytes that are then
/// free to those who are not root, and all bytes.
///
/// # Errors
/// The partition cannot be asked, or not be written.
pub fn tend(folder: &Path) -> io::Result<(u64, u64)> {
    let place = folder.join(NAME);
    let (free, total) = space_in(folder)?;
    match room(free, total) {
        Room::Full if place.exists() => {
            fs::remove_file(&place)?;
            tracing::warn!("the data partition is full: the room kept back is given up");
            space_in(folder)
        }
        Room::Plenty if !place.exists() => {
            keep_back(&place)?;
            space_in(folder)
        }
        _ => Ok((free, total)),
    }
}

/// Blocks without content: nothing is written but who has them.
fn keep_back(place: &Path) -> io::Result<()> {
    let file = File::create(place)?;
    fallocate(&file, FallocateFlags::empty(), 0, RESERVE).map_err(io::Error::from).inspect_err(|_| {
        fs::remove_file(place).ok();
    })
}

/// Bytes free to those who are not root, and in all.
///
/// # Errors
/// The file system cannot be asked.
pub fn space_in(folder: &Path) -> io::Result<(u64, u64)> {
    let found = statvfs(folder)?;
    let bytes = |blocks| blocks * found.fragment_size();
    Ok((bytes(found.blocks_available()), bytes(found.blocks())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_kept_back_once() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("box")).expect("a folder");
        tend(folder.path()).expect("there is plenty here");
        let kept = fs::metadata(folder.path().join(NAME)).expect("it is there");
        assert_eq!(i64::try_from(kept.len()), Ok(RESERVE));
        let modified = kept.modified().expect("a time");
        tend(folder.path()).expect("again");
        assert_eq!(
            fs::metadata(folder.path().join(NAME)).and_then(|file| file.modified()).expect("kept"),
            modified
        );
    }
}
