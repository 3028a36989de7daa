//! Cutting and joining, against each other and against the rules of the headers.

use std::net::IpAddr;

use proptest::prelude::*;

use super::coalesce::{Group, Joinable, Joins};
use super::segment::{LocalPacket, SegmentError, SuperPacket, take_local};
use super::vnet_header::{ChecksumField, Segmentation, VnetHeader};
use crate::wire::ip::checksum::Sum;
use crate::wire::ip::{PROTOCOL_TCP, PROTOCOL_UDP, Packet, assemble};

const JOINS: Joins = Joins { tcp: true, udp: true, flows: true };
const SIZE: u16 = 100;

#[derive(Debug, Clone)]
struct Flow {
    is_ipv4: bool,
    is_tcp: bool,
    /// Of TCP, a multiple of four bytes.
    options: Vec<u8>,
    sequence: u32,
    flags: u8,
    payload: Vec<u8>,
}

fn flow() -> impl Strategy<Value = Flow> {
    let options = prop::collection::vec(any::<[u8; 4]>(), 0..=10).prop_map(|words| words.concat());
    // ACK always; PSH, FIN and ECE as they come.
    let flags = prop::collection::vec(any::<bool>(), 3)
        .prop_map(|set| 0x10 | u8::from(set[0]) << 3 | u8::from(set[1]) | u8::from(set[2]) << 6);
    let payload = prop::collection::vec(any::<u8>(), 1..3000);
    (any::<bool>(), any::<bool>(), options, any::<u32>(), flags, payload).prop_map(
        |(is_ipv4, is_tcp, options, sequence, flags, payload)| Flow {
            is_ipv4,
            is_tcp,
            options,
            sequence,
            flags,
            payload,
        },
    )
}

impl Flow {
    fn addresses(&self) -> [IpAddr; 2] {
        let pair = if self.is_ipv4 {
            ["100.64.0.1", "100.64.0.2"]
        } else {
            ["fd7a:115c:a1e0::1", "fd7a:115c:a1e0::2"]
        };
        pair.map(|text| text.parse().expect("literal"))
    }

    /// As the kernel gives it: one packet, checksum not finished.
    fn super_packet(&self) -> (VnetHeader, Vec<u8>) {
        let [source, destination] = self.addresses();
        let (protocol, offset) = if self.is_tcp { (PROTOCOL_TCP, 16) } else { (PROTOCOL_UDP, 6) };
        let transport = [self.transport_header(), self.payload.clone()].concat();
        let mut bytes = assemble(source, destination, protocol, &transport).expect("one family, short");
        let start = bytes.len() - transport.len();
        let sum = Sum::of_pseudo_header(source, destination, protocol, transport.len());
        bytes[start + offset..start + offset + 2].copy_from_slice(&sum.folded());
        let segmentation = match (self.is_tcp, self.is_ipv4) {
            (true, true) => Segmentation::Tcp4(SIZE),
            (true, false) => Segmentation::Tcp6(SIZE),
            (false, _) => Segmentation::Udp(SIZE),
        };
        let field = |length: usize| u16::try_from(length).expect("short");
        let header = VnetHeader {
            segmentation,
            checksum: Some(ChecksumField { start: field(start), offset: field(offset) }),
            header_length: field(bytes.len() - self.payload.len()),
        };
        (header, bytes)
    }

    fn transport_header(&self) -> Vec<u8> {
        let ports = [0x30, 0x39, 0, 22];
        if !self.is_tcp {
            let length = u16::try_from(8 + self.payload.len()).expect("short");
            return [&ports[..], &length.to_be_bytes(), &[0, 0]].concat();
        }
        let length = u8::try_from((20 + self.options.len()) / 4 * 16).expect("at most 60 bytes");
        let mut header = [&ports[..], &self.sequence.to_be_bytes(), &[0, 0, 0, 7]].concat();
        header.extend([length, self.flags, 0x20, 0, 0, 0, 0, 0]);
        [header, self.options.clone()].concat()
    }
}

fn cut(header: &VnetHeader, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    match take_local(header, &mut bytes).expect("well formed") {
        LocalPacket::Single(packet) => vec![packet.to_vec()],
        LocalPacket::Super(packet) => cut_super(&packet),
    }
}

fn cut_super(packet: &SuperPacket) -> Vec<Vec<u8>> {
    let write = |number| {
        let mut room = vec![0xaa; packet.longest()];
        let length = packet.write(number, &mut room);
        room.truncate(length);
        room
    };
    (0..packet.count()).map(write).collect()
}

