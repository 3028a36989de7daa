//! The mount table: what is mounted where, and with what taken away.

use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// One line of the table.
struct Mount {
    source: &'static str,
    target: &'static str,
    kind: &'static str,
    flags: MsFlags,
    data: &'static str,
    /// The kernel may not have it.
    is_optional: bool,
}

const PLAIN: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

const KERNEL: [Mount; 6] = [
    // Nobody sees the processes of others.
    Mount {
        source: "proc",
        target: "/proc",
        kind: "proc",
        flags: PLAIN,
        data: "hidepid=2",
        is_optional: false,
    },
    Mount { source: "sysfs", target: "/sys", kind: "sysfs", flags: PLAIN, data: "", is_optional: false },
    Mount {
        source: "devtmpfs",
        target: "/dev",
        kind: "devtmpfs",
        flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC),
        data: "mode=0755",
        is_optional: false,
    },
    Mount {
        source: "run",
        target: "/run",
        kind: "tmpfs",
        flags: PLAIN,
        data: "mode=0755",
        is_optional: false,
    },
    Mount {
        source: "tmp",
        target: "/tmp",
        kind: "tmpfs",
        flags: PLAIN,
        data: "mode=1777,size=16m",
        is_optional: false,
    },
    Mount {
        source: "pstore",
        target: "/sys/fs/pstore",
        kind: "pstore",
        flags: PLAIN,
        data: "",
        is_optional: true,
    },
];

/// Mounts what the kernel provides and what lives in memory. What is mounted already stays as it is.
///
/// # Errors
/// What could not be mounted, as one text; the rest is mounted.
pub fn kernel() -> Result<(), String> {
    let failed: Vec<String> = KERNEL.iter().filter_map(|line| perform(line).err()).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

/// Makes the root read-only. Only this mount is changed, not a file system that others may use too.
pub fn seal_root() -> nix::Result<()> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
}

/// Mounts the owner's partition read-only; only root may look inside.
pub fn boot(device: &Path, target: &Path, kind: &str) -> nix::Result<()> {
    let data = (kind == "vfat").then_some("umask=0077");
    mount(Some(device), target, Some(kind), PLAIN | MsFlags::MS_NOATIME | MsFlags::MS_RDONLY, data)
}

/// Opens the owner's partition for writing, or closes it again.
pub fn set_boot_writable(target: &Path, writable: bool) -> nix::Result<()> {
    let read_only = if writable { MsFlags::empty() } else { MsFlags::MS_RDONLY };
    let flags = PLAIN | MsFlags::MS_NOATIME | MsFlags::MS_REMOUNT | read_only;
    mount(None::<&Path>, target, None::<&str>, flags, None::<&str>)
}

/// Mounts the data partition. An error of its own makes it read-only: what is not written well is better not written.
pub fn data(device: &Path, target: &Path) -> nix::Result<()> {
    let options = "commit=30,errors=remount-ro";
    mount(Some(device), target, Some("ext4"), PLAIN | MsFlags::MS_NOATIME, Some(options))
}

/// A data folder in memory.
pub fn memory(target: &Path) -> nix::Result<()> {
    mount(Some("data"), target, Some("tmpfs"), PLAIN, Some("mode=0755,size=64m"))
}

/// Unmounts `target`; one that is still in use is made read-only and let go when it no longer is.
pub fn release(target: &Path) -> nix::Result<()> {
    match umount2(target, MntFlags::empty()) {
        Err(Errno::EBUSY) => {
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | PLAIN;
            let closed = mount(None::<&Path>, target, None::<&str>, flags, None::<&str>);
            umount2(target, MntFlags::MNT_DETACH).and(closed)
        }
        Err(Errno::EINVAL) => Ok(()),
        other => other,
    }
}

fn perform(line: &Mount) -> Result<(), String> {
    let data = Some(line.data).filter(|data| !data.is_empty());
    match mount(Some(line.source), line.target, Some(line.kind), line.flags, data) {
        Ok(()) | Err(Errno::EBUSY) => Ok(()),
        Err(Errno::ENODEV | Errno::ENOENT) if line.is_optional => Ok(()),
        Err(error) => Err(format!("{} cannot be mounted: {error}", line.target)),
    }
}
