use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn key(number: u8) -> NodePublic {
    NodePublic::from_bytes([number; 32])
}

fn disco_packet() -> Bytes {
    let mut packet = disco::MAGIC.to_vec();
    packet.resize(100, 0);
    packet.into()
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(0xc000_0200 + number).into()
}

fn join(relay: &mut Relay, number: u8) -> ConnectionId {
    let id = relay.handle_open(address(number.into()), Instant::now()).expect("below the limits");
    relay.handle_introduction(id, key(number));
    id
}

fn drain(relay: &mut Relay, id: ConnectionId) -> Vec<Transmit> {
    let mut all = Vec::new();
    while let Some(transmit) = relay.poll_transmit(id) {
        all.push(transmit);
        if all.last() == Some(&Transmit::Close) {
            break;
        }
    }
    all
}

fn packet(source: u8, packet: &'static [u8]) -> Transmit {
    Transmit::Packet { source: key(source), packet: Bytes::from_static(packet) }
}

fn gone(peer: u8, reason: PeerGoneReason) -> Transmit {
    Transmit::PeerGone { peer: key(peer), reason }
}

#[test]
fn a_packet_reaches_its_destination_with_its_source_and_wakes_once() {
    let (mut relay, now) = (Relay::default(), Instant::now());
    let (a, b) = (join(&mut relay, 1), join(&mut relay, 2));
    relay.handle_packet(a, key(2), Bytes::from_static(b"one"), now).expect("b is here");
    relay.handle_packet(a, key(2), Bytes::from_static(b"two"), now).expect("b is here");
    assert_eq!((relay.poll_wake(), relay.poll_wake()), (Some(b), None));
    assert_eq!(drain(&mut relay, b), [packet(1, b"one"), packet(1, b"two")]);
    relay.handle_packet(a, key(2), Bytes::from_static(b"three"), now).expect("b is here");
    assert_eq!(relay.poll_wake(), Some(b));
}

#[test]
fn disco_overtakes_data_and_neither_displaces_the_other() {
    let (mut relay, now) = (Relay::default(), Instant::now());
    let (a, b) = (join(&mut relay, 1), join(&mut relay, 2));
    relay.handle_packet(a, key(2), disco_packet(), now).expect("b is here");
    for _ in 0..queue::MAX_PACKETS {
        relay.handle_packet(a, key(2), Bytes::from_static(b"data"), now).expect("the queue holds as many");
    }
    let overflow = relay.handle_packet(a, key(2), Bytes::from_static(b"data"), now);
    assert_eq!(overflow, Err(DropReason::Overflow(1)));
    let sent = drain(&mut relay, b);
    assert_eq!(sent.len(), queue::MAX_PACKETS + 1);
    assert_eq!(sent[0], Transmit::Packet { source: key(1), packet: disco_packet() });
}

#[test]
fn strangers_cannot_send() {
    let mut relay = Relay::default();
    let stranger = relay.handle_open(address(1), Instant::now()).expect("below the limits");
    let answer = relay.handle_packet(stranger, key(2), Bytes::new(), Instant::now());
    assert_eq!(answer, Err(DropReason::NotIntroduced));
}

#[test]
fn the_most_recently_active_of_two_connections_receives() {
    let (mut relay, now) = (Relay::default(), Instant::now());
    let (a, old, new) = (join(&mut relay, 1), join(&mut relay, 2), join(&mut relay, 2));
    relay.handle_packet(a, key(2), Bytes::from_static(b"x"), now).expect("here");
    assert_eq!((drain(&mut relay, old).len(), drain(&mut relay, new).len()), (0, 1));
    relay.handle_ping(old, [0; 8]);
    drain(&mut relay, old);
    relay.handle_packet(a, key(2), Bytes::from_static(b"x"), now).expect("here");
    assert_eq!((drain(&mut relay, old).len(), drain(&mut relay, new).len()), (1, 0));
    relay.handle_close(old);
    assert_eq!(drain(&mut relay, a), [], "the node is still here");
    relay.handle_packet(a, key(2), Bytes::from_static(b"x"), now).expect("here");
    assert_eq!(drain(&mut relay, new).len(), 1);
}

