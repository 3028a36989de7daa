//! Joining what comes out of the tunnel: consecutive packets of one TCP or UDP flow become a super-packet for the kernel,
//! which then takes one trip through its stack (GRO). Only what cutting would make again is joined.

use std::ops::Range;

use super::transport::{
    IpHeader, TCP_CWR, TCP_FIN, TCP_FLAGS, TCP_ONLY_LAST, TCP_PSH, TCP_SEQUENCE, Transport,
};
use super::vnet_header::{ChecksumField, Segmentation, VnetHeader};
use crate::wire::ip::{self, Packet, Ports, TCP_ACK, TCP_RST, TCP_SYN};

/// Packets of one super-packet: what one datagram with receive offload holds at most, and the kernel takes as one vector.
pub const MAX_JOINED: usize = 128;
/// Bytes of one super-packet: the IP header's length field.
const MAX_SUPER_LENGTH: usize = 65_535;

const TCP_URG: u8 = 0x20;
/// Packets with one of these stand alone.
const TCP_ALONE: u8 = TCP_SYN | TCP_RST | TCP_URG | TCP_CWR;

/// Offsets in an IPv4 header: flags and fragment offset.
const IPV4_FRAGMENT: Range<usize> = 6..8;
const IPV4_DONT_FRAGMENT: u16 = 0x4000;

/// What the kernel takes joined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Joins {
    pub tcp: bool,
    pub udp: bool,
    /// Of flows, which are sent on from here.
    pub flows: bool,
}

/// A packet that others may be joined to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joinable {
    ip: IpHeader,
    transport: Transport,
    ports: Ports,
    /// Where the payload begins.
    header_length: usize,
    payload_length: usize,
    sequence: u32,
    flags: u8,
}

/// Packets joined so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    first: Joinable,
    payload_length: usize,
    count: usize,
    next_sequence: u32,
    last_flags: u8,
    is_closed: bool,
}

impl Joinable {
    /// `bytes` is the packet that `packet` was parsed from, exactly; `None` where it must stay alone.
    #[must_use]
    pub fn read(packet: &Packet, bytes: &[u8], joins: Joins) -> Option<Self> {
        let (transport, ports, flags) = match packet.transport {
            ip::Transport::Tcp { ports, flags } if joins.tcp => (Transport::Tcp, ports, flags),
            ip::Transport::Udp { ports } if joins.udp => (Transport::Udp, ports, 0),
            _ => return None,
        };
        let ip = IpHeader::of(packet);
        let header_length = transport.header_length(bytes, ip.length())?;
        let payload_length = bytes.len() - header_length;
        let stands_alone = payload_length == 0
            || (transport == Transport::Tcp && (flags & TCP_ALONE != 0 || flags & TCP_ACK == 0))
            || !is_plain(&ip, bytes)
            || !transport.is_whole(&ip, &bytes[ip.length()..]);
        if stands_alone {
            return None;
        }
        let sequence = match transport {
            Transport::Tcp => u32::from_be_bytes(*bytes[ip.length() + TCP_SEQUENCE..].first_chunk::<4>()?),
            Transport::Udp => 0,
        };
        Some(Self { ip, transport, ports, header_length, payload_length, sequence, flags })
    }

    /// Where the payload is in the packet's bytes.
    #[must_use]
    pub fn payload(&self) -> Range<usize> {
        self.header_length..self.header_length + self.payload_length
    }

    /// Whether packets that may follow in a super-packet have these headers: everything but lengths, identification,
    /// sequence number, checksums, and the flags of a last segment.
    fn has_headers_of(&self, own: &[u8], other: &Self, other_bytes: &[u8]) -> bool {
        let same = |range: Range<usize>| own[range.clone()] == other_bytes[range];
        let at = self.ip.length();
        let same_ip = if self.ip.is_ipv4() {
            same(0..2) && same(IPV4_FRAGMENT.start..10) && same(20..at)
        } else {
            same(0..4) && same(6..8)
        };
        let same_transport = match self.transport {
            Transport::Tcp => {
                (self.flags ^ other.flags) & !TCP_ONLY_LAST == 0
                    && same(at + 8..at + TCP_FLAGS)
                    && same(at + 14..at + 16)
                    && same(at + 18..self.header_length)
            }
            Transport::Udp => true,
        };
        self.ip == other.ip
            && self.transport == other.transport
            && self.ports == other.ports
            && self.header_length == other.header_length
            && same_ip
            && same_transport
    }
}

