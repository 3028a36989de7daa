//! Packets that wait for one connection's writer.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::wire::key::NodePublic;

/// Packets of a queue. Older ones are of no use to WireGuard or path discovery by the time a slow link carries them.
pub const MAX_PACKETS: usize = 32;

/// Bytes of a queue's packets: two of the largest, and 32 of the usual 1.3 KB by far.
pub const MAX_BYTES: usize = 128 << 10;

#[derive(Debug)]
pub struct Packet {
    pub source: NodePublic,
    pub packet: Bytes,
}

/// First in, first out; the oldest make room for the newest.
#[derive(Debug, Default)]
pub struct Queue {
    packets: VecDeque<Packet>,
    bytes: usize,
}

impl Queue {
    /// How many packets made room.
    pub fn push(&mut self, packet: Packet) -> usize {
        let before = self.packets.len();
        while self.packets.len() >= MAX_PACKETS || self.bytes + packet.packet.len() > MAX_BYTES {
            if self.pop().is_none() {
                break;
            }
        }
        let displaced = before - self.packets.len();
        self.bytes += packet.packet.len();
        self.packets.push_back(packet);
        displaced
    }

    pub fn pop(&mut self) -> Option<Packet> {
        let packet = self.packets.pop_front()?;
        self.bytes -= packet.packet.len();
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(length: usize, mark: u8) -> Packet {
        Packet { source: NodePublic::default(), packet: vec![mark; length].into() }
    }

    #[test]
    fn the_oldest_make_room_by_count_and_by_bytes() {
        let mut queue = Queue::default();
        let displaced: usize = (0..40).map(|mark| queue.push(packet(1, mark))).sum();
        assert_eq!(displaced, 8);
        assert_eq!(queue.pop().map(|p| p.packet[0]), Some(8));
        let displaced: usize = (0..3).map(|mark| queue.push(packet(64 << 10, mark))).sum();
        assert_eq!(displaced, 31 + 1);
        assert_eq!(queue.bytes, MAX_BYTES);
        assert_eq!(queue.pop().map(|p| p.packet[0]), Some(1));
    }
}
