//! Packets as the kernel gives them to the tunnel, of the tunnel's size.

use std::net::IpAddr;

use genkan::tunnel::core::offload::segment::{LocalPacket, take_local};
use genkan::tunnel::core::offload::vnet_header::{Segmentation, VnetHeader};
use genkan::wire::ip::{PROTOCOL_TCP, TCP_ACK, assemble};

use crate::pair::OPEN_PORT;

const MTU: u16 = 1280;
/// Of the packets of a super-packet: what one send to the network takes.
pub const SEGMENTS: u16 = 49;
/// With time stamps, as connections have them.
const TCP_HEADER_LENGTH: u16 = 32;
const TCP_PSH: u8 = 8;

/// A super-packet of [`SEGMENTS`] full packets, about 60 kB.
pub fn bulk(source: IpAddr, destination: IpAddr) -> (VnetHeader, Vec<u8>) {
    let ip_length = if source.is_ipv4() { 20 } else { 40 };
    let size = MTU - ip_length - TCP_HEADER_LENGTH;
    let segmentation = if source.is_ipv4() { Segmentation::Tcp4(size) } else { Segmentation::Tcp6(size) };
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(usize::from(SEGMENTS * size)).collect();
    let header = VnetHeader { segmentation, ..VnetHeader::default() };
    (header, segment(source, destination, TCP_ACK | TCP_PSH, &payload))
}

/// As one read of the TUN gives it.
pub fn local((header, bytes): &mut (VnetHeader, Vec<u8>)) -> LocalPacket<'_> {
    take_local(header, bytes).expect("the headers fit")
}

/// What is sent for every second packet that came, without a payload.
pub fn acknowledgement(source: IpAddr, destination: IpAddr) -> Vec<u8> {
    segment(source, destination, TCP_ACK, &[])
}

fn segment(source: IpAddr, destination: IpAddr, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = vec![0; usize::from(TCP_HEADER_LENGTH)];
    segment[..2].copy_from_slice(&50_000_u16.to_be_bytes());
    segment[2..4].copy_from_slice(&OPEN_PORT.to_be_bytes());
    segment[12] = 8 << 4;
    segment[13] = flags;
    segment[20..24].copy_from_slice(&[1, 1, 8, 10]);
    segment.extend_from_slice(payload);
    assemble(source, destination, PROTOCOL_TCP, &segment).expect("one family, short")
}