/// Joins all that can be joined; each group as the kernel gets it.
fn join(packets: &[Vec<u8>]) -> Vec<(VnetHeader, Vec<u8>)> {
    let mut groups: Vec<(Option<Group>, Vec<u8>)> = Vec::new();
    for bytes in packets {
        let packet = Packet::parse(bytes).expect("well formed");
        let next = Joinable::read(&packet, bytes, JOINS);
        if let (Some(next), Some((Some(group), joined))) = (&next, groups.last_mut())
            && group.admits(joined, next, bytes)
        {
            group.add(next);
            joined.extend_from_slice(&bytes[next.payload()]);
            continue;
        }
        groups.push((next.map(Group::open), bytes.clone()));
    }
    let finish = |(group, mut bytes): (Option<Group>, Vec<u8>)| {
        (group.map(|group| group.finish(&mut bytes)).unwrap_or_default(), bytes)
    };
    groups.into_iter().map(finish).collect()
}

fn assert_whole(bytes: &[u8]) {
    let packet = Packet::parse(bytes).expect("a well-formed packet");
    assert_eq!(packet.length, bytes.len());
    let covered = &bytes[packet.transport_offset..];
    let sum = Sum::of_pseudo_header(packet.source, packet.destination, packet.protocol, covered.len());
    assert!(sum.plus(Sum::of(covered)).is_valid(), "checksum of the transport");
    if packet.source.is_ipv4() {
        assert!(Sum::of(&bytes[..20]).is_valid(), "checksum of the IPv4 header");
    }
}

proptest! {
    #[test]
    fn what_is_cut_and_joined_is_what_it_was(flow in flow()) {
        let (header, bytes) = flow.super_packet();
        let packets = cut(&header, &bytes);
        for packet in &packets {
            assert_whole(packet);
        }
        prop_assert_eq!(packets.len(), flow.payload.len().div_ceil(usize::from(SIZE)));
        let joined = join(&packets);
        prop_assert_eq!(joined.len(), 1);
        if packets.len() > 1 {
            prop_assert_eq!(joined[0].0, header);
            prop_assert_eq!(&joined[0].1, &bytes);
        } else {
            prop_assert_eq!(&joined[0], &(VnetHeader::default(), packets[0].clone()));
        }
    }

    #[test]
    fn flags_and_numbers_are_those_of_the_place(flow in flow()) {
        let (header, bytes) = flow.super_packet();
        let packets = cut(&header, &bytes);
        let last = packets.len() - 1;
        let begin = if flow.is_ipv4 { 20 } else { 40 };
        for (number, packet) in packets.iter().enumerate() {
            if flow.is_ipv4 {
                prop_assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])), number);
            }
            if flow.is_tcp {
                let sequence = u32::from_be_bytes(packet[begin + 4..begin + 8].try_into().expect("four"));
                let offset = u32::try_from(number * usize::from(SIZE)).expect("short");
                prop_assert_eq!(sequence, flow.sequence.wrapping_add(offset));
                let only_last = if number == last { flow.flags & 0x09 } else { 0 };
                prop_assert_eq!(packet[begin + 13], (flow.flags & !0x09) | only_last);
            }
        }
    }

    #[test]
    fn nothing_is_lost_or_reordered_whatever_comes_between(
        flows in prop::collection::vec(flow(), 1..5),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let mut queues: Vec<_> = flows
            .iter()
            .map(|flow| { let (header, bytes) = flow.super_packet(); cut(&header, &bytes).into_iter() })
            .collect();
        let mut packets: Vec<_> = order.iter().filter_map(|place| {
            let place = place.index(queues.len());
            queues[place].next()
        }).collect();
        packets.extend(queues.into_iter().flatten());
        let again: Vec<_> = join(&packets).iter().flat_map(|(header, bytes)| cut(header, bytes)).collect();
        // The identification is the kernel's to choose: those joined count up from the first.
        let without_number = |packets: &[Vec<u8>]| -> Vec<Vec<u8>> {
            packets.iter().map(|packet| {
                let mut packet = packet.clone();
                if packet[0] >> 4 == 4 { packet[4..6].fill(0); packet[10..12].fill(0); }
                packet
            }).collect()
        };
        prop_assert_eq!(without_number(&again), without_number(&packets));
    }

    #[test]
    fn any_bytes_are_cut_or_refused(
        header in any::<[u8; 10]>(),
        start in prop::sample::select(vec![0x45_u8, 0x4f, 0x60, 0x00]),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = start;
        }
        if let Ok(header) = VnetHeader::decode(&header)
            && let Ok(LocalPacket::Super(packet)) = take_local(&header, &mut bytes)
        {
            let mut head = [0; super::segment::MAX_HEADER_LENGTH + 1];
            let _ = packet.head(&mut head);
            let payload: usize = cut_super(&packet).iter().map(Vec::len).sum();
            prop_assert!(payload >= bytes.len());
        }
    }
}

