use std::time::{Duration, Instant};

use super::*;
use crate::base::rng::SeededRng;
use crate::wire::ip::{PROTOCOL_UDP, assemble};

const SOURCE: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

struct Side {
    identity: Identity,
    session: Session,
    public: NodePublic,
}

fn sides() -> [Side; 2] {
    let mut rng = SeededRng::new([1; 32]);
    let keys = [NodePrivate::generate(&mut rng), NodePrivate::generate(&mut rng)];
    [0, 1].map(|own| {
        let identity = Identity::new(&keys[own]);
        let peer = keys[1 - own].public();
        let session = Session::new(&identity, &peer, PeerIndex([7, 8][own]));
        Side { identity, session, public: keys[own].public() }
    })
}

fn deliver(to: &mut Side, message: &[u8]) -> (Opened, Vec<u8>) {
    let mut room = vec![0; message.len().max(MIN_ROOM)];
    let opened = to.session.open(message, &mut room);
    let (Opened::Packet(length) | Opened::Handshake(length) | Opened::Reply(length)) = opened else {
        return (opened, Vec::new());
    };
    room.truncate(length);
    (opened, room)
}

fn handshake(a: &mut Side, b: &mut Side) {
    let mut room = [0; MIN_ROOM];
    let length = a.session.initiate(&mut room).expect("no handshake is under way");
    let (_, response) = deliver(b, &room[..length]);
    let (_, confirmation) = deliver(a, &response);
    deliver(b, &confirmation);
    assert!(a.session.is_established() && b.session.is_established());
}

fn packet(length: usize) -> Vec<u8> {
    let [a, b] = [[100, 64, 0, 1], [100, 64, 0, 2]].map(IpAddr::from);
    assemble(a, b, PROTOCOL_UDP, &vec![9; length - 20]).expect("one family")
}

fn seal(side: &mut Side, packet: &[u8]) -> Vec<u8> {
    let mut room = vec![0; (packet.len() + SEAL_OVERHEAD).max(MIN_ROOM)];
    let length = side.session.seal(packet, &mut Vec::new(), &mut room).expect("established");
    room.truncate(length);
    room
}

#[test]
fn messages_are_attributed_to_the_sender_and_to_the_session() {
    let [mut a, mut b] = sides();
    let mut room = [0; MIN_ROOM];
    let length = a.session.initiate(&mut room).expect("a first handshake");
    assert_eq!(a.session.initiate(&mut [0; MIN_ROOM]), None, "one is under way");
    let initiation = room[..length].to_vec();
    assert_eq!(b.identity.attribute(&initiation, SOURCE, &mut room), Attribution::Initiation(a.public));
    let (opened, response) = deliver(&mut b, &initiation);
    assert!(matches!(opened, Opened::Handshake(_)));
    assert_eq!(a.identity.attribute(&response, SOURCE, &mut room), Attribution::Session(PeerIndex(7)));
    assert_eq!(deliver(&mut b, &initiation).0, Opened::Refused(DropReason::WireGuardForged), "a replay");
}

#[test]
fn packets_are_padded_and_arrive_without_the_padding_once() {
    let [mut a, mut b] = sides();
    handshake(&mut a, &mut b);
    let plain = packet(33);
    let sealed = seal(&mut a, &plain);
    assert_eq!(sealed.len(), 48 + 32);
    assert_eq!(deliver(&mut b, &sealed), (Opened::Packet(33), plain));
    assert_eq!(deliver(&mut b, &sealed).0, Opened::Refused(DropReason::WireGuardForged), "a replay");
}

#[test]
fn a_thousand_packets_out_of_order_are_still_taken() {
    let [mut a, mut b] = sides();
    handshake(&mut a, &mut b);
    let sealed: Vec<_> = (0..1000).map(|_| seal(&mut a, &packet(64))).collect();
    for message in sealed.iter().rev() {
        assert_eq!(deliver(&mut b, message).0, Opened::Packet(64));
    }
}

#[test]
fn under_load_a_stranger_gets_a_cookie_instead_of_arithmetic() {
    let [mut a, b] = sides();
    let mut room = [0; MIN_ROOM];
    let length = a.session.initiate(&mut room).expect("a first handshake");
    let initiation = room[..length].to_vec();
    let answers: Vec<_> = (0..=MAX_HANDSHAKES_PER_SECOND)
        .map(|_| b.identity.attribute(&initiation, SOURCE, &mut room))
        .collect();
    assert_eq!(answers.first(), Some(&Attribution::Initiation(a.public)));
    assert!(matches!(answers.last(), Some(Attribution::Cookie(64))));
    std::thread::sleep(Duration::from_millis(1100));
    let later = b.identity.attribute(&initiation, SOURCE, &mut room);
    assert_eq!(later, Attribution::Initiation(a.public), "the limit counts per second");
}

#[test]
fn a_wrong_mac_is_refused_before_any_arithmetic() {
    let [mut a, b] = sides();
    let mut room = [0; MIN_ROOM];
    let length = a.session.initiate(&mut room).expect("a first handshake");
    let mut initiation = room[..length].to_vec();
    initiation[20] ^= 1;
    let answer = b.identity.attribute(&initiation, SOURCE, &mut room);
    assert_eq!(answer, Attribution::Refused(DropReason::WireGuardMalformed));
}

/// Guards against the keep-alive ping-pong that boringtun's relatives had.
#[test]
#[ignore = "waits 35 s of real time, because boringtun reads the clock itself"]
fn two_idle_peers_stop_sending() {
    let mut sides = sides();
    let [a, b] = &mut sides;
    handshake(a, b);
    // boringtun tells events apart only when a timer run lies between them.
    std::thread::sleep(Duration::from_millis(50));
    for side in [&mut *a, &mut *b] {
        assert_eq!(side.session.handle_timeout(false, &mut [0; MIN_ROOM]), Tick::Nothing);
    }
    let message = seal(a, &packet(64));
    deliver(b, &message);
    let start = Instant::now();
    let mut sent_at = Vec::new();
    while start.elapsed() < Duration::from_secs(35) {
        for own in [0, 1] {
            let mut room = [0; MIN_ROOM];
            if let Tick::Send(length) = sides[own].session.handle_timeout(false, &mut room) {
                sent_at.push(start.elapsed());
                deliver(&mut sides[1 - own], &room[..length]);
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(sent_at.len(), 1, "one keep-alive answers the packet: {sent_at:?}");
}
