//! Memory that the kernel receives into: it is lent to the kernel as a ring of buffers, and the kernel picks one when bytes
//! have come, so that a silent connection holds none (`io_uring_register_buf_ring(3)`).

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// One read's worth. Four of them fill a TCP window of 64 KB, and two for each of thousands of connections still fit a Pi.
pub const CHUNK: usize = CHUNK_LENGTH as usize;
const CHUNK_LENGTH: u32 = 16 * 1024;
/// Buffers that wait in the kernel's hands; as many receives can end between two looks at the completion queue. A power of two.
const LENT: u16 = 64;
/// Returned buffers kept for the next use (4 MB); what a rush needed beyond them goes back to the allocator.
const KEPT: usize = 256;
/// The one buffer group of a ring.
pub(super) const GROUP: u16 = 0;

/// Bytes received, owned by whoever holds the value.
pub struct Chunk {
    memory: Box<[u8]>,
    start: usize,
    end: usize,
}

pub(super) struct Buffers {
    ring: NonNull<Page>,
    tail: u16,
    /// By buffer id; while an address stands here the kernel may write to it.
    lent: Vec<Option<NonNull<[u8]>>>,
    vacant: Vec<u16>,
    free: Vec<Box<[u8]>>,
    limit: usize,
    held: usize,
    high_water: usize,
    abandoned: bool,
}

/// The kernel wants the ring of entries on a page boundary.
#[repr(C, align(4096))]
struct Page([u8; 4096]);

const _: () = assert!(LENT as usize * size_of::<BufRingEntry>() <= size_of::<Page>());
const _: () = assert!(LENT.is_power_of_two());

impl Chunk {
    /// What has not been consumed yet.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// Consumes `count` bytes from the front, at most all.
    pub fn advance(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Buffers {
    /// Registers with the ring behind `submitter`. At most `limit` chunks are held by callers at once.
    ///
    /// # Errors
    /// The kernel's, `EINVAL` before 5.19.
    pub fn new(submitter: &Submitter<'_>, limit: usize) -> io::Result<Self> {
        let ring = NonNull::from(Box::leak(Box::new(Page([0; 4096]))));
        let mut buffers = Self {
            ring,
            tail: 0,
            lent: vec![None; LENT.into()],
            vacant: (0..LENT).rev().collect(),
            free: Vec::new(),
            limit,
            held: 0,
            high_water: 0,
            abandoned: false,
        };
        // SAFETY: the page is aligned, large enough for LENT entries, and outlives the io_uring: `Buffers` frees it only when
        // dropped, and `Ring` drops its io_uring first.
        unsafe { submitter.register_buf_ring_with_flags(ring.as_ptr() as u64, LENT, GROUP, 0)? };
        buffers.lend();
        Ok(buffers)
    }

    /// Fills the vacant places of the kernel's ring; false when there is nothing in it because callers hold all there may be.
    pub fn lend(&mut self) -> bool {
        while self.held + self.lent_count() < self.limit {
            let Some(id) = self.vacant.pop() else { break };
            let memory = self.free.pop().unwrap_or_else(fresh);
            let memory = NonNull::from(Box::leak(memory));
            self.lent[usize::from(id)] = Some(memory);
            self.write_entry(id, memory);
        }
        let tail = self.ring.cast::<BufRingEntry>().as_ptr();
        // SAFETY: the tail lies in the reserved field of the first entry of our live page, is 2-aligned, and is only written
        // here; the kernel reads it atomically. Release order makes the entries visible before it.
        unsafe {
            AtomicU16::from_ptr(BufRingEntry::tail(tail).cast_mut()).store(self.tail, Ordering::Release);
        };
        self.lent_count() > 0
    }

    /// Takes back what the kernel filled; `None` for an id that is not lent.
    pub fn take(&mut self, id: u16, length: usize) -> Option<Chunk> {
        let memory = self.lent.get_mut(usize::from(id))?.take()?;
        self.vacant.push(id);
        self.hold();
        // SAFETY: the address came from `Box::leak` in `lend` and was removed from the table, so this is its only owner; the
        // kernel said by its completion that it is done with this buffer.
        let memory = unsafe { Box::from_raw(memory.as_ptr()) };
        let end = length.min(memory.len());
        Some(Chunk { memory, start: 0, end })
    }

    /// A chunk of the caller's own bytes; `None` when callers hold all there may be, or it does not fit into one.
    pub fn copy(&mut self, bytes: &[u8]) -> Option<Chunk> {
        if self.held >= self.limit || bytes.len() > CHUNK {
            return None;
        }
        let mut memory = self.free.pop().unwrap_or_else(fresh);
        memory[..bytes.len()].copy_from_slice(bytes);
        self.hold();
        Some(Chunk { memory, start: 0, end: bytes.len() })
    }

    fn hold(&mut self) {
        self.held += 1;
        self.high_water = self.high_water.max(self.held);
    }

    pub fn give_back(&mut self, chunk: Chunk) {
        self.held = self.held.saturating_sub(1);
        if self.free.len() < KEPT {
            self.free.push(chunk.memory);
        }
    }

    /// Chunks held by callers now, and the most ever.
    pub fn held(&self) -> (usize, usize) {
        (self.held, self.high_water)
    }

    /// Gives up everything the kernel knows of, because it may still write there.
    pub fn abandon(&mut self) {
        self.lent.clear();
        self.abandoned = true;
    }

    fn lent_count(&self) -> usize {
        self.lent.len() - self.vacant.len()
    }

    fn write_entry(&mut self, id: u16, memory: NonNull<[u8]>) {
        let place = usize::from(self.tail % LENT);
        // SAFETY: `place` is below LENT, so the entry lies in our page; at most LENT are lent, so the kernel has consumed what
        // stood here before. Only the fields apart from the tail's are written.
        unsafe {
            let entry = &mut *self.ring.cast::<BufRingEntry>().as_ptr().add(place);
            entry.set_addr(memory.cast::<u8>().as_ptr() as u64);
            entry.set_len(CHUNK_LENGTH);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }
}

fn fresh() -> Box<[u8]> {
    vec![0; CHUNK].into_boxed_slice()
}

impl Drop for Buffers {
    fn drop(&mut self) {
        for memory in self.lent.iter_mut().filter_map(Option::take) {
            // SAFETY: from `Box::leak` in `lend`, owned by nobody else; `Ring` drops us only with no receive in flight.
            drop(unsafe { Box::from_raw(memory.as_ptr()) });
        }
        if self.abandoned {
            return;
        }
        // SAFETY: from `Box::leak` in `new`; the io_uring that knew it is closed.
        drop(unsafe { Box::from_raw(self.ring.as_ptr()) });
    }
}
