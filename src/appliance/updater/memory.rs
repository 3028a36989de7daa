//! The memory of an update: one small file on the data partition, replaced whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::appliance::core::slot::Trial;

#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
}

impl Memory {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// `None` too when the data partition is lost: then the new version has to be well, but not as well as before.
    pub fn read(&self) -> Option<Trial> {
        fs::read(&self.path).ok().and_then(|bytes| Trial::decode(&bytes))
    }

    pub fn write(&self, trial: &Trial) -> io::Result<()> {
        fs::create_dir_all(self.folder())?;
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&trial.encode())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        self.sync_folder()
    }

    pub fn forget(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Ok(()) => self.sync_folder(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub fn fault(&self, error: &io::Error) -> String {
        format!("{} cannot be written: {error}", self.path.display())
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(self.folder())?.sync_all()
    }
}
