//! What a child that reads strangers' packets gives up before the first: files, privileges, and most of everything else.

use std::path::Path;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, chdir, chroot, setgroups, setresgid, setresuid};

/// User and group that own nothing.
const NOBODY: u32 = 65534;
/// Descriptors: sockets for the questions on their way, and a few.
const DESCRIPTORS_MAX: u64 = 64;

/// Which step failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {errno}; the child must be started by root, with an empty directory")]
pub struct ConfineError {
    step: &'static str,
    errno: Errno,
}

/// Leaves the calling process with the descriptors it has, sockets it may make, and nothing else: the root directory is
/// `root`, which must be empty; the user is nobody; no privilege can come back; no process can be started.
pub fn confine(root: &Path) -> Result<(), ConfineError> {
    let failed = |step| move |errno| ConfineError { step, errno };
    chroot(root).and_then(|()| chdir("/")).map_err(failed("leave the file system"))?;
    let limits =
        [(Resource::RLIMIT_NOFILE, DESCRIPTORS_MAX), (Resource::RLIMIT_NPROC, 0), (Resource::RLIMIT_CORE, 0)];
    for (resource, limit) in limits {
        setrlimit(resource, limit, limit).map_err(failed("lower a limit"))?;
    }
    setgroups(&[]).map_err(failed("leave all groups"))?;
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setresgid(group, group, group).map_err(failed("change the group"))?;
    setresuid(user, user, user).map_err(failed("change the user"))?;
    prctl::set_dumpable(false).map_err(failed("forbid looking inside"))?;
    prctl::set_no_new_privs().map_err(failed("give up privileges for good"))
}
