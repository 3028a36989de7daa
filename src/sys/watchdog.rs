//! The time-out of an open watchdog device (linux/watchdog.h). Feeding it and closing it are plain writes.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::request_code_readwrite;
use nix::sys::ioctl::ioctl_num_type;

const WDIOC_SETTIMEOUT: ioctl_num_type = request_code_readwrite!(b'W', 6, size_of::<libc::c_int>());

/// Asks for a time-out in seconds and gives the one that the hardware took.
pub fn set_timeout(device: &File, seconds: u8) -> io::Result<u32> {
    let mut seconds = libc::c_int::from(seconds);
    // SAFETY: WDIOC_SETTIMEOUT reads and writes one int, and `seconds` is one, alive during the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), WDIOC_SETTIMEOUT, &raw mut seconds) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    u32::try_from(seconds).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}
