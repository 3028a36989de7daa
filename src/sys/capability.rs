//! The capabilities of the calling thread (`capabilities(7)`), as bit sets.

use std::io;

/// `_LINUX_CAPABILITY_VERSION_3`: sets of 64 bits, in two halves.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    /// 0 is the calling thread.
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// What the thread may make effective.
///
/// # Errors
/// The kernel's.
pub fn permitted() -> io::Result<u64> {
    let mut header = Header { version: VERSION, pid: 0 };
    let mut halves = [Half::default(); 2];
    // SAFETY: capget writes two halves, as this version has them, and perhaps the header's version; all are ours and alive.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::from(halves[0].permitted) | u64::from(halves[1].permitted) << 32)
}

/// Makes `kept` the permitted and the effective set and empties the inheritable one, and with it the ambient one, for good.
///
/// # Errors
/// `EPERM` when `kept` has one that the thread does not hold.
pub fn keep(kept: u64) -> io::Result<()> {
    let half = |bits: u64| {
        let bits = u32::try_from(bits & u64::from(u32::MAX)).expect("masked to 32 bits");
        Half { effective: bits, permitted: bits, inheritable: 0 }
    };
    let header = Header { version: VERSION, pid: 0 };
    let halves = [half(kept), half(kept >> 32)];
    // SAFETY: capset reads the header and two halves, as this version has them; both are alive during the call.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, halves.as_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Keeps a program that this thread might start from ever holding `capability`.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`, `EINVAL` for a number that the kernel does not know.
pub fn drop_from_bounding(capability: u32) -> io::Result<()> {
    // SAFETY: takes two numbers and touches no memory.
    let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_is_gone() {
        std::thread::spawn(|| {
            let held = permitted().expect("readable");
            let kept = held & 0x1400;
            keep(kept).expect("fewer than before");
            assert_eq!(permitted().expect("readable"), kept);
            assert!(keep(kept | 1 << 21).is_err(), "CAP_SYS_ADMIN came back");
        })
        .join()
        .expect("no panic");
    }
}