/// Neither a fragment nor something with extension headers.
fn is_plain(ip: &IpHeader, bytes: &[u8]) -> bool {
    if ip.is_ipv4() {
        let fragment = u16::from_be_bytes([bytes[IPV4_FRAGMENT.start], bytes[IPV4_FRAGMENT.start + 1]]);
        fragment & !IPV4_DONT_FRAGMENT == 0
    } else {
        ip.length() == ip::IPV6_HEADER_LENGTH
    }
}

impl Group {
    #[must_use]
    pub fn open(first: Joinable) -> Self {
        let mut group = Self {
            first,
            payload_length: 0,
            count: 0,
            next_sequence: first.sequence,
            last_flags: 0,
            is_closed: false,
        };
        group.add(&first);
        group
    }

    /// Whether `next`, whose bytes are `bytes`, continues the packets whose first is `first`.
    #[must_use]
    pub fn admits(&self, first: &[u8], next: &Joinable, bytes: &[u8]) -> bool {
        !self.is_closed
            && self.count < MAX_JOINED
            && next.payload_length <= self.first.payload_length
            && next.sequence == self.next_sequence
            && self.first.header_length + self.payload_length + next.payload_length <= MAX_SUPER_LENGTH
            && self.first.has_headers_of(first, next, bytes)
    }

    pub fn add(&mut self, next: &Joinable) {
        self.payload_length += next.payload_length;
        self.count += 1;
        self.last_flags = next.flags;
        // What is shorter, or says that it is the last, is the last.
        self.is_closed =
            next.payload_length < self.first.payload_length || next.flags & (TCP_FIN | TCP_PSH) != 0;
        if next.transport == Transport::Tcp {
            let length = u32::try_from(next.payload_length).expect("a packet is shorter than 4 GiB");
            self.next_sequence = next.sequence.wrapping_add(length);
        }
    }

    /// Where the payload of the first packet begins.
    #[must_use]
    pub fn headers_length(&self) -> usize {
        self.first.header_length
    }

    /// Makes the headers of the first packet those of all; what stands before them for the kernel. A single packet is left
    /// as it is.
    #[must_use]
    pub fn finish(&self, first: &mut [u8]) -> VnetHeader {
        if self.count < 2 {
            return VnetHeader::default();
        }
        let Joinable { ip, transport, header_length, .. } = self.first;
        ip.patch(first, header_length + self.payload_length, 0);
        let header = &mut first[ip.length()..header_length];
        let covered = header.len() + self.payload_length;
        match transport {
            Transport::Tcp => header[TCP_FLAGS] |= self.last_flags & TCP_ONLY_LAST,
            Transport::Udp => Transport::set_udp_length(header, covered),
        }
        let at = transport.checksum_offset();
        header[at..at + 2].copy_from_slice(&ip.pseudo_header(transport, covered).folded());
        self.vnet_header()
    }

    fn vnet_header(&self) -> VnetHeader {
        let field = |length: usize| u16::try_from(length).expect("within one IP packet");
        let size = field(self.first.payload_length);
        let segmentation = match (self.first.transport, self.first.ip.is_ipv4()) {
            (Transport::Udp, _) => Segmentation::Udp(size),
            (Transport::Tcp, true) => Segmentation::Tcp4(size),
            (Transport::Tcp, false) => Segmentation::Tcp6(size),
        };
        let checksum = ChecksumField {
            start: field(self.first.ip.length()),
            offset: field(self.first.transport.checksum_offset()),
        };
        VnetHeader { segmentation, checksum: Some(checksum), header_length: field(self.first.header_length) }
    }
}
