//! A safe face on `io_uring` for stream sockets. The ring owns everything that the kernel may touch (buffers, addresses,
//! descriptors) until the operation's completion has been read, so no caller can free or close it too early.
//!
//! Use from one thread. Needs Linux 5.19 (buffer rings, repeating accept, cancel by descriptor): [`Ring::new`] fails on less.

mod buffers;
mod operation;

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use io_uring::register::Restriction;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode};
use nix::sys::eventfd::{EfdFlags, EventFd};
use socket2::SockAddr;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::base::slots::{SlotId, Slots};
use buffers::{Buffers, GROUP};
use operation::{Held, Operation, outcome};

pub use buffers::{CHUNK, Chunk};
pub use operation::{Completion, Event};

/// Entries of the submission queue: a batch that is larger is submitted in parts. The completion queue has four times as many.
const ENTRIES: u32 = 512;

/// `IORING_RECVSEND_POLL_FIRST` (Linux 5.19).
const POLL_FIRST: u16 = 1;

/// `IORING_ENTER_GETEVENTS`: deliver what has ended.
const ENTER_GETEVENTS: u32 = 1;

/// An `io_uring` whose operations are told apart by tokens of the caller's.
pub struct Ring<T> {
    // Declared, and so dropped, before what the kernel may look at.
    uring: IoUring,
    buffers: Buffers,
    events: EventFd,
    operations: Slots<Operation<T>>,
}

/// Names one operation for [`Ring::cancel`]. It is never used for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationId(SlotId);

impl<T: Copy> Ring<T> {
    /// A ring for the calling thread: at most `operations` in flight and `chunks` received chunks in callers' hands.
    ///
    /// # Errors
    /// The kernel's: `ENOSYS` and `EPERM` where `io_uring` is absent or forbidden, `EINVAL` where it is too old.
    pub fn new(operations: usize, chunks: usize) -> io::Result<Self> {
        let uring = build()?;
        if !uring.params().is_feature_ext_arg() || !uring.params().is_feature_nodrop() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let buffers = Buffers::new(&uring.submitter(), chunks)?;
        let events = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        uring.submitter().register_eventfd(events.as_fd().as_raw_fd())?;
        confine(&uring)?;
        Ok(Self { uring, buffers, events, operations: Slots::new(operations) })
    }

    /// Accepts connections until an error or a cancel. They are blocking descriptors, as the ring needs them.
    ///
    /// # Errors
    /// As [`Ring::receive`].
    pub fn accept(&mut self, listener: &Rc<OwnedFd>, token: T) -> io::Result<OperationId> {
        let entry = opcode::AcceptMulti::new(fd(listener)).flags(libc::SOCK_CLOEXEC).build();
        self.submit(entry, token, Held::Accept(Rc::clone(listener)))
    }

    /// Connects, for as long as the kernel tries.
    ///
    /// # Errors
    /// As [`Ring::receive`].
    pub fn connect(
        &mut self,
        socket: &Rc<OwnedFd>,
        address: SocketAddr,
        token: T,
    ) -> io::Result<OperationId> {
        let address = Box::new(SockAddr::from(address));
        let entry = opcode::Connect::new(fd(socket), address.as_ptr().cast(), address.len()).build();
        self.submit(entry, token, Held::Connect(Rc::clone(socket), address))
    }

    /// Receives into a buffer of the ring's when bytes come.
    ///
    /// # Errors
    /// `ENOSPC` when as many operations as allowed are in flight; the kernel's when it takes no more for now.
    pub fn receive(&mut self, socket: &Rc<OwnedFd>, token: T) -> io::Result<OperationId> {
        self.submit(receive_entry(socket), token, Held::Receive(Rc::clone(socket)))
    }

    /// Sends some or all of the chunk.
    ///
    /// # Errors
    /// As [`Ring::receive`]; the chunk is lost then, as is the connection.
    pub fn send(&mut self, socket: &Rc<OwnedFd>, chunk: Chunk, token: T) -> io::Result<OperationId> {
        let bytes = chunk.bytes();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(fd(socket), bytes.as_ptr(), length).flags(libc::MSG_NOSIGNAL).build();
        self.submit(entry, token, Held::Send(Rc::clone(socket), chunk))
    }

    /// Tells once when `file` is readable. Not for an eventfd: from the second time on it does not show at [`Ring::watch`], which is
    /// one itself (seen on Linux 6.18).
    ///
    /// # Errors
    /// As [`Ring::receive`].
    pub fn poll_readable(&mut self, file: &Rc<OwnedFd>, token: T) -> io::Result<OperationId> {
        self.poll(file, libc::POLLIN | libc::POLLRDHUP, token)
    }

    /// Tells once when `file` is writable.
    ///
    /// # Errors
    /// As [`Ring::receive`].
    pub fn poll_writable(&mut self, file: &Rc<OwnedFd>, token: T) -> io::Result<OperationId> {
        self.poll(file, libc::POLLOUT, token)
    }

