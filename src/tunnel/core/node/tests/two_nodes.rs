use std::net::IpAddr;
use std::time::Duration;

use super::simulation::{A, B, CLOSED_PORT, OPEN_PORT, World, syn, tailnet_address, udp};
use crate::base::rng::SeededRng;
use crate::tunnel::core::drops::DropReason;
use crate::tunnel::core::offload::segment::LocalPacket;
use crate::tunnel::core::path::{PathState, SESSION_ACTIVE_TIMEOUT, TRUST_DURATION};
use crate::tunnel::core::peer::MAX_WAITING_PACKETS;
use crate::wire::control::{MapResponse, NodeId, PeerChange};
use crate::wire::ip::{IcmpKind, PROTOCOL_TSMP, PROTOCOL_UDP, Packet, TCP_ACK, TCP_RST, Transport, assemble};
use crate::wire::key::{DiscoPrivate, NodePrivate};
use crate::wire::tsmp::Tsmp;

const SECOND: Duration = Duration::from_secs(1);

fn drops(world: &World, side: usize, reason: DropReason) -> u64 {
    world.sides[side].node.drops().of(reason)
}

#[test]
fn the_first_packet_arrives_by_the_relay_and_the_next_directly() {
    let mut world = World::new();
    assert!(world.reaches(A));
    assert_eq!(world.sides[B].delivered, [udp(A)]);
    assert!(world.is_direct(A) && world.is_direct(B));
    assert_eq!((world.state(A), world.state(B)), (PathState::Direct, PathState::Direct));
}

#[test]
fn a_peer_that_comes_to_the_relay_late_is_reached_within_two_seconds() {
    let mut world = World::new();
    (world.udp_blocked, world.relay_empty) = (true, true);
    assert!(!world.reaches(A));
    world.relay_empty = false;
    world.advance(2 * SECOND, false);
    assert_eq!(world.sides[B].delivered, [udp(A)]);
}

#[test]
fn a_peer_that_never_comes_is_called_a_few_times_a_minute() {
    let mut world = World::new();
    (world.udp_blocked, world.relay_empty) = (true, true);
    world.send(A, &udp(A));
    world.advance(60 * SECOND, false);
    let handshakes = world.sides[A].sent.iter().filter(|message| message.starts_with(&[1, 0, 0, 0])).count();
    assert_eq!(handshakes, 5, "the first and its repetitions; WireGuard's own timers stand still here");
}

#[test]
fn call_me_maybe_finds_the_path_when_the_netmap_lists_none() {
    let mut world = World::without_endpoints();
    assert!(world.reaches(A));
    assert!(world.is_direct(A) && world.is_direct(B));
}

#[test]
fn traffic_moves_to_the_relay_when_udp_is_blocked_and_back_when_it_is_not() {
    let mut world = World::new();
    world.advance(10 * SECOND, true);
    assert!(world.is_direct(A));

    world.udp_blocked = true;
    world.advance(TRUST_DURATION + SECOND, true);
    assert!(world.reaches(A) && world.reaches(B), "by the relay");
    assert_eq!(world.state(A), PathState::Relay);
    let before = world.sides[B].delivered.len();
    world.advance(60 * SECOND, true);
    assert_eq!(world.sides[B].delivered.len() - before, 60, "nothing is lost while blocked");

    world.udp_blocked = false;
    world.advance(6 * SECOND, true);
    assert!(world.is_direct(A) && world.is_direct(B));
}

#[test]
fn with_udp_blocked_from_the_start_everything_goes_by_the_relay() {
    let mut world = World::new();
    world.udp_blocked = true;
    for _ in 0..3 {
        assert!(world.reaches(A) && world.reaches(B));
        world.advance(5 * SECOND, false);
    }
    world.udp_blocked = false;
    world.advance(6 * SECOND, true);
    assert!(world.is_direct(A));
}

#[test]
fn an_idle_pair_falls_silent() {
    let mut world = World::new();
    world.advance(5 * SECOND, true);
    world.advance(SESSION_ACTIVE_TIMEOUT + 5 * SECOND, false);
    let sent = world.sides[A].sent.len() + world.sides[B].sent.len();
    world.advance(60 * SECOND, false);
    assert_eq!(world.sides[A].sent.len() + world.sides[B].sent.len(), sent);
    assert_eq!(world.state(A), PathState::Idle);
    assert!(world.reaches(A), "and wakes up");
}

#[test]
fn heartbeats_keep_a_one_way_stream_direct() {
    let mut world = World::new();
    assert!(world.reaches(A));
    for _ in 0..60 {
        world.advance(SECOND, false);
        assert!(world.is_direct(A));
    }
}

