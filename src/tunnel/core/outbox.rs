//! What waits to leave the state machine: datagrams to the network, packets to the TUN.
//!
//! Both are byte arenas that keep their memory: a batch is written into the arena in place (no allocation per packet), the
//! shell reads it by reference, and the arena is empty again. Datagrams of one size to one place lie side by side and form
//! one [`Transmit`], which is the shape that UDP segmentation offload wants.

mod arena;
mod packets;

use std::collections::VecDeque;
use std::net::SocketAddr;

pub use arena::MAX_OUTBOX_BYTES;
pub use packets::{LocalWrite, Packets};

use crate::wire::key::NodePublic;
use arena::Arena;

/// Segments of one [`Transmit`], the kernel's `UDP_MAX_SEGMENTS`.
pub const MAX_SEGMENTS: usize = 64;
/// Bytes of one [`Transmit`]: what fits one UDP datagram over IPv6.
pub const MAX_TRANSMIT_BYTES: usize = 65_487;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    Udp(SocketAddr),
    /// The peer behind our relay.
    Relay(NodePublic),
}

/// One or more datagrams to one place: `contents` cut every `segment_size` bytes; the last may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit<'a> {
    pub destination: Destination,
    pub contents: &'a [u8],
    pub segment_size: usize,
}

impl<'a> Transmit<'a> {
    pub fn datagrams(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.contents.chunks(self.segment_size)
    }
}

/// Datagrams to the network.
#[derive(Debug, Default)]
pub struct Transmits {
    arena: Arena,
    runs: VecDeque<Run>,
}

#[derive(Debug)]
struct Run {
    destination: Destination,
    start: usize,
    length: usize,
    segment_size: usize,
}

impl Transmits {
    /// Room to write a datagram of up to `length` bytes into; `None` when the outbox is full.
    pub fn reserve(&mut self, length: usize) -> Option<&mut [u8]> {
        if self.runs.is_empty() {
            self.arena.clear();
        }
        self.arena.reserve(length)
    }

    /// Sends the first `length` bytes of what was reserved.
    pub fn commit(&mut self, destination: Destination, length: usize) {
        let start = self.arena.commit(length);
        if let Some(run) = self.runs.back_mut()
            && run.admits(destination, start, length)
        {
            run.length += length;
            return;
        }
        self.runs.push_back(Run { destination, start, length, segment_size: length.max(1) });
    }

    /// Sends a copy of the datagram committed last to another place too; false when the outbox is full.
    #[must_use]
    pub fn commit_again(&mut self, destination: Destination, length: usize) -> bool {
        let Some(start) = self.arena.end().checked_sub(length) else { return false };
        if self.reserve(length).is_none() {
            return false;
        }
        self.arena.bytes_mut().copy_within(start..start + length, start + length);
        self.commit(destination, length);
        true
    }

    /// Sends a datagram that was made elsewhere; false when the outbox is full.
    #[must_use]
    pub fn push(&mut self, destination: Destination, datagram: &[u8]) -> bool {
        let Some(room) = self.reserve(datagram.len()) else { return false };
        room[..datagram.len()].copy_from_slice(datagram);
        self.commit(destination, datagram.len());
        true
    }

    /// Bytes that wait, or waited since the last time that nothing did.
    #[must_use]
    pub fn bytes(&self) -> usize {
        if self.runs.is_empty() { 0 } else { self.arena.end() }
    }

    pub fn poll(&mut self) -> Option<Transmit<'_>> {
        let run = self.runs.pop_front()?;
        Some(Transmit {
            destination: run.destination,
            contents: &self.arena.bytes()[run.start..run.start + run.length],
            segment_size: run.segment_size,
        })
    }
}

impl Run {
    /// Whether a datagram can be one more segment: same place, side by side, and no shorter segment came before.
    fn admits(&self, destination: Destination, start: usize, length: usize) -> bool {
        self.destination == destination
            && self.start + self.length == start
            && self.length.is_multiple_of(self.segment_size)
            && (1..=self.segment_size).contains(&length)
            && self.length / self.segment_size < MAX_SEGMENTS
            && self.length + length <= MAX_TRANSMIT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(port: u16) -> Destination {
        Destination::Udp(SocketAddr::from(([192, 0, 2, 1], port)))
    }

    fn drain(transmits: &mut Transmits) -> Vec<(Destination, usize, usize)> {
        let mut runs = Vec::new();
        while let Some(run) = transmits.poll() {
            runs.push((run.destination, run.contents.len(), run.segment_size));
        }
        runs
    }

    #[test]
    fn equal_datagrams_to_one_place_form_one_run_that_a_shorter_one_ends() {
        let mut transmits = Transmits::default();
        for length in [100, 100, 40, 100] {
            assert!(transmits.push(place(1), &vec![1; length]));
        }
        assert!(transmits.push(place(2), &[1; 100]));
        assert_eq!(drain(&mut transmits), [(place(1), 240, 100), (place(1), 100, 100), (place(2), 100, 100)]);
    }

    #[test]
    fn a_run_is_no_longer_than_the_kernel_takes() {
        let mut transmits = Transmits::default();
        for _ in 0..130 {
            assert!(transmits.push(place(1), &[1; 1312]));
        }
        let runs = drain(&mut transmits);
        assert!(runs.iter().all(|(_, length, _)| *length <= MAX_TRANSMIT_BYTES));
        assert_eq!(runs.iter().map(|(_, length, _)| length).sum::<usize>(), 130 * 1312);
    }

    #[test]
    fn a_copy_goes_to_the_second_place() {
        let mut transmits = Transmits::default();
        let relay = Destination::Relay(NodePublic::from_bytes([1; 32]));
        assert!(transmits.push(place(1), b"hello"));
        assert!(transmits.commit_again(relay, 5));
        let _ = transmits.poll();
        let copy = transmits.poll().expect("the copy");
        assert_eq!((copy.destination, copy.contents), (relay, &b"hello"[..]));
    }
}