    /// Ends an operation early; it reports its end as ever, mostly as `ECANCELED`. One that has ended already is no error.
    ///
    /// # Errors
    /// As [`Ring::receive`].
    pub fn cancel(&mut self, operation: OperationId, token: T) -> io::Result<()> {
        // By its number, which the kernel looks up; by descriptor it would search through everything in flight.
        let entry = opcode::AsyncCancel::new(operation.0.to_bits()).build();
        self.submit(entry, token, Held::Cancel).map(drop)
    }

    /// A chunk of the caller's own bytes, to send; `None` when as many chunks as allowed are in callers' hands, or there are more
    /// bytes than [`CHUNK`].
    pub fn chunk_of(&mut self, bytes: &[u8]) -> Option<Chunk> {
        self.buffers.copy(bytes)
    }

    /// Gives a chunk's memory back for the next receive.
    pub fn give_back(&mut self, chunk: Chunk) {
        self.buffers.give_back(chunk);
    }

    /// Submits what is queued and appends what has ended to `completions`, without waiting. When nothing had ended, the next end
    /// shows at what [`Ring::watch`] gave.
    ///
    /// # Errors
    /// The kernel's, when the ring itself is unusable.
    pub fn turn(&mut self, completions: &mut Vec<Completion<T>>) -> io::Result<()> {
        let queue = self.uring.submission();
        let (queued, is_due) = (queue.len(), queue.taskrun() || queue.cq_overflow());
        drop(queue);
        if (queued > 0 || is_due)
            && let Err(error) = self.enter(queued)
            && !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN))
        {
            return Err(error);
        }
        self.collect(completions);
        Ok(())
    }

    /// Lets the current runtime wait for something to end: readable each time when something has; there is nothing to read. (With
    /// completions that are delivered only when asked for, the ring's own descriptor is no sign.)
    ///
    /// # Errors
    /// The kernel's: too many descriptors.
    pub fn watch(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let events = self.events.as_fd().try_clone_to_owned()?;
        // SAFETY: an `OwnedFd` keeps its descriptor open until it is dropped, which the `AsyncFd` does last.
        unsafe { AsyncFd::register_with_interest(events, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)
    }

    fn enter(&self, queued: usize) -> io::Result<usize> {
        let queued = u32::try_from(queued).unwrap_or(u32::MAX);
        // SAFETY: no argument leads to memory, and what the queued entries lead to is as `push` says.
        unsafe { self.uring.submitter().enter::<()>(queued, 0, ENTER_GETEVENTS, None) }
    }

    /// Whether nothing is in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.operations.is_empty()
    }

    /// Chunks in callers' hands now, and the most ever.
    #[must_use]
    pub fn chunks(&self) -> (usize, usize) {
        self.buffers.held()
    }

    fn poll(&mut self, file: &Rc<OwnedFd>, events: libc::c_short, token: T) -> io::Result<OperationId> {
        let events = u32::try_from(events).expect("bits of poll are positive");
        let entry = opcode::PollAdd::new(fd(file), events).build();
        self.submit(entry, token, Held::Poll(Rc::clone(file)))
    }

    fn submit(&mut self, entry: Entry, token: T, held: Held) -> io::Result<OperationId> {
        let id = self.register(token, held)?;
        if let Err(error) = self.push(&entry.user_data(id.to_bits())) {
            self.operations.remove(id);
            return Err(error);
        }
        Ok(OperationId(id))
    }

    fn register(&mut self, token: T, held: Held) -> io::Result<SlotId> {
        let operation = Operation { token, held };
        self.operations.insert(operation).map_err(|_| io::Error::from_raw_os_error(libc::ENOSPC))
    }

    fn push(&mut self, entry: &Entry) -> io::Result<()> {
        if self.uring.submission().is_full() {
            self.uring.submit()?;
        }
        // SAFETY: every pointer in `entry` leads into an `Operation` registered under the entry's user data (or, for
        // receives, to the registered buffers), which `collect` removes only at the operation's completion.
        unsafe { self.uring.submission().push(entry) }.map_err(io::Error::other)
    }

    fn collect(&mut self, completions: &mut Vec<Completion<T>>) {
        let mut starved = Vec::new();
        for entry in self.uring.completion() {
            let chunk = cqueue::buffer_select(entry.flags()).and_then(|id| {
                let length = usize::try_from(entry.result()).unwrap_or(0);
                self.buffers.take(id, length)
            });
            let id = SlotId::from_bits(entry.user_data());
            if cqueue::more(entry.flags()) {
                completions.extend(self.operations.get(id).map(|operation| Completion {
                    token: operation.token,
                    event: Event::Accepted { connection: accepted(entry.result()), more: true },
                }));
                continue;
            }
            if entry.result() == -libc::ENOBUFS && is_receive(&self.operations, id) {
                starved.push(id);
            } else if let Some(operation) = self.operations.remove(id) {
                completions.extend(finish(operation, entry.result(), chunk, &mut self.buffers));
            }
        }
        let lent = self.buffers.lend();
        for id in starved {
            completions.extend(self.retry(id, lent));
        }
    }

    /// Receives again, because the kernel had used up what was lent to it; fails when callers hold all there is.
    fn retry(&mut self, id: SlotId, lent: bool) -> Option<Completion<T>> {
        let entry = match &self.operations.get(id)?.held {
            Held::Receive(socket) => receive_entry(socket).user_data(id.to_bits()),
            _ => return None,
        };
        let starved = || Err(io::Error::from_raw_os_error(libc::ENOBUFS));
        let error = if lent { self.push(&entry) } else { starved() }.err()?;
        let operation = self.operations.remove(id)?;
        Some(Completion { token: operation.token, event: Event::Received(Err(error)) })
    }
}

