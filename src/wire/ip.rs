//! The parts of IPv4 and IPv6 packets that routing and filtering look at, and the making of small packets.
//!
//! Extension headers of IPv6 other than the fragment header are not followed: such a packet shows the extension's own
//! protocol number, which no ordinary filter rule allows.

mod assemble;
pub mod checksum;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use assemble::{assemble, assemble_reset, assemble_unreachable};

pub const PROTOCOL_ICMP: u8 = 1;
pub const PROTOCOL_TCP: u8 = 6;
pub const PROTOCOL_UDP: u8 = 17;
pub const PROTOCOL_ICMPV6: u8 = 58;
/// Tailscale's own messages inside the tunnel.
pub const PROTOCOL_TSMP: u8 = 99;
pub const PROTOCOL_SCTP: u8 = 132;
const PROTOCOL_IPV6_FRAGMENT: u8 = 44;

pub const IPV4_HEADER_LENGTH: usize = 20;
pub const IPV6_HEADER_LENGTH: usize = 40;
const FRAGMENT_HEADER_LENGTH: usize = 8;
pub const TCP_HEADER_LENGTH: usize = 20;
pub const UDP_HEADER_LENGTH: usize = 8;
const SCTP_HEADER_LENGTH: usize = 12;
const ICMP_HEADER_LENGTH: usize = 4;

/// A later fragment that begins before this byte of the payload could rewrite the ports and flags by which the first was
/// judged; no real link has so small an MTU.
const MIN_FRAGMENT_OFFSET: usize = 80;

/// What a packet is, as far as a router or filter cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// IANA protocol number of `transport`.
    pub protocol: u8,
    pub transport: Transport,
    /// Where the transport's header begins, in bytes from the start of the packet.
    pub transport_offset: usize,
    /// Bytes of the packet by its own header; the buffer may be longer (padding).
    pub length: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp {
        ports: Ports,
        flags: u8,
    },
    Udp {
        ports: Ports,
    },
    Sctp {
        ports: Ports,
    },
    Icmp(IcmpKind),
    /// Not the first fragment of its packet.
    Fragment,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    pub source: u16,
    pub destination: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpKind {
    EchoReply,
    /// Unreachable, too big, time exceeded, parameter problem.
    Error,
    Other,
}

pub const TCP_SYN: u8 = 0x02;
pub const TCP_RST: u8 = 0x04;
pub const TCP_ACK: u8 = 0x10;

/// The sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedPacket {
    #[error("neither IPv4 nor IPv6")]
    Version,
    #[error("shorter than its headers say")]
    Length,
    #[error("a fragment that could rewrite the headers of the first")]
    TinyFragment,
}

