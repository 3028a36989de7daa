//! A child that gives up root between fork and exec, and keeps a few capabilities for its whole life.

use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::SigSet;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid, setsid};

/// `CAP_NET_BIND_SERVICE` and `CAP_NET_ADMIN` of linux/capability.h.
pub const NET_BIND_SERVICE: u8 = 10;
pub const NET_ADMIN: u8 = 12;

/// No kernel knows more capabilities than one set of 64 bits.
const CAPABILITIES_MAX: u8 = 64;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// What a child is left with.
#[derive(Debug, Clone)]
pub struct Privileges {
    /// User and group; not root.
    pub id: u32,
    /// Capabilities it keeps, through exec too; all others are gone for good.
    pub capabilities: &'static [u8],
    /// Open files, soft and hard; fewer where the parent may not have so many.
    pub files: u64,
    /// A descriptor of the parent that stays open in the child under its number.
    pub inherit: Option<RawFd>,
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    process: libc::c_int,
}

/// `struct __user_cap_data_struct`, of which version 3 takes two.
#[repr(C)]
#[derive(Clone, Copy)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Lets the child of `command` begin a session of its own with no more than `privileges`: no groups, no core files, no
/// privileges gained by exec.
pub fn confine(command: &mut Command, privileges: Privileges) {
    // SAFETY: between fork and exec only system calls are made: `give_up` allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || give_up(&privileges).map_err(io::Error::from));
    }
}

fn give_up(privileges: &Privileges) -> Result<(), Errno> {
    setsid()?;
    // What PID 1 blocks to read it in order must reach a child.
    SigSet::empty().thread_set_mask()?;
    limit_files(privileges.files)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    drop_bounding(privileges.capabilities)?;
    prctl::set_keepcaps(true)?;
    let (user, group) = (Uid::from_raw(privileges.id), Gid::from_raw(privileges.id));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    set_capabilities(privileges.capabilities)?;
    privileges.capabilities.iter().try_for_each(|capability| raise_ambient(*capability))?;
    prctl::set_no_new_privs()?;
    match privileges.inherit {
        Some(descriptor) => keep_open(descriptor),
        None => Ok(()),
    }
}

/// A parent that may not raise the limit gives its own.
fn limit_files(files: u64) -> Result<(), Errno> {
    match setrlimit(Resource::RLIMIT_NOFILE, files, files) {
        Err(Errno::EPERM) => {
            let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
            setrlimit(Resource::RLIMIT_NOFILE, most, most)
        }
        other => other,
    }
}

/// Takes every capability but `kept` from the bounding set.
fn drop_bounding(kept: &[u8]) -> Result<(), Errno> {
    for capability in (0..CAPABILITIES_MAX).filter(|capability| !kept.contains(capability)) {
        // SAFETY: PR_CAPBSET_DROP takes its arguments by value and touches no memory.
        let result = unsafe {
            libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), NOTHING, NOTHING, NOTHING)
        };
        match Errno::result(result) {
            // This kernel knows no more of them.
            Err(Errno::EINVAL) => break,
            other => other?,
        };
    }
    Ok(())
}

const NOTHING: libc::c_ulong = 0;

fn set_capabilities(kept: &[u8]) -> Result<(), Errno> {
    let bits = kept.iter().fold(0_u32, |bits, capability| bits | 1 << (capability % 32));
    debug_assert!(
        kept.iter().all(|capability| *capability < 32),
        "all that are used stand in the first word"
    );
    let header = Header { version: CAPABILITY_VERSION_3, process: 0 };
    let none = Sets { effective: 0, permitted: 0, inheritable: 0 };
    let sets = [Sets { effective: bits, permitted: bits, inheritable: bits }, none];
    // SAFETY: capset(2) of version 3 reads one header and two sets; both are laid out as the kernel's and alive.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    Errno::result(result).map(drop)
}

fn raise_ambient(capability: u8) -> Result<(), Errno> {
    let raise = libc::c_ulong::try_from(libc::PR_CAP_AMBIENT_RAISE).expect("a small constant");
    // SAFETY: PR_CAP_AMBIENT takes its arguments by value and touches no memory.
    let result = unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, raise, libc::c_ulong::from(capability), NOTHING, NOTHING)
    };
    Errno::result(result).map(drop)
}

fn keep_open(descriptor: RawFd) -> Result<(), Errno> {
    // SAFETY: F_SETFD takes its arguments by value; on a number that is not open it fails.
    let result = unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;

    /// As root this shows the real thing; as anybody else, that the child does not start with more than it should have.
    #[test]
    fn the_child_has_no_more_than_it_is_left() {
        let mut command = Command::new("cat");
        command.args(["/proc/self/status", "/proc/self/limits"]);
        let id = 1000;
        confine(
            &mut command,
            Privileges { id, capabilities: &[NET_BIND_SERVICE, NET_ADMIN], files: 512, inherit: None },
        );
        if !Uid::effective().is_root() {
            assert!(command.output().is_err());
            return;
        }
        SigSet::from(Signal::SIGTERM).thread_block().expect("a signal");
        let output = command.output().expect("it starts");
        let text = String::from_utf8(output.stdout).expect("text").replace('\t', " ");
        for line in [
            "Uid: 1000 1000 1000 1000",
            "Gid: 1000 1000 1000 1000",
            "Groups:  ",
            "NoNewPrivs: 1",
            "SigBlk: 0000000000000000",
            "CapInh: 0000000000001400",
            "CapPrm: 0000000000001400",
            "CapEff: 0000000000001400",
            "CapBnd: 0000000000001400",
            "CapAmb: 0000000000001400",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
        let files = text.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
        assert_eq!(files.split_whitespace().filter(|word| *word == "512").count(), 2, "{files}");
    }
}