/// Turns the end of an operation into what the caller is told, if anything.
fn finish<T>(
    operation: Operation<T>,
    result: i32,
    chunk: Option<Chunk>,
    buffers: &mut Buffers,
) -> Option<Completion<T>> {
    let Operation { token, held } = operation;
    let event = match held {
        Held::Cancel => return None,
        Held::Accept(_) => Event::Accepted { connection: accepted(result), more: false },
        Held::Connect(..) if result == -libc::ECANCELED => {
            Event::Connected(Err(io::ErrorKind::TimedOut.into()))
        }
        Held::Connect(..) => Event::Connected(outcome(result).map(drop)),
        Held::Receive(_) => Event::Received(received(result, chunk, buffers)),
        Held::Send(_, chunk) => Event::Sent { chunk, result: outcome(result) },
        Held::Poll(_) => Event::Ready(outcome(result).map(drop)),
    };
    Some(Completion { token, event })
}

fn is_receive<T>(operations: &Slots<Operation<T>>, id: SlotId) -> bool {
    operations.get(id).is_some_and(|operation| matches!(operation.held, Held::Receive(_)))
}

fn received(result: i32, chunk: Option<Chunk>, buffers: &mut Buffers) -> io::Result<Option<Chunk>> {
    match (outcome(result), chunk) {
        (Ok(1..), Some(chunk)) => Ok(Some(chunk)),
        // The kernel may have picked a buffer before it found the end of the stream or an error.
        (result, chunk) => {
            if let Some(chunk) = chunk {
                buffers.give_back(chunk);
            }
            result.map(|_| None)
        }
    }
}

fn accepted(result: i32) -> io::Result<OwnedFd> {
    // SAFETY: a non-negative result of an accept is a new descriptor of this process that nothing else owns, and each
    // completion is read once.
    outcome(result).map(|_| unsafe { OwnedFd::from_raw_fd(result) })
}

/// Waits before it tries: mostly nothing has come yet, and a try that finds nothing costs as much as one that does.
fn receive_entry(socket: &Rc<OwnedFd>) -> Entry {
    let entry = opcode::Recv::new(fd(socket), std::ptr::null_mut(), 0).buf_group(GROUP);
    let entry = entry.ioprio(POLL_FIRST).build();
    entry.flags(Flags::BUFFER_SELECT)
}

fn fd(file: &Rc<OwnedFd>) -> Fd {
    Fd(file.as_raw_fd())
}

/// Everything that [`Ring`] submits.
const OPERATIONS: [u8; 6] = [
    opcode::AcceptMulti::CODE,
    opcode::AsyncCancel::CODE,
    opcode::Connect::CODE,
    opcode::PollAdd::CODE,
    opcode::Recv::CODE,
    opcode::Send::CODE,
];

/// Lets the ring do that and nothing else from now on, and start: what goes through a ring passes no filter of system calls.
fn confine(uring: &IoUring) -> io::Result<()> {
    let mut restrictions: Vec<_> = OPERATIONS.map(Restriction::sqe_op).into();
    restrictions.push(Restriction::sqe_flags_allowed(Flags::BUFFER_SELECT.bits()));
    uring.submitter().register_restrictions(&mut restrictions)?;
    uring.submitter().register_enable_rings()
}

/// The cheapest set-up that this kernel knows: completions delivered only when asked for (6.1), without interrupts (5.19).
fn build() -> io::Result<IoUring> {
    let deferred = IoUring::builder()
        .setup_cqsize(ENTRIES * 4)
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_r_disabled()
        .build(ENTRIES);
    match deferred {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            let mut builder = IoUring::builder();
            builder.setup_cqsize(ENTRIES * 4).setup_coop_taskrun().setup_taskrun_flag();
            builder.setup_r_disabled().build(ENTRIES)
        }
        other => other,
    }
}

impl<T> Drop for Ring<T> {
    /// With operations in flight the kernel may still write after the ring is closed: their memory is given up instead of
    /// freed. Callers cancel and wait before they drop a ring; this is for the panic in between.
    fn drop(&mut self) {
        if !self.operations.is_empty() {
            mem::forget(mem::replace(&mut self.operations, Slots::new(0)));
            self.buffers.abandon();
        }
    }
}

#[cfg(test)]
mod tests;
