//! Restarting the machine with a word for its firmware.

use std::ffi::CStr;
use std::io;

/// Restarts at once, as `reboot(2)` with `LINUX_REBOOT_CMD_RESTART2`: `argument` goes to the kernel's restart handlers, on a Raspberry Pi
/// `0 tryboot` to its firmware. Nothing is synchronised or unmounted first. Returns only when the kernel refuses: without
/// `CAP_SYS_BOOT`. In a PID namespace it ends that namespace.
pub fn with_argument(argument: &CStr) -> io::Error {
    // SAFETY: RESTART2 reads one NUL-terminated string through its fourth argument, and `argument` is one that outlives the call.
    unsafe {
        libc::syscall(
            libc::SYS_reboot,
            libc::LINUX_REBOOT_MAGIC1,
            libc::LINUX_REBOOT_MAGIC2,
            libc::LINUX_REBOOT_CMD_RESTART2,
            argument.as_ptr(),
        );
    }
    io::Error::last_os_error()
}
