//! Making small packets: Tailscale's own messages, resets and ICMP errors.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum::Sum;
use super::{
    IPV4_HEADER_LENGTH, IPV6_HEADER_LENGTH, IcmpKind, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, Packet,
    Ports, TCP_ACK, TCP_HEADER_LENGTH, TCP_RST, Transport,
};

const HOP_LIMIT: u8 = 64;

const ICMP_UNREACHABLE: u8 = 3;
const ICMP_HOST_UNREACHABLE: u8 = 1;
const ICMPV6_UNREACHABLE: u8 = 1;
const ICMPV6_NO_ROUTE: u8 = 0;
/// Of the transport: enough for ports and sequence number.
const ICMP_QUOTED_BYTES: usize = 8;

/// A whole packet around `payload`, without options; `None` when the addresses are of different families or the payload is
/// too long for the header.
#[must_use]
pub fn assemble(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Option<Vec<u8>> {
    let mut packet = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ipv4_header(source, destination, protocol, payload.len())?.to_vec()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            ipv6_header(source, destination, protocol, payload.len())?.to_vec()
        }
        _ => return None,
    };
    packet.extend_from_slice(payload);
    Some(packet)
}

/// A TCP segment without data that ends the connection attempt whose SYN had `acknowledge - 1` as its number.
#[must_use]
pub fn assemble_reset(
    source: IpAddr,
    destination: IpAddr,
    ports: Ports,
    acknowledge: u32,
) -> Option<Vec<u8>> {
    let mut segment = [0; TCP_HEADER_LENGTH];
    segment[0..2].copy_from_slice(&ports.source.to_be_bytes());
    segment[2..4].copy_from_slice(&ports.destination.to_be_bytes());
    segment[8..12].copy_from_slice(&acknowledge.to_be_bytes());
    segment[12] = 5 << 4;
    segment[13] = TCP_RST | TCP_ACK;
    let sum = transport_checksum(source, destination, PROTOCOL_TCP, &segment);
    segment[16..18].copy_from_slice(&sum);
    assemble(source, destination, PROTOCOL_TCP, &segment)
}

/// The ICMP error "no route to the destination" about `original`, a packet that was just parsed; `None` where RFC 1122 and
/// RFC 4443 forbid an answer (to errors, to groups, to later fragments).
#[must_use]
pub fn assemble_unreachable(original: &[u8], packet: &Packet) -> Option<Vec<u8>> {
    let answerable = !packet.destination.is_multicast()
        && !matches!(packet.transport, Transport::Icmp(IcmpKind::Error) | Transport::Fragment);
    if !answerable {
        return None;
    }
    let (protocol, kind, code) = match packet.source {
        IpAddr::V4(_) => (PROTOCOL_ICMP, ICMP_UNREACHABLE, ICMP_HOST_UNREACHABLE),
        IpAddr::V6(_) => (PROTOCOL_ICMPV6, ICMPV6_UNREACHABLE, ICMPV6_NO_ROUTE),
    };
    let quoted = original.get(..packet.length.min(packet.transport_offset + ICMP_QUOTED_BYTES))?;
    let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(quoted);
    // The host that cannot be reached speaks for itself: its kernel, were it there, would say no more.
    let (source, destination) = (packet.destination, packet.source);
    let sum = match source {
        IpAddr::V4(_) => Sum::of(&message).checksum(),
        IpAddr::V6(_) => transport_checksum(source, destination, protocol, &message),
    };
    message[2..4].copy_from_slice(&sum);
    assemble(source, destination, protocol, &message)
}
fn ipv4_header(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    payload: usize,
) -> Option<[u8; IPV4_HEADER_LENGTH]> {
    let length = u16::try_from(IPV4_HEADER_LENGTH + payload).ok()?;
    let mut header = [0; IPV4_HEADER_LENGTH];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header[8] = HOP_LIMIT;
    header[9] = protocol;
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&destination.octets());
    let sum = Sum::of(&header).checksum();
    header[10..12].copy_from_slice(&sum);
    Some(header)
}

fn ipv6_header(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    protocol: u8,
    payload: usize,
) -> Option<[u8; IPV6_HEADER_LENGTH]> {
    let length = u16::try_from(payload).ok()?;
    let mut header = [0; IPV6_HEADER_LENGTH];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&length.to_be_bytes());
    header[6] = protocol;
    header[7] = HOP_LIMIT;
    header[8..24].copy_from_slice(&source.octets());
    header[24..40].copy_from_slice(&destination.octets());
    Some(header)
}

fn transport_checksum(source: IpAddr, destination: IpAddr, protocol: u8, segment: &[u8]) -> [u8; 2] {
    Sum::of_pseudo_header(source, destination, protocol, segment.len()).plus(Sum::of(segment)).checksum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs() -> [[IpAddr; 2]; 2] {
        [["100.64.0.2", "100.64.0.1"], ["fd7a:115c:a1e0::2", "fd7a:115c:a1e0::1"]]
            .map(|pair| pair.map(|text| text.parse().expect("literal")))
    }

    #[test]
    fn made_packets_have_right_checksums() {
        let ports = Ports { source: 22, destination: 12345 };
        for [source, destination] in pairs() {
            let reset = assemble_reset(source, destination, ports, 7).expect("one family");
            let packet = Packet::parse(&reset).expect("well formed");
            let segment = &reset[packet.transport_offset..];
            assert_eq!(transport_checksum(source, destination, PROTOCOL_TCP, segment), [0, 0]);
            if source.is_ipv4() {
                assert!(Sum::of(&reset[..IPV4_HEADER_LENGTH]).is_valid());
            }
        }
        assert_eq!(assemble(pairs()[0][0], pairs()[1][1], PROTOCOL_TCP, &[]), None);
    }

    #[test]
    fn an_unreachable_quotes_the_packet_and_is_never_answered_itself() {
        for [source, destination] in pairs() {
            let original =
                assemble(source, destination, PROTOCOL_TCP, &[2; TCP_HEADER_LENGTH]).expect("one family");
            let parsed = Packet::parse(&original).expect("well formed");
            let error = assemble_unreachable(&original, &parsed).expect("a TCP packet is answered");
            let packet = Packet::parse(&error).expect("well formed");
            assert_eq!((packet.source, packet.destination), (destination, source));
            assert_eq!(packet.transport, Transport::Icmp(IcmpKind::Error));
            assert_eq!(
                error[packet.transport_offset + 8..],
                original[..parsed.transport_offset + ICMP_QUOTED_BYTES]
            );
            assert_eq!(assemble_unreachable(&error, &packet), None);
        }
    }
}
