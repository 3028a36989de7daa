//! The IPv4 and UDP headers around a message: a client without an address has no socket that would write them.

use std::net::Ipv4Addr;

use super::{CLIENT_PORT, Message, NotDhcp, SERVER_PORT};
use crate::wire::ip::{PROTOCOL_UDP, Packet, Transport, assemble};

const UDP_HEADER: usize = 8;

/// An IPv4 packet from the client's port to the server's. The UDP checksum is left out, as RFC 768 allows: Ethernet carries
/// one of its own.
#[must_use]
pub fn encode_packet(source: Ipv4Addr, destination: Ipv4Addr, message: &Message) -> Vec<u8> {
    let payload = message.encode();
    let mut datagram = Vec::with_capacity(UDP_HEADER + payload.len());
    let length = u16::try_from(UDP_HEADER + payload.len()).unwrap_or(u16::MAX);
    for value in [CLIENT_PORT, SERVER_PORT, length, 0] {
        datagram.extend_from_slice(&value.to_be_bytes());
    }
    datagram.extend_from_slice(&payload);
    assemble(source.into(), destination.into(), PROTOCOL_UDP, &datagram)
        .expect("one family, and a message is shorter than a packet may be")
}

/// The message in an IPv4 packet to a client's port.
///
/// The UDP checksum is not looked at: a server on the same machine, or behind a virtual network card, hands over packets
/// whose checksum a card was to fill in. A broken message is told by its cookie, its transaction and its values.
pub fn decode_packet(bytes: &[u8]) -> Result<Message, NotDhcp> {
    let packet = Packet::parse(bytes).map_err(|_| NotDhcp::Packet)?;
    let Transport::Udp { ports } = packet.transport else { return Err(NotDhcp::Packet) };
    if !packet.source.is_ipv4() || ports.source != SERVER_PORT || ports.destination != CLIENT_PORT {
        return Err(NotDhcp::Packet);
    }
    let datagram = bytes.get(packet.transport_offset..packet.length).ok_or(NotDhcp::Packet)?;
    let (header, payload) = datagram.split_first_chunk::<UDP_HEADER>().ok_or(NotDhcp::Packet)?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let payload = length.checked_sub(UDP_HEADER).and_then(|length| payload.get(..length));
    Message::decode(payload.ok_or(NotDhcp::Length)?)
}
