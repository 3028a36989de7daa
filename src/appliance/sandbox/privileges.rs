//! Capabilities: one of root's stays, whoever started the worker.

use std::path::{Path, PathBuf};

use nix::sys::prctl;
use nix::unistd::{AccessFlags, access};

use crate::appliance::core::capabilities::{KEPT_SET, dropped};
use crate::sys::capability;

/// Root without its power over other people's files meets the modes like anybody else.
#[derive(Debug, thiserror::Error)]
#[error(
    "{what} {} cannot be {verb} without root's power over all files, which genkan gives up: give it to the user genkan runs as \
     (chown), or run with --sandbox off", .path.display()
)]
pub struct Unreachable {
    what: &'static str,
    verb: &'static str,
    path: PathBuf,
}

/// Keeps what is needed of the capabilities held, in this thread and those it starts; says which. No new ones can be had, and no other process
/// of the same user may look into this one's memory.
pub fn drop_all_but_kept() -> Result<String, String> {
    let text = |error: std::io::Error| error.to_string();
    prctl::set_no_new_privs().map_err(|error| error.to_string())?;
    prctl::set_dumpable(false).map_err(|error| error.to_string())?;
    // Only root may, and only root gains by a program that it starts.
    dropped().for_each(|capability| drop(capability::drop_from_bounding(capability)));
    let kept = capability::permitted().map_err(text)? & KEPT_SET;
    capability::keep(kept).map_err(text)?;
    Ok(format!("{kept:#x}"))
}

/// Whether the worker's files can be used with what is left.
pub fn check_access(config: &Path, state: &Path) -> Result<(), Unreachable> {
    let check = |what, verb, path: &Path, mode| match access(path, mode) {
        Err(nix::Error::EACCES | nix::Error::EPERM) => Err(Unreachable { what, verb, path: path.to_owned() }),
        _ => Ok(()),
    };
    check("the configuration", "read", config, AccessFlags::R_OK | AccessFlags::X_OK)?;
    check("the state folder", "written", state, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK)
}