impl Packet {
    /// Reads the headers of a packet; never looks beyond `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedPacket> {
        match bytes.first().map(|first| first >> 4) {
            Some(4) => parse_ipv4(bytes),
            Some(6) => parse_ipv6(bytes),
            _ => Err(MalformedPacket::Version),
        }
    }

    /// The first packet of a TCP connection: SYN without ACK.
    #[must_use]
    pub fn is_tcp_syn(&self) -> bool {
        matches!(self.transport, Transport::Tcp { flags, .. } if flags & (TCP_SYN | TCP_ACK) == TCP_SYN)
    }

    #[must_use]
    pub fn ports(&self) -> Option<Ports> {
        match self.transport {
            Transport::Tcp { ports, .. } | Transport::Udp { ports } | Transport::Sctp { ports } => {
                Some(ports)
            }
            Transport::Icmp(_) | Transport::Fragment | Transport::Other => None,
        }
    }
}
fn parse_ipv4(bytes: &[u8]) -> Result<Packet, MalformedPacket> {
    let header = bytes.first_chunk::<IPV4_HEADER_LENGTH>().ok_or(MalformedPacket::Length)?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header_length < IPV4_HEADER_LENGTH || length < header_length || length > bytes.len() {
        return Err(MalformedPacket::Length);
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let (source, destination) =
        read_ipv4(bytes, 12).zip(read_ipv4(bytes, 16)).ok_or(MalformedPacket::Length)?;
    let protocol = header[9];
    Ok(Packet {
        source: source.into(),
        destination: destination.into(),
        protocol,
        transport: parse_transport(
            protocol,
            usize::from(fragment & 0x1fff) * 8,
            &bytes[header_length..length],
        )?,
        transport_offset: header_length,
        length,
    })
}

fn parse_ipv6(bytes: &[u8]) -> Result<Packet, MalformedPacket> {
    let header = bytes.first_chunk::<IPV6_HEADER_LENGTH>().ok_or(MalformedPacket::Length)?;
    let length = IPV6_HEADER_LENGTH + usize::from(u16::from_be_bytes([header[4], header[5]]));
    let payload = bytes.get(IPV6_HEADER_LENGTH..length).ok_or(MalformedPacket::Length)?;
    let (source, destination) =
        read_ipv6(bytes, 8).zip(read_ipv6(bytes, 24)).ok_or(MalformedPacket::Length)?;
    let (protocol, fragment_offset, skip) = match header[6] {
        PROTOCOL_IPV6_FRAGMENT => {
            let fragment = payload.first_chunk::<FRAGMENT_HEADER_LENGTH>().ok_or(MalformedPacket::Length)?;
            // The field counts units of eight bytes above three flag bits: without the flags it is the offset in bytes.
            let offset = u16::from_be_bytes([fragment[2], fragment[3]]) & 0xfff8;
            (fragment[0], usize::from(offset), FRAGMENT_HEADER_LENGTH)
        }
        protocol => (protocol, 0, 0),
    };
    Ok(Packet {
        source: source.into(),
        destination: destination.into(),
        protocol,
        transport: parse_transport(protocol, fragment_offset, &payload[skip..])?,
        transport_offset: IPV6_HEADER_LENGTH + skip,
        length,
    })
}

fn parse_transport(protocol: u8, fragment_offset: usize, bytes: &[u8]) -> Result<Transport, MalformedPacket> {
    if fragment_offset > 0 {
        return if fragment_offset < MIN_FRAGMENT_OFFSET {
            Err(MalformedPacket::TinyFragment)
        } else {
            Ok(Transport::Fragment)
        };
    }
    Ok(match protocol {
        PROTOCOL_TCP => {
            let header = bytes.first_chunk::<TCP_HEADER_LENGTH>().ok_or(MalformedPacket::Length)?;
            Transport::Tcp { ports: read_ports(header), flags: header[13] }
        }
        PROTOCOL_UDP => {
            let header = bytes.first_chunk::<UDP_HEADER_LENGTH>().ok_or(MalformedPacket::Length)?;
            Transport::Udp { ports: read_ports(header) }
        }
        PROTOCOL_SCTP => {
            let header = bytes.first_chunk::<SCTP_HEADER_LENGTH>().ok_or(MalformedPacket::Length)?;
            Transport::Sctp { ports: read_ports(header) }
        }
        PROTOCOL_ICMP | PROTOCOL_ICMPV6 => {
            let header = bytes.first_chunk::<ICMP_HEADER_LENGTH>().ok_or(MalformedPacket::Length)?;
            Transport::Icmp(icmp_kind(protocol, header[0]))
        }
        _ => Transport::Other,
    })
}

/// RFC 792 and RFC 4443 message types.
fn icmp_kind(protocol: u8, message_type: u8) -> IcmpKind {
    match (protocol, message_type) {
        (PROTOCOL_ICMP, 0) | (PROTOCOL_ICMPV6, 129) => IcmpKind::EchoReply,
        (PROTOCOL_ICMP, 3 | 11 | 12) | (PROTOCOL_ICMPV6, 1..=4) => IcmpKind::Error,
        _ => IcmpKind::Other,
    }
}

fn read_ports(header: &[u8]) -> Ports {
    Ports {
        source: u16::from_be_bytes([header[0], header[1]]),
        destination: u16::from_be_bytes([header[2], header[3]]),
    }
}

fn read_ipv4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    bytes.get(at..)?.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))
}

