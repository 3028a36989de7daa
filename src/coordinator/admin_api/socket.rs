//! The socket file: made, guarded by its mode, taken over from a genkan that died.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::wire::admin::SOCKET;

/// Read and write for owner and group, nothing for others.
const MODE: u32 = 0o660;

/// Why there is no admin socket. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("another genkan already serves {}; stop it first, or give this one another --state", .0.display())]
    InUse(PathBuf),
    #[error("cannot make the admin socket {}: {cause}", .path.display())]
    Io { path: PathBuf, cause: io::Error },
}

/// Makes `genkan.sock` in the directory `state`. Must be called inside a tokio runtime.
pub fn bind(state: &Path) -> Result<UnixListener, BindError> {
    let path = state.join(SOCKET);
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        return Err(BindError::InUse(path));
    }
    bind_anew(&path).map_err(|cause| BindError::Io { path, cause })
}

fn bind_anew(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
    Ok(listener)
}
