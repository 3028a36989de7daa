//! Attaching an open `/dev/net/tun` to an interface, and the runtime to both.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What the kernel may leave to us: finishing checksums, cutting TCP (over both families, with ECN), cutting UDP.
pub const CHECKSUM: u32 = 0x01;
pub const TCP_SEGMENTATION: u32 = 0x02 | 0x04 | 0x08;
/// Linux 6.2 and newer.
pub const UDP_SEGMENTATION: u32 = 0x20 | 0x40;

/// Makes `device`, a fresh descriptor of `/dev/net/tun`, the interface `name`: IP packets, with a `virtio_net_hdr` before each if
/// `with_header`, else without any. The interface goes when the descriptor is closed. Errors: `InvalidInput` for a name that no
/// interface can have, else those of `TUNSETIFF`.
pub fn attach(device: &File, name: &str, with_header: bool) -> io::Result<()> {
    let mut request = libc::ifreq {
        ifr_name: interface_name(name)?,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags(with_header) },
    };
    // SAFETY: TUNSETIFF reads and writes one `ifreq`; `request` is one, initialised whole and alive during the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Says what the kernel may leave to us on a device with headers. Errors: `InvalidInput` when it does not know one of them.
pub fn set_offloads(device: &File, offloads: u32) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument as a number; no memory is involved.
    let result =
        unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETOFFLOAD as _, libc::c_ulong::from(offloads)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets the current runtime wait for packets on `device`, which must be non-blocking.
pub fn watch(device: File) -> io::Result<AsyncFd<File>> {
    // SAFETY: a `File` owns its open descriptor and keeps it until it is dropped, which the `AsyncFd` does last.
    unsafe { AsyncFd::register_with_interest(device, Interest::READABLE) }
        .map_err(|error| error.into_parts().1)
}

fn flags(with_header: bool) -> libc::c_short {
    let header = if with_header { libc::IFF_VNET_HDR } else { 0 };
    libc::c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI | header).expect("all are bits below 2^15")
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