#[test]
fn both_ends_of_an_exchange_hear_when_the_other_leaves() {
    let (mut relay, now) = (Relay::default(), Instant::now());
    let (a, b, bystander) = (join(&mut relay, 1), join(&mut relay, 2), join(&mut relay, 3));
    relay.handle_packet(a, key(2), Bytes::from_static(b"x"), now).expect("here");
    drain(&mut relay, b);
    relay.handle_close(a);
    assert_eq!(drain(&mut relay, b), [gone(1, PeerGoneReason::Disconnected)]);
    assert_eq!(drain(&mut relay, bystander), []);
    let a = join(&mut relay, 1);
    relay.handle_packet(a, key(2), Bytes::from_static(b"x"), now).expect("here");
    relay.handle_close(b);
    assert_eq!(drain(&mut relay, a), [gone(2, PeerGoneReason::Disconnected)]);
}

#[test]
fn absence_is_reported_to_path_discovery_only_and_seldom() {
    let (mut relay, now) = (Relay::default(), Instant::now());
    let a = join(&mut relay, 1);
    let data = relay.handle_packet(a, key(9), Bytes::from_static(b"data"), now);
    assert_eq!(data, Err(DropReason::NotHere));
    assert_eq!(drain(&mut relay, a), []);
    for _ in 0..10 {
        let disco = relay.handle_packet(a, key(9), disco_packet(), now);
        assert_eq!(disco, Err(DropReason::NotHere));
    }
    assert_eq!(drain(&mut relay, a), vec![gone(9, PeerGoneReason::NotHere); 3]);
    let later = now + Duration::from_secs(1);
    let _ = relay.handle_packet(a, key(9), disco_packet(), later);
    assert_eq!(drain(&mut relay, a).len(), 1);
}

#[test]
fn a_departed_node_is_closed_and_its_peers_hear_at_once() {
    let (mut relay, now) = (Relay::default(), Instant::now());
    let (a, b) = (join(&mut relay, 1), join(&mut relay, 2));
    relay.handle_packet(a, key(2), Bytes::from_static(b"x"), now).expect("here");
    while relay.poll_wake().is_some() {}
    relay.handle_departure(key(1));
    assert_eq!(drain(&mut relay, a), [Transmit::Close]);
    let sent = drain(&mut relay, b);
    assert_eq!(sent, [gone(1, PeerGoneReason::Disconnected), packet(1, b"x")]);
    assert_eq!(relay.handle_packet(b, key(1), Bytes::from_static(b"x"), now), Err(DropReason::NotHere));
    let echo = relay.handle_packet(a, key(2), Bytes::from_static(b"x"), now);
    assert_eq!(echo, Err(DropReason::NotIntroduced));
}

#[test]
fn the_node_of_this_process_cannot_be_expelled() {
    let mut relay = Relay::default();
    let port = relay.handle_attach(key(1));
    for _ in 0..2 * MAX_PER_KEY {
        join(&mut relay, 1);
    }
    relay.handle_departure(key(1));
    assert_eq!(relay.poll_transmit(port), None);
}

#[test]
fn the_least_active_connection_of_a_crowded_key_is_closed() {
    let mut relay = Relay::default();
    let ids: Vec<_> = (0..=MAX_PER_KEY).map(|_| join(&mut relay, 1)).collect();
    assert_eq!(relay.poll_transmit(ids[0]), Some(Transmit::Close));
    assert!(ids[1..].iter().all(|id| relay.poll_transmit(*id).is_none()));
}