fn two_segments(change: impl Fn(&mut Flow), spoil: impl Fn(&mut Vec<u8>)) -> usize {
    let mut flow = Flow {
        is_ipv4: true,
        is_tcp: true,
        options: Vec::new(),
        sequence: 5,
        flags: 0x10,
        payload: vec![7; 2 * usize::from(SIZE)],
    };
    change(&mut flow);
    let (header, bytes) = flow.super_packet();
    let mut packets = cut(&header, &bytes);
    spoil(&mut packets[1]);
    join(&packets).len()
}

/// Changes one byte of a packet and makes its checksums right again.
fn rewrite(at: usize, xor: u8) -> impl Fn(&mut Vec<u8>) {
    move |bytes| {
        bytes[at] ^= xor;
        let [source, destination] = ["100.64.0.1", "100.64.0.2"].map(|text| text.parse().expect("literal"));
        let sum = Sum::of_pseudo_header(source, destination, PROTOCOL_TCP, bytes.len() - 20);
        bytes[36..38].fill(0);
        let checksum = sum.plus(Sum::of(&bytes[20..])).checksum();
        bytes[36..38].copy_from_slice(&checksum);
        bytes[10..12].fill(0);
        let checksum = Sum::of(&bytes[..20]).checksum();
        bytes[10..12].copy_from_slice(&checksum);
    }
}

#[test]
fn packets_that_differ_in_more_than_their_place_stay_apart() {
    assert_eq!(two_segments(|_| {}, |_| {}), 1, "the test's own packets can be joined");
    let fields = [
        ("traffic class", 1, 0x04),
        ("more fragments", 6, 0x20),
        ("hop limit", 8, 1),
        ("sequence", 27, 1),
        ("acknowledgement", 31, 1),
        ("ECE", 33, 0x40),
        ("CWR", 33, 0x80),
        ("URG", 33, 0x20),
        ("SYN", 33, 0x02),
        ("RST", 33, 0x04),
        ("window", 34, 1),
        ("port", 21, 1),
    ];
    for (name, at, xor) in fields {
        assert_eq!(two_segments(|_| {}, rewrite(at, xor)), 2, "{name}");
    }
    let spoil = |bytes: &mut Vec<u8>| *bytes.last_mut().expect("a payload") ^= 1;
    assert_eq!(two_segments(|_| {}, spoil), 2, "a wrong checksum is the receiver's to see");
    assert_eq!(two_segments(|flow| flow.flags = 0x00, |_| {}), 2, "no ACK");
}

#[test]
fn a_datagram_without_checksum_stays_alone() {
    let unsummed = |bytes: &mut Vec<u8>| bytes[26..28].fill(0);
    assert_eq!(two_segments(|flow| flow.is_tcp = false, |_| {}), 1);
    assert_eq!(two_segments(|flow| flow.is_tcp = false, unsummed), 2);
}

#[test]
fn a_checksum_left_to_the_device_is_finished() {
    let [source, destination] = ["100.64.0.1", "100.64.0.2"].map(|text| text.parse().expect("literal"));
    let mut segment = vec![0, 9, 0, 9, 0, 11, 0, 0, b'a', b'b', b'c'];
    let sum = Sum::of_pseudo_header(source, destination, PROTOCOL_UDP, segment.len());
    segment[6..8].copy_from_slice(&sum.folded());
    let mut packet = assemble(source, destination, PROTOCOL_UDP, &segment).expect("one family");
    let header =
        VnetHeader { checksum: Some(ChecksumField { start: 20, offset: 6 }), ..VnetHeader::default() };
    match take_local(&header, &mut packet) {
        Ok(LocalPacket::Single(packet)) => assert_whole(packet),
        other => panic!("{other:?}"),
    }
    let outside = VnetHeader { checksum: Some(ChecksumField { start: 30, offset: 6 }), ..header };
    assert_eq!(take_local(&outside, &mut packet), Err(SegmentError::Checksum));
}
