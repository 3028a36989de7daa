//! IP packets on their way to the TUN, those of one flow joined to super-packets.

use std::collections::VecDeque;
use std::ops::Range;

use super::arena::Arena;
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
}

/// One packet or super-packet for the kernel.
#[derive(Debug, Clone, Copy)]
pub struct LocalWrite<'a> {
    /// For a TUN that takes one before each packet.
    pub header: VnetHeader,
    bytes: &'a [u8],
    parts: &'a [Range<usize>],
}

impl<'a> LocalWrite<'a> {
    /// The packet's bytes, in at most [`MAX_JOINED`](crate::tunnel::core::offload::coalesce::MAX_JOINED) parts.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        self.parts.iter().map(move |part| &bytes[part.clone()])
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
    pub fn commit(&mut self, packet: &Packet) {
        let joinable = Joinable::read(packet, self.reserved(packet.length), self.joins);
        let start = self.arena.commit(packet.length);
        let Some(joinable) = joinable else { return self.deliver(start..start + packet.length, None) };
        if !self.join(&joinable, start..start + packet.length) {
            self.deliver(start..start + packet.length, Some(Group::open(joinable)));
        }
    }

    /// Delivers a packet that was made elsewhere; false when the outbox is full.
    #[must_use]
    pub fn push(&mut self, packet: &[u8]) -> bool {
        let Some(room) = self.reserve(packet.len()) else { return false };
        room[..packet.len()].copy_from_slice(packet);
        let start = self.arena.commit(packet.len());
        self.deliver(start..start + packet.len(), None);
        true
    }

    pub fn poll(&mut self) -> Option<LocalWrite<'_>> {
        let Delivery { parts, group } = self.deliveries.pop_front()?;
        let parts = &self.parts[parts];
        let header = match group {
            Some(group) => group.finish(&mut self.arena.bytes_mut()[parts[0].clone()]),
            None => VnetHeader::default(),
        };
        Some(LocalWrite { header, bytes: self.arena.bytes(), parts })
    }

    /// Adds the packet at `range` to the delivery before it, if it continues that.
    fn join(&mut self, next: &Joinable, range: Range<usize>) -> bool {
        let Some(Delivery { parts, group: Some(group) }) = self.deliveries.back_mut() else { return false };
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

    fn deliver(&mut self, range: Range<usize>, group: Option<Group>) {
        let at = self.parts.len();
        self.parts.push(range);
        self.deliveries.push_back(Delivery { parts: at..at + 1, group });
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