#[test]
fn limits_hold_per_source_and_in_total() {
    let (mut relay, start) = (Relay::default(), Instant::now());
    for _ in 0..MAX_STRANGERS_PER_SOURCE {
        relay.handle_open(address(0), start).expect("below the limit");
    }
    assert_eq!(relay.handle_open(address(0), start), Err(Full::Source));
    let mut relay = Relay::default();
    for _ in 0..MAX_PER_SOURCE {
        join(&mut relay, 1);
    }
    assert_eq!(relay.handle_open(address(1), start), Err(Full::Source));
}

#[test]
fn strangers_cannot_keep_others_out_for_long() {
    let (mut relay, start) = (Relay::default(), Instant::now());
    let own = join(&mut relay, 1);
    let strangers: Vec<_> = (0..MAX_STRANGERS)
        .map(|n| relay.handle_open(address(100 + u32::try_from(n).expect("small")), start).expect("room"))
        .collect();
    assert_eq!(relay.handle_open(address(5000), start), Err(Full::Strangers), "they have just come");
    let newcomer = relay.handle_open(address(5000), start + STRANGER_TIME).expect("the oldest leaves");
    assert_eq!(relay.poll_wake(), Some(strangers[0]));
    assert!(relay.is_closing(strangers[0]) && !relay.is_closing(strangers[1]) && !relay.is_closing(own));
    relay.handle_introduction(strangers[0], key(2));
    let answer = relay.handle_packet(own, key(2), Bytes::from_static(b"x"), start);
    assert_eq!(answer, Err(DropReason::NotHere), "too late");
    relay.handle_introduction(newcomer, key(2));
    assert_eq!(relay.handle_packet(own, key(2), Bytes::from_static(b"x"), start), Ok(()));
}

#[test]
fn only_the_last_ping_is_answered() {
    let mut relay = Relay::default();
    let a = join(&mut relay, 1);
    relay.handle_ping(a, [1; 8]);
    relay.handle_ping(a, [2; 8]);
    assert_eq!(drain(&mut relay, a), [Transmit::Pong([2; 8])]);
}

#[derive(Debug, Clone)]
enum Step {
    Join(u8),
    Send(usize, u8, bool),
    Drain(usize),
    Close(usize),
    Depart(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..5_u8).prop_map(Step::Join),
        (0..8_usize, 1..6_u8, any::<bool>()).prop_map(|(from, to, disco)| Step::Send(from, to, disco)),
        (0..8_usize).prop_map(Step::Drain),
        (0..8_usize).prop_map(Step::Close),
        (1..5_u8).prop_map(Step::Depart),
    ]
}

proptest! {
    /// The routing table names exactly the open, introduced, not expelled connections, and every connection with
    /// something to write has been named by a wake since it last ran dry.
    #[test]
    fn the_tables_agree_after_any_history(steps in prop::collection::vec(step(), 0..100)) {
        let (mut relay, now) = (Relay::default(), Instant::now());
        let mut ids = Vec::new();
        let mut told = std::collections::BTreeSet::new();
        for step in steps {
            match step {
                Step::Join(number) => ids.push(join(&mut relay, number)),
                Step::Send(from, to, is_disco) => if let Some(id) = ids.get(from) {
                    let packet = if is_disco { disco_packet() } else { Bytes::from_static(b"data") };
                    let _ = relay.handle_packet(*id, key(to), packet, now);
                },
                Step::Drain(index) => if let Some(id) = ids.get(index) {
                    let written = drain(&mut relay, *id);
                    prop_assert!(written.is_empty() || told.remove(id) || written == [Transmit::Close]);
                },
                Step::Close(index) => if index < ids.len() { relay.handle_close(ids.swap_remove(index)) },
                Step::Depart(number) => relay.handle_departure(key(number)),
            }
            while let Some(id) = relay.poll_wake() {
                told.insert(id);
            }
            let routed: usize = relay.by_key.values().map(Vec::len).sum();
            let open = relay.connections.values().filter(|c| c.key.is_some() && !c.closing).count();
            prop_assert_eq!(routed, open);
            prop_assert!(relay.by_key.values().all(|ids| !ids.is_empty()));
        }
    }
}
