//! IP packets on their way to the TUN, those of one flow joined to super-packets.

use std::collections::VecDeque;
use std::ops::Range;

use super::arena::Arena;
use crate::tunnel::core::flows::FlowId;
use crate::tunnel::core::offload::coalesce::{Group, Joinable, Joins};
use crate::tunnel::core::offload::vnet_header::VnetHeader;
use crate::wire::ip::Packet;

/// Packets are written into the arena one behind the other. The payloads of joined ones stay where they are: the shell
/// writes all parts with one call.
#[derive(Debug, Default)]
pub struct Packets {
    arena: Arena,
    parts: Vec<Range<usize>>,
    deliveries: VecDeque<Delivery>,
    joins: Joins,
}

#[derive(Debug)]
struct Delivery {
    /// Of `parts`.
    parts: Range<usize>,
    group: Option<Group>,
    /// Not for the kernel.
    flow: Option<FlowId>,
}

/// One packet or super-packet for the kernel.
#[derive(Debug, Clone, Copy)]
pub struct LocalWrite<'a> {
    /// Whose it is, if not the kernel's.
    pub flow: Option<FlowId>,
    /// For a TUN that takes one before each packet.
    pub header: VnetHeader,
    /// Of the first part.
    headers_length: usize,
    bytes: &'a [u8],
    parts: &'a [Range<usize>],
}

impl<'a> LocalWrite<'a> {
    /// The packet's bytes, in at most [`MAX_JOINED`](crate::tunnel::core::offload::coalesce::MAX_JOINED) parts.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        self.parts.iter().map(move |part| &bytes[part.clone()])
    }

    /// Of a flow: its datagrams, all of one length but the last, which may be shorter.
    pub fn datagrams(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let headers_length = self.headers_length;
        self.parts()
            .enumerate()
            .map(move |(number, part)| if number == 0 { &part[headers_length..] } else { part })
    }
}

impl Packets {
    /// Joins what `joins` allows.
    #[must_use]
    pub fn new(joins: Joins) -> Self {
        Self { joins, ..Self::default() }
    }

    /// Room to decrypt a packet of up to `length` bytes into; `None` when the outbox is full.
    pub fn reserve(&mut self, length: usize) -> Option<&mut [u8]> {
        if self.deliveries.is_empty() {
            self.arena.clear();
            self.parts.clear();
        }
        self.arena.reserve(length)
    }

    /// What was written into the reserved room, for a last look before [`Packets::commit`].
    #[must_use]
    pub fn reserved(&self, length: usize) -> &[u8] {
        &self.arena.bytes()[self.arena.end()..self.arena.end() + length]
    }

    /// Delivers `packet`, which was parsed from what was written into the reserved room.
    /// One of a flow that is not plain (a fragment, or without a checksum) is left to the kernel.
    pub fn commit(&mut self, packet: &Packet, flow: Option<FlowId>) {
        let joins = if flow.is_some() { Joins { udp: true, ..self.joins } } else { self.joins };
        let joinable = Joinable::read(packet, self.reserved(packet.length), joins);
        let start = self.arena.commit(packet.length);
        let range = start..start + packet.length;
        let Some(joinable) = joinable else { return self.deliver(range, None, None) };
        if (flow.is_some() && !self.joins.flows) || !self.join(&joinable, flow, range.clone()) {
            self.deliver(range, Some(Group::open(joinable)), flow);
        }
    }

    /// Delivers a packet that was made elsewhere; false when the outbox is full.
    #[must_use]
    pub fn push(&mut self, packet: &[u8]) -> bool {
        let Some(room) = self.reserve(packet.len()) else { return false };
        room[..packet.len()].copy_from_slice(packet);
        let start = self.arena.commit(packet.len());
        self.deliver(start..start + packet.len(), None, None);
        true
    }

    pub fn poll(&mut self) -> Option<LocalWrite<'_>> {
        let Delivery { parts, group, flow } = self.deliveries.pop_front()?;
        let parts = &self.parts[parts];
        let header = match (group, flow) {
            (Some(group), None) => group.finish(&mut self.arena.bytes_mut()[parts[0].clone()]),
            _ => VnetHeader::default(),
        };
        let headers_length = group.map_or(0, |group| group.headers_length());
        Some(LocalWrite { flow, header, headers_length, bytes: self.arena.bytes(), parts })
    }

    /// Adds the packet at `range` to the delivery before it, if it continues that.
    fn join(&mut self, next: &Joinable, flow: Option<FlowId>, range: Range<usize>) -> bool {
        let Some(Delivery { parts, group: Some(group), flow: own }) = self.deliveries.back_mut() else {
            return false;
        };
        if *own != flow {
            return false;
        }
        let bytes = self.arena.bytes();
        let (first, own) = (&bytes[self.parts[parts.start].clone()], &bytes[range.clone()]);
        if !group.admits(first, next, own) {
            return false;
        }
        group.add(next);
        let payload = next.payload();
        self.parts.push(range.start + payload.start..range.start + payload.end);
        parts.end += 1;
        true
    }

    fn deliver(&mut self, range: Range<usize>, group: Option<Group>, flow: Option<FlowId>) {
        let at = self.parts.len();
        self.parts.push(range);
        self.deliveries.push_back(Delivery { parts: at..at + 1, group, flow });
    }
}

#[cfg(test)]
mod tests {
    use super::super::arena::MAX_OUTBOX_BYTES;
    use super::*;

    #[test]
    fn memory_is_bounded_and_used_again() {
        let mut packets = Packets::default();
        let mut accepted = 0;
        while packets.push(&[7; 1280]) {
            accepted += 1;
        }
        assert_eq!(accepted, MAX_OUTBOX_BYTES / 1280);
        while packets.poll().is_some() {}
        assert!(packets.push(&[7; 1280]));
        assert!(packets.arena.bytes().len() <= MAX_OUTBOX_BYTES);
    }
}
