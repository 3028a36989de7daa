//! Restarting the machine with a word for its firmware, which nix does not have.

use std::ffi::CStr;
use std::io;

/// Restarts at once, without writing anything back (`LINUX_REBOOT_CMD_RESTART2`, reboot(2)). The firmware of a Raspberry Pi
/// takes `0 tryboot` as "start the other slot once". Returns only with an error.
pub fn with_word(word: &CStr) -> io::Error {
    // SAFETY: reboot(2) reads the magic numbers by value and `word` as a string that ends with a zero, which it is.
    let result = unsafe {
        libc::syscall(
            libc::SYS_reboot,
            libc::LINUX_REBOOT_MAGIC1,
            libc::LINUX_REBOOT_MAGIC2,
            libc::LINUX_REBOOT_CMD_RESTART2,
            word.as_ptr(),
        )
    };
    debug_assert!(result < 0, "a machine that restarts does not return");
    io::Error::last_os_error()
}
