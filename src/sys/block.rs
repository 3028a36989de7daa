//! Ioctls of block devices and of ext4: sizes, partitions of a disk in use, discarding, growing while mounted.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::sys::ioctl::ioctl_num_type;
use nix::{request_code_none, request_code_read, request_code_write};

/// `BLKPG` of linux/blkpg.h and its operations.
const BLKPG: ioctl_num_type = request_code_none!(0x12, 105);
const ADD: libc::c_int = 1;
const RESIZE: libc::c_int = 3;
/// Of linux/fs.h.
const BLKGETSIZE64: ioctl_num_type = request_code_read!(0x12, 114, size_of::<usize>());
const BLKDISCARD: ioctl_num_type = request_code_none!(0x12, 119);
/// Of the kernel's fs/ext4/ext4.h.
const EXT4_IOC_RESIZE_FS: ioctl_num_type = request_code_write!(b'f', 16, size_of::<u64>());

/// `struct blkpg_partition`; start and length in bytes.
#[repr(C)]
struct Partition {
    start: libc::c_longlong,
    length: libc::c_longlong,
    number: libc::c_int,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct Request {
    operation: libc::c_int,
    flags: libc::c_int,
    size: libc::c_int,
    data: *mut Partition,
}

/// Bytes of the block device `device`.
pub fn size(device: &File) -> io::Result<u64> {
    let mut bytes = 0_u64;
    // SAFETY: BLKGETSIZE64 writes one u64, and `bytes` is one, alive during the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), BLKGETSIZE64, &raw mut bytes) };
    checked(result).map(|()| bytes)
}

/// Tells the kernel of partition `number` of `disk`; place and length in bytes.
pub fn add_partition(disk: &File, number: usize, start: u64, length: u64) -> io::Result<()> {
    change_partition(disk, ADD, number, start, length)
}

/// Tells the kernel that partition `number` of `disk`, which may be in use, has another length.
pub fn resize_partition(disk: &File, number: usize, start: u64, length: u64) -> io::Result<()> {
    change_partition(disk, RESIZE, number, start, length)
}

fn change_partition(
    disk: &File,
    operation: libc::c_int,
    number: usize,
    start: u64,
    length: u64,
) -> io::Result<()> {
    let out_of_range = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut partition = Partition {
        start: start.try_into().map_err(out_of_range)?,
        length: length.try_into().map_err(out_of_range)?,
        number: number.try_into().map_err(out_of_range)?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let size = libc::c_int::try_from(size_of::<Partition>()).expect("a small struct");
    let mut request = Request { operation, flags: 0, size, data: &raw mut partition };
    // SAFETY: BLKPG reads one `blkpg_ioctl_arg` and the `blkpg_partition` of the stated size it points to; both are laid
    // out as the kernel's, initialised whole and alive during the call.
    let result = unsafe { libc::ioctl(disk.as_raw_fd(), BLKPG, &raw mut request) };
    checked(result)
}

/// Lets the device forget `length` bytes from `start`.
///
/// # Errors
/// `Unsupported` when it cannot.
pub fn discard(device: &File, start: u64, length: u64) -> io::Result<()> {
    let mut range = [start, length];
    // SAFETY: BLKDISCARD reads two u64, and `range` is two, alive during the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), BLKDISCARD, range.as_mut_ptr()) };
    checked(result)
}

/// Grows the mounted ext4 that holds `folder` to `blocks` of its own size.
pub fn grow_ext4(folder: &File, blocks: u64) -> io::Result<()> {
    let mut blocks = blocks;
    // SAFETY: EXT4_IOC_RESIZE_FS reads one u64, and `blocks` is one, alive during the call.
    let result = unsafe { libc::ioctl(folder.as_raw_fd(), EXT4_IOC_RESIZE_FS, &raw mut blocks) };
    checked(result)
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
