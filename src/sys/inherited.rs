//! Descriptors that the parent left open for this process.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{FcntlArg, FdFlag};

/// The first number after the standard streams.
const FIRST: RawFd = 3;

static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// Makes the descriptor that the parent left under `number` this process's own, closed when another program is started. To be called before the
/// process opens anything by itself, or the number may be another file's.
///
/// # Errors
/// `InvalidInput` for a standard stream and for a number taken before; `EBADF` when nothing is open under it.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if number < FIRST || taken.contains(&number) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: a number that is not open is only looked at: the fcntl fails before anything owns it. Its parent left it to this process, which
    // takes each number once.
    let descriptor = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    nix::fcntl::fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    taken.insert(number);
    // SAFETY: open, as the fcntl has shown, and owned by nobody else, as said above.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;

    use super::*;

    #[test]
    fn a_number_is_taken_once_and_only_when_open() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let number = one.into_raw_fd();
        let taken = take(number).expect("open");
        assert!(take(number).is_err(), "owned already");
        drop(taken);
        assert!(take(0).is_err(), "a standard stream");
        assert!(take(RawFd::MAX).is_err(), "not open");
    }
}