#[test]
fn a_peer_may_send_only_from_its_own_addresses() {
    let mut world = World::new();
    assert!(world.reaches(A));
    let mut liar = world.map_entry(A);
    let other: IpAddr = "100.64.0.77".parse().expect("literal");
    liar.addresses.push(other.into());
    world.tell(A, MapResponse { node: Some(Box::new(liar)), ..MapResponse::default() });
    let packet = assemble(other, tailnet_address(B), PROTOCOL_UDP, &[0, 1, 0, 22, 0, 0, 0, 0]);
    world.send(A, &packet.expect("one family"));
    assert_eq!(drops(&world, B, DropReason::PeerSource), 1);
    assert_eq!(world.sides[B].delivered.len(), 1);
}

#[test]
fn an_exit_speaks_for_itself_only() {
    let mut world = World::new();
    assert!(world.reaches(A));
    let mut exit = world.map_entry(A);
    let anywhere: IpAddr = "198.51.100.7".parse().expect("literal");
    exit.allowed_ips.push("0.0.0.0/0".parse().expect("literal"));
    world.tell(B, MapResponse { peers_changed: vec![exit.clone()], ..MapResponse::default() });
    exit.addresses.push(anywhere.into());
    world.tell(A, MapResponse { node: Some(Box::new(exit)), ..MapResponse::default() });
    let packet = assemble(anywhere, tailnet_address(B), PROTOCOL_UDP, &[0, 1, 0, 22, 0, 0, 0, 0]);
    world.send(A, &packet.expect("one family"));
    assert_eq!(drops(&world, B, DropReason::PeerSource), 1);
    assert!(world.reaches(A), "its own address is still its own");
}

#[test]
fn a_machine_may_send_only_from_its_own_addresses() {
    let mut world = World::new();
    world.send(A, &udp(B));
    assert_eq!(drops(&world, A, DropReason::LocalSource), 1);
    assert!(world.sides[A].sent.is_empty());
}

#[test]
fn a_refused_connection_fails_at_once() {
    let mut world = World::new();
    world.send(A, &syn(A, OPEN_PORT));
    assert_eq!(world.sides[B].delivered.len(), 1);
    world.send(A, &syn(A, CLOSED_PORT));
    assert_eq!(world.sides[B].delivered.len(), 1);
    assert_eq!(drops(&world, B, DropReason::FilterRules), 1);
    let reset = Packet::parse(world.sides[A].delivered.last().expect("a reset")).expect("well formed");
    assert_eq!((reset.source, reset.destination), (tailnet_address(B), tailnet_address(A)));
    assert!(matches!(reset.transport, Transport::Tcp { ports, flags }
        if flags == TCP_RST | TCP_ACK && ports.source == CLOSED_PORT && ports.destination == 50_000));
}

#[test]
fn a_reject_for_no_connection_attempt_does_nothing() {
    let mut world = World::new();
    let ports = crate::wire::ip::Ports { source: 1, destination: 2 };
    let reject = Tsmp::Reject { protocol: 6, reason: b'A', ports }.encode();
    let packet = assemble(tailnet_address(A), tailnet_address(B), PROTOCOL_TSMP, &reject);
    world.send(A, &packet.expect("one family"));
    assert_eq!(drops(&world, B, DropReason::TsmpUnexpected), 1);
    assert!(world.sides[B].delivered.is_empty());
}

#[test]
fn tsmp_pings_are_answered() {
    let mut world = World::new();
    let ping = Tsmp::Ping(*b"12345678").encode();
    let packet = assemble(tailnet_address(A), tailnet_address(B), PROTOCOL_TSMP, &ping);
    world.send(A, &packet.expect("one family"));
    assert_eq!(drops(&world, A, DropReason::TsmpUnexpected), 1, "the pong, which nobody here asked for");
    assert!(world.sides[B].delivered.is_empty(), "not for the kernel");
}

#[test]
fn an_address_of_nobody_is_unreachable_at_once() {
    let mut world = World::new();
    let nobody: IpAddr = "100.64.9.9".parse().expect("literal");
    let packet = assemble(tailnet_address(A), nobody, PROTOCOL_UDP, &[0; 8]).expect("one family");
    let now = world.now;
    world.sides[A].node.handle_tun(LocalPacket::Single(&packet), now);
    let error = world.sides[A].node.poll_tun().expect("an ICMP error");
    let error = Packet::parse(error.parts().next().expect("a part")).expect("well formed");
    assert_eq!(error.transport, Transport::Icmp(IcmpKind::Error));
    assert_eq!(drops(&world, A, DropReason::NoRoute), 1);
}

