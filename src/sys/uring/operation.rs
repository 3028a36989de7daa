//! What is in flight in a ring, and what comes out of it.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use socket2::SockAddr;

use super::buffers::Chunk;

/// An ended (or, for accepts, a repeating) operation.
pub struct Completion<T> {
    /// As given when the operation was submitted.
    pub token: T,
    pub event: Event,
}

pub enum Event {
    /// One connection, or why there is none. With `more` the operation goes on, without it must be submitted again.
    Accepted { connection: io::Result<OwnedFd>, more: bool },
    /// `TimedOut` when the kernel gave up or the caller cancelled.
    Connected(io::Result<()>),
    /// `None` at the end of the stream.
    Received(io::Result<Option<Chunk>>),
    /// How much of the chunk went out; the chunk comes back either way, not yet advanced.
    Sent { chunk: Chunk, result: io::Result<usize> },
    /// The descriptor is readable or writable, as was asked, or polling it failed.
    Ready(io::Result<()>),
}

/// What the kernel may still look at, kept alive until it says that it is done. The descriptors are kept so that a number
/// cannot be closed and given to another file while an operation on it waits to be submitted.
pub(super) struct Operation<T> {
    pub token: T,
    pub held: Held,
}

#[expect(dead_code, reason = "descriptors are held, not used")]
pub(super) enum Held {
    Accept(Rc<OwnedFd>),
    Connect(Rc<OwnedFd>, Box<SockAddr>),
    Receive(Rc<OwnedFd>),
    Send(Rc<OwnedFd>, Chunk),
    Poll(Rc<OwnedFd>),
    /// Not reported: what it cancels is.
    Cancel,
}

/// The kernel's result: a count, or a negated errno.
pub(super) fn outcome(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}
