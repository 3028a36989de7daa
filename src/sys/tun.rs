//! Attaching an open `/dev/net/tun` to an interface, and the runtime to both.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Makes `device`, a fresh descriptor of `/dev/net/tun`, the interface `name`: IP packets without any header before them.
/// The interface goes when the descriptor is closed. Errors: `InvalidInput` for a name that no interface can have, else
/// those of `TUNSETIFF`.
pub fn attach(device: &File, name: &str) -> io::Result<()> {
    let mut request = libc::ifreq {
        ifr_name: interface_name(name)?,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags() },
    };
    // SAFETY: TUNSETIFF reads and writes one `ifreq`; `request` is one, initialised whole and alive during the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets the current runtime wait for packets on `device`, which must be non-blocking.
pub fn watch(device: File) -> io::Result<AsyncFd<File>> {
    // SAFETY: a `File` owns its open descriptor and keeps it until it is dropped, which the `AsyncFd` does last.
    unsafe { AsyncFd::register_with_interest(device, Interest::READABLE) }
        .map_err(|error| error.into_parts().1)
}

fn flags() -> libc::c_short {
    libc::c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI).expect("both are bits below 2^13")
}

/// A name of 1 to 15 bytes, padded with zeros.
fn interface_name(name: &str) -> io::Result<[libc::c_char; libc::IFNAMSIZ]> {
    let mut padded = [0; libc::IFNAMSIZ];
    let is_name = (1..libc::IFNAMSIZ).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%'));
    if !is_name {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    for (to, from) in padded.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_would_cut_or_expand_are_refused() {
        for name in ["", "sixteen-letters-", "a/b", "genkan%d", "a b", "ü"] {
            assert!(interface_name(name).is_err(), "{name}");
        }
        assert!(interface_name("genkan0").is_ok_and(|padded| padded[7] == 0));
    }
}
