//! The header fields that cutting and joining packets changes.

use std::net::IpAddr;

use crate::wire::ip::checksum::Sum;
use crate::wire::ip::{
    IPV4_HEADER_LENGTH, IPV6_HEADER_LENGTH, PROTOCOL_TCP, PROTOCOL_UDP, Packet, TCP_HEADER_LENGTH,
    UDP_HEADER_LENGTH,
};

/// Offsets in a TCP header.
pub const TCP_SEQUENCE: usize = 4;
pub const TCP_FLAGS: usize = 13;
const TCP_DATA_OFFSET: usize = 12;
const TCP_CHECKSUM: usize = 16;

pub const TCP_FIN: u8 = 0x01;
pub const TCP_PSH: u8 = 0x08;
pub const TCP_CWR: u8 = 0x80;
/// Flags that belong to the last segment of a super-packet, and to the first.
pub const TCP_ONLY_LAST: u8 = TCP_FIN | TCP_PSH;
pub const TCP_ONLY_FIRST: u8 = TCP_CWR;

/// Offsets in a UDP header.
const UDP_LENGTH: usize = 4;
const UDP_CHECKSUM: usize = 6;

/// The IP header of packets that are cut or joined: without fragments, and for IPv6 without extension headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpHeader {
    source: IpAddr,
    destination: IpAddr,
    length: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
}

impl IpHeader {
    /// Reads the addresses; `None` where `bytes` is no such packet. Its length field is not looked at.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => {
                let length = usize::from(bytes[0] & 0x0f) * 4;
                let header = bytes.get(..length).filter(|header| header.len() >= IPV4_HEADER_LENGTH)?;
                let address = |at: usize| header[at..].first_chunk::<4>().copied().map(IpAddr::from);
                Some(Self { source: address(12)?, destination: address(16)?, length })
            }
            6 => {
                let header = bytes.get(..IPV6_HEADER_LENGTH)?;
                let address = |at: usize| header[at..].first_chunk::<16>().copied().map(IpAddr::from);
                Some(Self { source: address(8)?, destination: address(24)?, length: IPV6_HEADER_LENGTH })
            }
            _ => None,
        }
    }

    /// Of a packet that was parsed.
    #[must_use]
    pub fn of(packet: &Packet) -> Self {
        Self { source: packet.source, destination: packet.destination, length: packet.transport_offset }
    }

    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.source.is_ipv4()
    }

    /// Bytes of the header.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Makes `header` speak of a packet of so many bytes, its own included, that is packet `number` (from 0) of those cut
    /// from one: its IPv4 identification is so much higher.
    pub fn patch(&self, header: &mut [u8], packet: usize, number: usize) {
        let field = |length: usize| u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        if !self.is_ipv4() {
            return header[4..6].copy_from_slice(&field(packet - IPV6_HEADER_LENGTH));
        }
        header[2..4].copy_from_slice(&field(packet));
        let first = u16::from_be_bytes([header[4], header[5]]);
        let number = u16::try_from(number & 0xffff).expect("masked");
        header[4..6].copy_from_slice(&first.wrapping_add(number).to_be_bytes());
        header[10..12].fill(0);
        let checksum = Sum::of(&header[..self.length]).checksum();
        header[10..12].copy_from_slice(&checksum);
    }

    /// The sum that begins the transport's checksum over `covered` bytes.
    #[must_use]
    pub fn pseudo_header(&self, transport: Transport, covered: usize) -> Sum {
        Sum::of_pseudo_header(self.source, self.destination, transport.protocol(), covered)
    }
}

impl Transport {
    #[must_use]
    pub fn protocol(self) -> u8 {
        match self {
            Self::Tcp => PROTOCOL_TCP,
            Self::Udp => PROTOCOL_UDP,
        }
    }

    /// Where the payload begins, in a packet whose transport header begins at `at`; `None` when that is beyond its end.
    #[must_use]
    pub fn header_length(self, bytes: &[u8], at: usize) -> Option<usize> {
        let length = match self {
            Self::Tcp => usize::from(bytes.get(at + TCP_DATA_OFFSET)? >> 4) * 4,
            Self::Udp => UDP_HEADER_LENGTH,
        };
        let least = if self == Self::Tcp { TCP_HEADER_LENGTH } else { UDP_HEADER_LENGTH };
        (length >= least && bytes.len() >= at + length).then_some(at + length)
    }

    /// Where in the transport's header the checksum is.
    #[must_use]
    pub fn checksum_offset(self) -> usize {
        match self {
            Self::Tcp => TCP_CHECKSUM,
            Self::Udp => UDP_CHECKSUM,
        }
    }

    /// Whether the checksum over transport header and payload, `covered`, is there and right.
    #[must_use]
    pub fn is_whole(self, ip: &IpHeader, covered: &[u8]) -> bool {
        let at = self.checksum_offset();
        let is_there = self == Self::Tcp || covered.get(at..at + 2).is_some_and(|field| field != [0; 2]);
        is_there && ip.pseudo_header(self, covered.len()).plus(Sum::of(covered)).is_valid()
    }

    /// Makes a UDP header speak of a datagram of so many bytes, its own included.
    pub fn set_udp_length(header: &mut [u8], datagram: usize) {
        let length = u16::try_from(datagram).unwrap_or(u16::MAX);
        header[UDP_LENGTH..UDP_LENGTH + 2].copy_from_slice(&length.to_be_bytes());
    }

    /// Writes the checksum of `header` and `payload`, begun with `pseudo_header`.
    pub fn set_checksum(self, header: &mut [u8], pseudo_header: Sum, payload: &[u8]) {
        let at = self.checksum_offset();
        header[at..at + 2].fill(0);
        let checksum = pseudo_header.plus(Sum::of(header)).plus(Sum::of(payload)).checksum();
        // RFC 768: zero would say that there is none.
        let is_no_checksum = self == Self::Udp && checksum == [0; 2];
        header[at..at + 2].copy_from_slice(&if is_no_checksum { [0xff; 2] } else { checksum });
    }
}
