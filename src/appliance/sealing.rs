//! Secrets that the owner wrote into `genkan.toml` move to the data partition; a marker stays in the file.
//!
//! In this order, so that a cut in between loses none: the secrets are on the data partition before the owner's file is written.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

use super::owner_partition::OwnerPartition;
use super::settings::WORKER_ID;
use crate::config::{SECRETS, SECRETS_FOLDER, SETTINGS_FILE, seal};

/// Below root's own folder of the data partition.
const KEPT: &str = "secrets";

/// Takes the secrets out of the settings in `running` (what the owner wrote and was found good), keeps them in `own`, and writes the
/// settings back there and to the owner's partition. Whether there was a secret.
///
/// # Errors
/// A partition does not take it: what was not written stays as it was.
pub fn move_secrets(owner: &OwnerPartition, running: &Path, own: &Path) -> io::Result<bool> {
    let settings = running.join(SETTINGS_FILE);
    let Ok(bytes) = std::fs::read(&settings) else { return Ok(false) };
    let Some(sealed) = seal(&bytes, &SECRETS) else { return Ok(false) };
    let kept = own.join(KEPT);
    DirBuilder::new().recursive(true).mode(0o700).create(&kept)?;
    for (key, secret) in &sealed.secrets {
        let draft = kept.join(format!("{}.new", key.file()));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(secret.expose().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, kept.join(key.file()))?;
    }
    File::open(&kept)?.sync_all()?;
    owner.write_settings(&sealed.text)?;
    std::fs::write(&settings, &sealed.text)?;
    hand_over(own, running)?;
    Ok(true)
}

/// Lays the kept secrets beside the configuration that runs, where the worker reads them and nobody else.
///
/// # Errors
/// There is no room in memory for them.
pub fn hand_over(own: &Path, running: &Path) -> io::Result<()> {
    let folder = running.join(SECRETS_FOLDER);
    for key in SECRETS {
        let Ok(secret) = std::fs::read(own.join(KEPT).join(key.file())) else { continue };
        DirBuilder::new().recursive(true).mode(0o750).create(&folder)?;
        let file = folder.join(key.file());
        std::fs::write(&file, secret)?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o440))?;
        [&folder, &file].into_iter().try_for_each(|path| chown(path, None, Some(WORKER_ID)))?;
    }
    Ok(())
}