fn read_ipv6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    bytes.get(at..)?.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V4: [IpAddr; 2] =
        [IpAddr::V4(Ipv4Addr::new(100, 64, 0, 2)), IpAddr::V4(Ipv4Addr::new(100, 64, 0, 1))];

    fn v6() -> [IpAddr; 2] {
        ["fd7a:115c:a1e0::2".parse().expect("literal"), "fd7a:115c:a1e0::1".parse().expect("literal")]
    }

    fn tcp_segment(flags: u8) -> Vec<u8> {
        let mut segment = vec![0x30, 0x39, 0, 22];
        segment.resize(TCP_HEADER_LENGTH, 0);
        segment[13] = flags;
        segment
    }

    #[test]
    fn both_families_show_addresses_ports_and_flags() {
        for [source, destination] in [V4, v6()] {
            let mut bytes =
                assemble(source, destination, PROTOCOL_TCP, &tcp_segment(TCP_SYN)).expect("one family");
            let length = bytes.len();
            bytes.extend_from_slice(&[0; 7]);
            let packet = Packet::parse(&bytes).expect("well formed");
            assert_eq!((packet.source, packet.destination), (source, destination));
            assert_eq!(packet.ports(), Some(Ports { source: 12345, destination: 22 }));
            assert_eq!(packet.length, length, "padding is not part of the packet");
            assert!(packet.is_tcp_syn());
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let good = assemble(V4[0], V4[1], PROTOCOL_UDP, &[0; 8]).expect("one family");
        assert!(Packet::parse(&good).is_ok());
        assert_eq!(Packet::parse(&good[..good.len() - 1]), Err(MalformedPacket::Length));
        let mut short_header = good.clone();
        short_header[0] = 0x44;
        assert_eq!(Packet::parse(&short_header), Err(MalformedPacket::Length));
        let cut = assemble(V4[0], V4[1], PROTOCOL_UDP, &[0; 7]).expect("one family");
        assert_eq!(Packet::parse(&cut), Err(MalformedPacket::Length));
        assert_eq!(Packet::parse(&[0x50; 40]), Err(MalformedPacket::Version));
        assert_eq!(Packet::parse(&[]), Err(MalformedPacket::Version));
    }

    #[test]
    fn later_fragments_carry_no_ports_and_may_not_overlap_the_first() {
        let mut bytes = assemble(V4[0], V4[1], PROTOCOL_TCP, &tcp_segment(TCP_SYN)).expect("one family");
        bytes[7] = 10;
        assert_eq!(Packet::parse(&bytes).map(|p| p.transport), Ok(Transport::Fragment));
        bytes[7] = 1;
        assert_eq!(Packet::parse(&bytes), Err(MalformedPacket::TinyFragment));

        let mut payload = vec![PROTOCOL_TCP, 0, 0, 0x51, 0, 0, 0, 1];
        payload.extend_from_slice(&tcp_segment(TCP_SYN));
        let [source, destination] = v6();
        let fragment = |payload: &[u8]| {
            let bytes = assemble(source, destination, PROTOCOL_IPV6_FRAGMENT, payload).expect("one family");
            Packet::parse(&bytes)
        };
        assert_eq!(fragment(&payload).map(|p| p.transport), Ok(Transport::Fragment));
        payload[3] = 0x01;
        assert!(fragment(&payload).expect("a first fragment").is_tcp_syn());
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(
            version in prop_oneof![Just(0x45u8), Just(0x46), Just(0x60), any::<u8>()],
            rest in prop::collection::vec(any::<u8>(), 0..120),
        ) {
            let mut bytes = vec![version];
            bytes.extend_from_slice(&rest);
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.length <= bytes.len());
                prop_assert!(packet.transport_offset <= packet.length);
            }
        }
    }
}
