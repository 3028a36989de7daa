//! Writing to the owner's partition: rarely, briefly, and closed again at once.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::identity_copy::{ON_CARD, owner_folder};
use super::mounts;
use crate::config::SETTINGS_FILE;

/// For the owner, beside the folder `genkan`.
pub const STATUS: &str = "STATUS.txt";
/// For the owner, in the folder of the configuration.
pub const JOIN: &str = "genkan/JOIN.txt";
/// From the owner, empty: a wish for an API key; from the box, with the key in it.
pub const API_KEY: &str = "genkan/API-KEY.txt";
/// From the owner, empty: a wish for a report; from the box, the report.
pub const REPORT: &str = "REPORT.txt";
/// From the owner: erase the data.
const RESET: &str = "RESET";
/// Computers that hide endings make this of it.
const RESET_TXT: &str = "RESET.txt";

/// p1, mounted read-only.
#[derive(Debug, Clone)]
pub struct OwnerPartition {
    folder: PathBuf,
}

impl OwnerPartition {
    /// The partition mounted at `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    #[must_use]
    pub fn asks_reset(&self) -> bool {
        [RESET, RESET_TXT].iter().any(|name| self.folder.join(name).exists())
    }

    /// Whether the owner left an empty file to be filled with an API key.
    #[must_use]
    pub fn asks_api_key(&self) -> bool {
        self.text(API_KEY).is_some_and(|text| text.trim().is_empty())
    }

    /// Whether the owner left an empty file to be filled with a report.
    #[must_use]
    pub fn asks_report(&self) -> bool {
        self.text(REPORT).is_some_and(|text| text.trim().is_empty())
    }

    #[must_use]
    pub fn has_identity(&self) -> bool {
        owner_folder(&self.folder).join(ON_CARD).exists()
    }

    /// The text of `name` with plain line ends, if it is there and a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.join(name)).ok().map(|text| text.replace("\r\n", "\n"))
    }

    /// Replaces the text of `name` where it lies: on a file system without a journal, the less moves the better.
    pub fn write_text(&self, name: &str, text: &str) -> io::Result<()> {
        self.open(|| {
            let path = self.folder.join(name);
            let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            // Windows' own editor is what most owners look with.
            let text = text.replace("\r\n", "\n").replace('\n', "\r\n");
            file.write_all(text.as_bytes())?;
            file.set_len(text.len() as u64)?;
            file.sync_all()
        })
    }

    /// Replaces the owner's settings: whole, or not at all.
    pub fn write_settings(&self, text: &[u8]) -> io::Result<()> {
        self.open(|| replace(&owner_folder(&self.folder), SETTINGS_FILE, text))
    }

    /// Keeps a copy of the box's keys.
    pub fn write_identity(&self, copy: &[u8]) -> io::Result<()> {
        self.open(|| replace(&owner_folder(&self.folder), ON_CARD, copy))
    }

    /// Forgets the copy of the keys.
    pub fn forget_identity(&self) -> io::Result<()> {
        self.open(|| overwrite_and_remove(&owner_folder(&self.folder).join(ON_CARD)))
    }

    /// The last acts of a reset: the old keys go, and then the wish itself.
    pub fn finish_reset(&self) -> io::Result<()> {
        self.open(|| {
            overwrite_and_remove(&owner_folder(&self.folder).join(ON_CARD))?;
            [RESET, RESET_TXT].iter().try_for_each(|name| remove(&self.folder.join(name)))?;
            File::open(&self.folder)?.sync_all()
        })
    }

    fn open(&self, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        mounts::set_boot_writable(&self.folder, true)?;
        let result = act();
        let closed = mounts::set_boot_writable(&self.folder, false);
        result.and(closed.map_err(io::Error::from))
    }
}

/// A new file takes the old one's name when it is on the card.
fn replace(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let draft = folder.join(format!("{name}.new"));
    let mut file = File::create(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&draft, folder.join(name))?;
    File::open(folder)?.sync_all()
}

fn overwrite_and_remove(path: &Path) -> io::Result<()> {
    if let Ok(mut file) = OpenOptions::new().write(true).open(path) {
        let length = usize::try_from(file.metadata()?.len().min(4096)).expect("a small number");
        file.write_all(&vec![0; length])?;
        file.sync_all()?;
    }
    remove(path)
}

/// A file, or a folder that somebody made instead.
fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
