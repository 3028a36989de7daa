//! The owner's configuration on its way to the worker: copied from p1, checked whole, the last good one kept.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::core::boot_plan::{ConfigFacts, Origin};
use super::identity_copy::owner_folder;
use super::owner_partition::{DRAFT, OwnerPartition};
use super::sealing;
use super::settings::WORKER_ID;
use crate::config;
use crate::config::document::SIZE_MAX;
use crate::config::model::Model;

/// Files taken from the owner's folder.
const FILES_MAX: usize = 64;
/// Written by the box itself, and secret; or left by a power cut.
const NOT_CONFIG: [&str; 3] = ["JOIN.txt", "API-KEY.txt", DRAFT];

/// The configuration that runs.
#[derive(Debug)]
pub struct Configured {
    pub model: Model,
    pub facts: ConfigFacts,
}

/// Where configurations lie.
#[derive(Debug, Clone)]
pub struct Places {
    /// The owner's.
    owner: PathBuf,
    /// In memory, what the worker reads.
    running: PathBuf,
    /// The last one that a worker was ready with.
    good: PathBuf,
    /// Root's own folder of the data partition.
    own: PathBuf,
}

impl Places {
    #[must_use]
    pub fn new(boot: &Path, running: &Path, data: &Path) -> Self {
        Self {
            owner: owner_folder(boot),
            running: running.to_owned(),
            good: data.join("box/config"),
            own: data.join("box"),
        }
    }

    /// Puts the owner's configuration into force if it can be read, else the last good one, else none.
    ///
    /// # Errors
    /// There is no room in memory for it.
    pub fn read(&self) -> io::Result<Configured> {
        self.replace_running(&self.owner)?;
        let loaded = config::load(&self.running);
        for problem in &loaded.problems {
            tracing::warn!("configuration: {problem}");
        }
        let (errors, warnings): (Vec<_>, Vec<_>) =
            loaded.problems.iter().partition(|problem| problem.is_error());
        let errors = errors.iter().map(ToString::to_string).collect();
        let facts = |origin| ConfigFacts { origin, errors, warnings: warnings.len() };
        match loaded.model {
            Some(model) if self.owner.is_dir() || self.last_good().is_none() => {
                Ok(Configured { model, facts: facts(Origin::Owner) })
            }
            _ => {
                let (model, origin) = self.fall_back()?;
                Ok(Configured { model, facts: facts(origin) })
            }
        }
    }

    /// Moves the secrets that the owner wrote into the settings to the data partition.
    ///
    /// # Errors
    /// A partition does not take it.
    pub fn move_secrets(&self, owner: &OwnerPartition) -> io::Result<bool> {
        sealing::move_secrets(owner, &self.running, &self.own)
    }

    /// Puts the last good configuration into force, or none.
    ///
    /// # Errors
    /// There is no room in memory for it.
    pub fn fall_back(&self) -> io::Result<(Model, Origin)> {
        if let Some(good) = self.last_good() {
            self.replace_running(&good)?;
            if let Some(model) = config::load(&self.running).model {
                return Ok((model, Origin::LastGood));
            }
        }
        self.replace_running(Path::new(""))?;
        Ok((Model::default(), Origin::Defaults))
    }

    /// Whether another configuration than the one in force is known to have worked.
    #[must_use]
    pub fn has_other_good(&self) -> bool {
        self.last_good().is_some_and(|good| !is_same(&good, &self.running))
    }

    /// A worker is ready with what is in force: it is the last good one now. Nothing is written when it was before.
    ///
    /// # Errors
    /// The data partition does not take it.
    pub fn keep_running(&self) -> io::Result<()> {
        if is_same(&self.good, &self.running) {
            return Ok(());
        }
        let (draft, old) = (self.good.with_extension("new"), self.good.with_extension("old"));
        remove(&draft)?;
        copy(&self.running, &draft, 0o600)?;
        remove(&old)?;
        if self.good.exists() {
            std::fs::rename(&self.good, &old)?;
        }
        std::fs::rename(&draft, &self.good)?;
        remove(&old)?;
        self.good.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    /// A cut between the two renames leaves the old one under its other name.
    fn last_good(&self) -> Option<PathBuf> {
        [self.good.clone(), self.good.with_extension("old")].into_iter().find(|folder| folder.is_dir())
    }

    /// Copies `from` to where the worker reads; an empty folder where there is no `from`.
    fn replace_running(&self, from: &Path) -> io::Result<()> {
        remove(&self.running)?;
        if let Some(parent) = self.running.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        copy(from, &self.running, 0o640)?;
        chown(&self.running, None, Some(WORKER_ID))?;
        std::fs::set_permissions(&self.running, std::fs::Permissions::from_mode(0o750))?;
        entries(&self.running).iter().try_for_each(|file| chown(file, None, Some(WORKER_ID)))?;
        sealing::hand_over(&self.own, &self.running)
    }
}

/// Regular files with names of their own, in order.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter(|entry| {
        let name = entry.file_name();
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        is_file
            && !NOT_CONFIG.iter().any(|other| name == *other)
            && !name.as_encoded_bytes().starts_with(b".")
    });
    let mut paths: Vec<PathBuf> = files.map(|entry| entry.path()).collect();
    paths.sort_unstable();
    paths.truncate(FILES_MAX);
    paths
}

