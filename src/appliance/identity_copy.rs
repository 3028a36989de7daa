//! The copy of the box's keys on the owner's partition, by which a box that lost its data stays the one its clients know.
//!
//! Its contents are the worker's affair ([`crate::coordinator::store`]); PID 1 carries it between the state folder and p1.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use super::settings::WORKER_ID;

/// On p1, in the folder `genkan`.
pub const ON_CARD: &str = ".identity";
/// In the state folder.
const IN_STATE: &str = "identity.bak";
/// The worker's database: where it is, no copy is needed.
const DATABASE: &str = "genkan.redb";
/// Longest copy, in bytes.
const SIZE_MAX: u64 = 4096;
const BEGINNING: &[u8] = b"genkan identity ";

/// The folder of the owner's files on p1.
#[must_use]
pub fn owner_folder(boot: &Path) -> PathBuf {
    boot.join("genkan")
}

/// Puts the copy from p1 beside a state that has no database; gives whether that was so.
///
/// # Errors
/// The copy is damaged or cannot be put there.
pub fn restore(boot: &Path, state: &Path) -> io::Result<bool> {
    if state.join(DATABASE).exists() {
        return Ok(false);
    }
    let copy = read(&owner_folder(boot).join(ON_CARD))?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
    let mut file = options.open(state.join(IN_STATE))?;
    file.write_all(&copy)?;
    fchown(&file, Some(WORKER_ID), Some(WORKER_ID))?;
    file.sync_all()?;
    Ok(true)
}

/// What p1 should hold and does not: the worker's copy, when it differs from the one on p1.
///
/// # Errors
/// The worker has none yet, or what it has is no copy.
pub fn news(boot: &Path, state: &Path) -> io::Result<Option<Vec<u8>>> {
    let copy = read(&state.join(IN_STATE))?;
    let on_card = read(&owner_folder(boot).join(ON_CARD)).ok();
    Ok((on_card.as_ref() != Some(&copy)).then_some(copy))
}

/// The worker writes one of them and the owner may write the other: no link is followed, no more than a copy read.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK);
    let file: File = options.open(path)?;
    let mut bytes = Vec::new();
    if file.metadata()?.is_file() {
        file.take(SIZE_MAX + 1).read_to_end(&mut bytes)?;
    }
    if bytes.starts_with(BEGINNING) && bytes.len() as u64 <= SIZE_MAX {
        Ok(bytes)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is not a copy of keys", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Card(tempfile::TempDir);

    impl Card {
        fn new() -> Self {
            let root = tempfile::tempdir().expect("a folder");
            std::fs::create_dir_all(root.path().join("boot/genkan")).expect("a folder");
            std::fs::create_dir(root.path().join("state")).expect("a folder");
            Self(root)
        }

        fn places(&self) -> (PathBuf, PathBuf) {
            (self.0.path().join("boot"), self.0.path().join("state"))
        }
    }

    #[test]
    fn only_a_change_is_news() {
        let card = Card::new();
        let (boot, state) = card.places();
        assert!(news(&boot, &state).is_err(), "there is none yet");
        std::fs::write(state.join(IN_STATE), "genkan identity 1 x").expect("a file");
        let copy = news(&boot, &state).expect("a copy").expect("p1 has none");
        std::fs::write(boot.join("genkan/.identity"), copy).expect("a file");
        assert_eq!(news(&boot, &state).expect("a copy"), None);
    }

    #[test]
    fn a_link_of_the_worker_is_not_followed() {
        let card = Card::new();
        let (boot, state) = card.places();
        let secret = card.0.path().join("secret");
        std::fs::write(&secret, "genkan identity of somebody else").expect("a file");
        std::os::unix::fs::symlink(&secret, state.join(IN_STATE)).expect("a link");
        assert!(news(&boot, &state).is_err());
    }

    #[test]
    fn a_state_that_is_there_keeps_its_identity() {
        let card = Card::new();
        let (boot, state) = card.places();
        std::fs::write(state.join(DATABASE), "x").expect("a file");
        assert!(!restore(&boot, &state).expect("nothing to do"));
        std::fs::remove_file(state.join(DATABASE)).expect("it is there");
        std::fs::write(boot.join("genkan/.identity"), "rubbish").expect("a file");
        assert!(restore(&boot, &state).is_err());
    }
}
