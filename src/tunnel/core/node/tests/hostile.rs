//! Whatever strangers, peers and the kernel send: no panic, bounded memory.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::simulation::{A, B, World, udp};
use crate::base::rng::SeededRng;
use crate::tunnel::core::drops::DropReason;
use crate::tunnel::core::node::Datagrams;
use crate::tunnel::core::offload::segment::LocalPacket;
use crate::tunnel::core::outbox::MAX_OUTBOX_BYTES;
use crate::wire::disco::{self, DiscoBox, Message, TxId};
use crate::wire::key::NodePublic;

const STRANGER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9)), 7);

/// Bytes that get past the first looks: message types of WireGuard, magic and known key of disco, IP versions.
fn almost_valid() -> impl Strategy<Value = Vec<u8>> {
    let known_key = *World::new().sides[B].disco_key.public().as_bytes();
    let rest = prop::collection::vec(any::<u8>(), 0..200);
    let wireguard = (1u8..5, prop_oneof![Just(148usize), Just(92), Just(64), 32usize..100], rest.clone());
    prop_oneof![
        rest.clone(),
        wireguard.prop_map(|(kind, length, rest)| {
            let mut message = vec![kind, 0, 0, 0];
            message.extend(rest);
            message.resize(length, 7);
            message
        }),
        rest.clone().prop_map(move |rest| [&disco::MAGIC, known_key.as_slice(), &rest].concat()),
        (prop_oneof![Just(0x45u8), Just(0x60)], rest).prop_map(|(version, rest)| [
            &[version],
            rest.as_slice()
        ]
        .concat()),
    ]
}

fn datagram(contents: &[u8]) -> Datagrams<'_> {
    Datagrams { source: STRANGER, contents, segment_size: contents.len() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_from_everywhere_do_not_panic(
        inputs in prop::collection::vec(almost_valid(), 1..20),
        segment_size in 0usize..100,
    ) {
        let mut world = World::new();
        let now = world.now;
        let peer = world.sides[B].public();
        let node = &mut world.sides[A].node;
        for input in &inputs {
            node.handle_udp([Datagrams { segment_size, ..datagram(input) }], now);
            node.handle_relay([(peer, input.as_slice()), (NodePublic::default(), input.as_slice())], now);
            node.handle_tun(LocalPacket::Single(input), now);
        }
        prop_assert!(node.poll_tun().is_none_or(|packet| packet.parts().all(|part| part.len() < 100)), "at most ICMP errors");
    }

    #[test]
    fn spoiled_messages_of_a_real_exchange_do_no_harm(
        at in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        let mut world = World::new();
        prop_assert!(world.reaches(A) && world.reaches(B));
        let sent = world.sides[A].sent.clone();
        let mut message = at.get(&sent).clone();
        let byte = byte.index(message.len());
        message[byte] ^= flip;
        let (now, sender) = (world.now, world.sides[A].public());
        let delivered = world.sides[B].delivered.len();
        world.sides[B].node.handle_udp([datagram(&message), datagram(&message[..byte])], now);
        world.sides[B].node.handle_relay([(sender, message.as_slice())], now);
        world.settle();
        prop_assert_eq!(world.sides[B].delivered.len(), delivered);
        prop_assert!(world.reaches(A) && world.reaches(B), "the session goes on");
    }
}

#[test]
fn replayed_messages_deliver_nothing() {
    let mut world = World::new();
    assert!(world.reaches(A) && world.reaches(B));
    let (now, sent) = (world.now, world.sides[A].sent.clone());
    let delivered = world.sides[B].delivered.len();
    for message in &sent {
        world.sides[B].node.handle_udp([datagram(message)], now);
    }
    world.settle();
    assert_eq!(world.sides[B].delivered.len(), delivered);
    assert!(world.reaches(A) && world.reaches(B));
}

#[test]
fn oversized_input_is_dropped_and_counted() {
    let mut world = World::new();
    let (now, peer) = (world.now, world.sides[B].public());
    let node = &mut world.sides[A].node;
    let mut huge = vec![0; 1 << 20];
    huge[0] = 4;
    node.handle_relay([(peer, huge.as_slice())], now);
    assert_eq!(node.drops().of(DropReason::Oversized), 1);
    node.handle_udp([datagram(&huge[..65_507])], now);
    assert_eq!(node.drops().of(DropReason::WireGuardSession), 1);
    huge[0] = 0x45;
    node.handle_tun(LocalPacket::Single(&huge), now);
    assert_eq!(node.drops().of(DropReason::LocalMalformed), 1);
}

#[test]
fn a_shell_that_never_drains_costs_bounded_memory() {
    let mut world = World::new();
    assert!(world.reaches(A) && world.is_direct(A));
    let now = world.now;
    let packet = udp(A);
    let rounds = 2 * MAX_OUTBOX_BYTES / packet.len();
    for _ in 0..rounds {
        world.sides[A].node.handle_tun(LocalPacket::Single(&packet), now);
    }
    assert!(world.sides[A].node.drops().of(DropReason::OutboxFull) > 0);
    let mut bytes = 0;
    while let Some(transmit) = world.sides[A].node.poll_transmit() {
        bytes += transmit.contents.len();
    }
    assert!(bytes <= MAX_OUTBOX_BYTES);
    assert!(world.is_direct(A), "afterwards all is as before");
}

#[test]
fn a_ping_that_claims_another_node_is_refused() {
    let mut world = World::new();
    let (now, truth) = (world.now, world.sides[A].public());
    let sealer = DiscoBox::new(&world.sides[A].disco_key, &world.sides[B].disco_key.public());
    let sealer = sealer.expect("generated key");
    let mut rng = SeededRng::new([3; 32]);
    for (claimed, answered) in [(NodePublic::from_bytes([7; 32]), false), (truth, true)] {
        let ping = Message::Ping { tx_id: TxId([1; 12]), node: Some(claimed) };
        let packet = sealer.seal(&ping, &mut rng);
        world.sides[B].node.handle_udp([datagram(&packet)], now);
        assert_eq!(world.sides[B].node.drops().of(DropReason::DiscoForged), 1);
        assert_eq!(world.sides[B].node.poll_transmit().is_some(), answered);
    }
}

#[test]
fn disco_by_a_stranger_is_counted_and_never_answered() {
    let mut world = World::new();
    let now = world.now;
    let packet = [&disco::MAGIC, [9; 100].as_slice()].concat();
    world.sides[A].node.handle_udp([datagram(&packet)], now);
    assert_eq!(world.sides[A].node.drops().of(DropReason::DiscoStranger), 1);
    assert!(world.sides[A].node.poll_transmit().is_none());
}
