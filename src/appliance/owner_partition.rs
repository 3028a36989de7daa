//! Writing to the owner's partition: rarely, briefly, and closed again at once.
//!
//! A FAT has no journal, and of what was written between two flushes a power cut may leave any part. So an entry is flushed only after the
//! clusters it names, and clusters are given away only after the last entry that names them is gone. A cut leaves the old file or the new
//! one, and at worst clusters that nobody uses.

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
/// What is to replace a file, beside it. In capitals and short, so that its entry is a single one and goes at once.
pub const DRAFT: &str = "DRAFT.NEW";

/// p1, mounted read-only.
#[derive(Debug, Clone)]
pub struct OwnerPartition {
    folder: PathBuf,
    device: PathBuf,
}

impl OwnerPartition {
    /// The partition `device`, mounted at `folder`.
    #[must_use]
    pub fn new(folder: &Path, device: &Path) -> Self {
        Self { folder: folder.to_owned(), device: device.to_owned() }
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

    /// Replaces the text of `name`: whole, or not at all.
    pub fn write_text(&self, name: &str, text: &str) -> io::Result<()> {
        // Windows' own editor is what most owners look with.
        let text = text.replace("\r\n", "\n").replace('\n', "\r\n");
        self.open(|| self.replace(&self.folder.join(name), text.as_bytes()))
    }

    /// Replaces the owner's settings: whole, or not at all.
    pub fn write_settings(&self, text: &[u8]) -> io::Result<()> {
        self.open(|| self.replace(&owner_folder(&self.folder).join(SETTINGS_FILE), text))
    }

    /// Keeps a copy of the box's keys.
    pub fn write_identity(&self, copy: &[u8]) -> io::Result<()> {
        self.open(|| self.replace(&owner_folder(&self.folder).join(ON_CARD), copy))
    }

    /// Forgets the copy of the keys.
    pub fn forget_identity(&self) -> io::Result<()> {
        self.open(|| self.overwrite_and_remove(&owner_folder(&self.folder).join(ON_CARD)))
    }

    /// The last acts of a reset: the old keys go, and then the wish itself.
    pub fn finish_reset(&self) -> io::Result<()> {
        self.open(|| {
            self.overwrite_and_remove(&owner_folder(&self.folder).join(ON_CARD))?;
            [RESET, RESET_TXT].iter().try_for_each(|name| self.remove(&self.folder.join(name)))
        })
    }

    fn open(&self, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        mounts::set_boot_writable(&self.folder, true)?;
        let result = act();
        let closed = mounts::set_boot_writable(&self.folder, false);
        result.and(closed.map_err(io::Error::from)).and(self.flush())
    }

    /// Brings tables and entries to the card, but no file's content, length or first cluster that has not been synced.
    fn flush(&self) -> io::Result<()> {
        File::open(&self.device)?.sync_all()
    }

    /// A new file takes the old one's name when it is on the card.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let draft = path.with_file_name(DRAFT);
        self.remove(&draft)?;
        let mut file = File::create_new(&draft)?;
        file.write_all(content)?;
        // The clusters are taken, by nobody yet; then they are the draft's.
        self.flush()?;
        file.sync_all()?;
        let old = File::open(path).ok();
        std::fs::rename(&draft, path)?;
        // They are nobody's again, then `path`'s; those of the old file are held until then.
        self.flush()?;
        file.sync_all()?;
        drop(old);
        self.flush()
    }

    fn overwrite_and_remove(&self, path: &Path) -> io::Result<()> {
        if let Ok(mut file) = OpenOptions::new().write(true).open(path) {
            let length = usize::try_from(file.metadata()?.len().min(4096)).expect("a small number");
            file.write_all(&vec![0; length])?;
            file.sync_all()?;
        }
        self.remove(path)
    }

    /// A file, or a folder that somebody made instead; its clusters are held until its entry is gone.
    fn remove(&self, path: &Path) -> io::Result<()> {
        let held = File::open(path).ok();
        let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        self.flush()?;
        drop(held);
        Ok(())
    }
}