/// Copies the files of `from` to the new folder `to`; one byte more than is accepted tells that a file is too long.
fn copy(from: &Path, to: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    for path in entries(from) {
        let bytes = read(&path)?;
        let name = path.file_name().expect("an entry has a name");
        let mut options = File::options();
        let mut file = options.write(true).create_new(true).mode(mode).open(to.join(name))?;
        file.write_all(&bytes)?;
        file.sync_all()?;
    }
    File::open(to)?.sync_all()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SIZE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_same(a: &Path, b: &Path) -> bool {
    let contents = |folder: &Path| -> Vec<_> {
        let files = entries(folder).into_iter();
        files.map(|path| (path.file_name().map(std::ffi::OsStr::to_owned), read(&path).ok())).collect()
    };
    a.is_dir() && b.is_dir() && contents(a) == contents(b)
}

fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
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
            std::fs::create_dir_all(root.path().join("data/box")).expect("a folder");
            Self(root)
        }

        fn write(&self, text: &str) {
            std::fs::write(self.0.path().join("boot/genkan/genkan.toml"), text).expect("a file");
        }

        fn places(&self) -> Places {
            let at = |name: &str| self.0.path().join(name);
            Places::new(&at("boot"), &at("run/config"), &at("data"))
        }
    }

    /// Owners are changed on the way, which only root may do.
    fn is_root() -> bool {
        nix::unistd::geteuid().is_root()
    }

    #[test]
    fn a_broken_file_leaves_the_last_good_one_in_force() {
        if !is_root() {
            return;
        }
        let card = Card::new();
        let places = card.places();
        card.write("[coordinator]\nname = \"hs.example.com\"\n");
        let first = places.read().expect("room");
        assert_eq!((first.facts.origin, first.facts.errors.len()), (Origin::Owner, 0));
        places.keep_running().expect("room");

        card.write("[coordinator]\nnaem = \"hs.example.com\"\n");
        let second = places.read().expect("room");
        assert_eq!(second.facts.origin, Origin::LastGood);
        assert!(second.facts.errors[0].starts_with("genkan.toml:2:"), "{:?}", second.facts.errors);
        assert_eq!(second.model.name.as_deref(), Some("hs.example.com"));
        assert!(!places.has_other_good(), "what runs is the good one");
    }

    #[test]
    fn without_a_good_one_the_defaults_run() {
        if !is_root() {
            return;
        }
        let card = Card::new();
        card.write("[coordinator\n");
        let configured = card.places().read().expect("room");
        assert_eq!(configured.facts.origin, Origin::Defaults);
        assert_eq!(configured.model, Model::default());
    }

    #[test]
    fn a_cut_between_the_renames_loses_nothing() {
        if !is_root() {
            return;
        }
        let card = Card::new();
        let places = card.places();
        card.write("[coordinator]\nname = \"a.example.com\"\n");
        places.read().expect("room");
        places.keep_running().expect("room");
        std::fs::rename(&places.good, places.good.with_extension("old")).expect("it is there");
        let (model, origin) = places.fall_back().expect("room");
        assert_eq!((model.name.as_deref(), origin), (Some("a.example.com"), Origin::LastGood));
        places.keep_running().expect("room");
        assert!(places.good.is_dir() && !places.good.with_extension("old").exists());
    }

    #[test]
    fn what_is_no_configuration_is_not_taken() {
        if !is_root() {
            return;
        }
        let card = Card::new();
        card.write("");
        let folder = card.0.path().join("boot/genkan");
        for name in ["JOIN.txt", ".identity"] {
            std::fs::write(folder.join(name), "secret").expect("a file");
        }
        let places = card.places();
        places.read().expect("room");
        assert_eq!(entries(&places.running), [places.running.join("genkan.toml")]);
        assert!(!places.running.join(".identity").exists());
    }
}