#[test]
fn packets_wait_for_a_handshake_within_bounds() {
    let mut world = World::without_endpoints();
    let now = world.now;
    let packet = udp(A);
    for _ in 0..1000 {
        world.sides[A].node.handle_tun(LocalPacket::Single(&packet), now);
    }
    assert_eq!(drops(&world, A, DropReason::HandshakeQueue), 1000 - MAX_WAITING_PACKETS as u64);
    world.settle();
    assert_eq!(world.sides[B].delivered.len(), MAX_WAITING_PACKETS);
}

#[test]
fn a_peer_that_left_is_not_heard_and_not_reached() {
    let mut world = World::new();
    assert!(world.reaches(A));
    world.tell(B, MapResponse { peers_removed: vec![NodeId(1)], ..MapResponse::default() });
    assert!(!world.reaches(A));
    assert!(drops(&world, B, DropReason::WireGuardSession) > 0);
    world.send(B, &udp(B));
    assert_eq!(drops(&world, B, DropReason::NoRoute), 1);
    let mut expired = world.map_entry(A);
    expired.expired = true;
    world.tell(B, MapResponse { peers_changed: vec![expired], ..MapResponse::default() });
    assert!(!world.reaches(A), "an expired key is as good as none");
}

#[test]
fn a_new_node_key_is_a_new_peer() {
    let mut world = World::new();
    assert!(world.reaches(A));
    let key = NodePrivate::generate(&mut SeededRng::new([9; 32])).public();
    let patch = PeerChange { node_id: NodeId(1), key: Some(key), ..PeerChange::default() };
    world.tell(B, MapResponse { peers_changed_patch: vec![patch], ..MapResponse::default() });
    assert!(!world.reaches(A));
    let back = PeerChange { node_id: NodeId(1), key: Some(world.sides[A].public()), ..PeerChange::default() };
    world.tell(B, MapResponse { peers_changed_patch: vec![back], ..MapResponse::default() });
    assert!(world.reaches(B), "a new session with the right key");
}

#[test]
fn a_new_disco_key_resets_the_path_but_not_the_session() {
    let mut world = World::new();
    world.advance(5 * SECOND, true);
    let key = DiscoPrivate::generate(&mut SeededRng::new([9; 32])).public();
    let patch = PeerChange { node_id: NodeId(1), disco_key: Some(key), ..PeerChange::default() };
    world.tell(B, MapResponse { peers_changed_patch: vec![patch], ..MapResponse::default() });
    assert!(!world.is_direct(B) && world.reaches(B), "by the relay, as A does not have that key");
    assert!(drops(&world, B, DropReason::DiscoStranger) > 0 || drops(&world, A, DropReason::DiscoForged) > 0);
}

#[test]
fn a_peer_that_began_anew_is_reached_at_once() {
    let mut world = World::new();
    world.advance(5 * SECOND, true);
    world.restart(B);
    assert!(world.reaches(A), "not only after WireGuard gave the old session up");
    assert!(world.is_direct(A) && world.is_direct(B));
}

#[test]
fn a_disco_key_told_inside_the_tunnel_is_taken_from_its_owner() {
    let mut world = World::new();
    world.advance(5 * SECOND, true);
    let key = DiscoPrivate::generate(&mut SeededRng::new([9; 32])).public();
    let told = Tsmp::DiscoKey(key).encode();
    let packet = assemble(tailnet_address(A), tailnet_address(B), PROTOCOL_TSMP, &told);
    world.send(A, &packet.expect("one family"));
    assert!(!world.is_direct(B), "the path begins anew");
    assert_eq!(drops(&world, B, DropReason::TsmpUnexpected), 0);
}

#[test]
fn bytes_are_counted_by_path() {
    let mut world = World::new();
    world.udp_blocked = true;
    assert!(world.reaches(A));
    let by_relay = world.sides[A].node.reports(world.now).next().expect("one peer").counters;
    assert!(by_relay.sent_relay > 0 && by_relay.received_relay > 0 && by_relay.received_direct == 0);
    assert_eq!(by_relay.handshakes, 1);
    world.udp_blocked = false;
    world.advance(6 * SECOND, true);
    let both = world.sides[A].node.reports(world.now).next().expect("one peer").counters;
    assert!(both.sent_direct > 0 && both.received_direct > 0);
}

#[test]
fn timers_ask_to_be_called_only_while_there_is_something_to_do() {
    let mut world = World::new();
    assert_eq!(world.sides[A].node.poll_timeout(), None);
    assert!(world.reaches(A));
    let (due, reason) = world.sides[A].node.poll_timeout().expect("a session has timers");
    assert!(due > world.now && !reason.is_empty());
    world.sides[A].node.handle_timeout(world.now);
    assert_eq!(
        world.sides[A].node.poll_timeout().map(|(due, _)| due),
        Some(due),
        "too early: nothing happens"
    );
}
