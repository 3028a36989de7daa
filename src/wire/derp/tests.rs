use proptest::prelude::*;

use super::*;
use crate::base::rng::SeededRng;
use crate::wire::key::{NodePrivate, NodePublic};
use std::time::Duration;

const NONCE_BYTES: [u8; 24] = [7; 24];

fn parse_all(buffer: &mut FrameBuffer, bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    buffer.push(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = buffer.poll_frame().expect("frames within limits") {
        frames.push((frame.kind, frame.body.to_vec()));
    }
    frames
}

#[test]
fn client_frames_have_the_bytes_of_the_protocol() {
    let key = NodePublic::from_bytes([0xaa; 32]);
    let mut out = Vec::new();
    ClientFrame::SendPacket { destination: key, packet: b"hi" }.encode(&mut out);
    assert_eq!(out[..5], [0x04, 0, 0, 0, 34]);
    assert_eq!(out[5..37], [0xaa; 32]);
    assert_eq!(&out[37..], b"hi");
    let mut out = Vec::new();
    ClientFrame::NotePreferred(true).encode(&mut out);
    assert_eq!(out, [0x07, 0, 0, 0, 1, 1]);
}

#[test]
fn server_frames_have_the_bytes_of_the_protocol() {
    let key = NodePublic::from_bytes([0xbb; 32]);
    let mut out = Vec::new();
    ServerFrame::ServerKey(key).encode(&mut out);
    assert_eq!(out[..13], [0x01, 0, 0, 0, 40, 0x44, 0x45, 0x52, 0x50, 0xf0, 0x9f, 0x94, 0x91]);
    let mut out = Vec::new();
    ServerFrame::PeerGone { peer: key, reason: PeerGoneReason::NotHere }.encode(&mut out);
    assert_eq!((out[..5].to_vec(), out[37]), (vec![0x08, 0, 0, 0, 33], 1));
}

#[test]
fn both_directions_survive_a_round_trip() {
    let key = NodePublic::from_bytes([1; 32]);
    let from_client = [
        ClientFrame::Info { key, nonce: NONCE_BYTES, sealed: b"sealed" },
        ClientFrame::SendPacket { destination: key, packet: b"" },
        ClientFrame::NotePreferred(false),
        ClientFrame::Ping(*b"12345678"),
        ClientFrame::Pong(*b"87654321"),
    ];
    let from_server = [
        ServerFrame::ServerKey(key),
        ServerFrame::Info { nonce: NONCE_BYTES, sealed: b"sealed" },
        ServerFrame::RecvPacket { source: key, packet: b"payload" },
        ServerFrame::KeepAlive,
        ServerFrame::PeerGone { peer: key, reason: PeerGoneReason::Other(9) },
        ServerFrame::Health(b"slow"),
        ServerFrame::Restarting { reconnect_in: Duration::from_secs(1), try_for: Duration::from_mins(1) },
    ];
    for frame in from_client {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let raw = &parse_all(&mut FrameBuffer::of_client(), &bytes)[0];
        assert_eq!(ClientFrame::parse(RawFrame { kind: raw.0, body: &raw.1 }), Ok(frame));
    }
    for frame in from_server {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let raw = &parse_all(&mut FrameBuffer::of_server(), &bytes)[0];
        assert_eq!(ServerFrame::parse(RawFrame { kind: raw.0, body: &raw.1 }), Ok(frame));
    }
}

#[test]
fn short_bodies_are_refused_and_long_ones_tolerated() {
    let ping = |body| ClientFrame::parse(RawFrame { kind: 0x12, body });
    assert_eq!(ping(b"1234567"), Err(FrameError::TooShort { kind: 0x12, length: 7 }));
    assert_eq!(ping(b"12345678 and more"), Ok(ClientFrame::Ping(*b"12345678")));
    let old_peer_gone = ServerFrame::parse(RawFrame { kind: 0x08, body: &[1; 32] });
    let peer = NodePublic::from_bytes([1; 32]);
    assert_eq!(old_peer_gone, Ok(ServerFrame::PeerGone { peer, reason: PeerGoneReason::Disconnected }));
}

#[test]
fn a_foreign_greeting_is_not_a_relay() {
    let frame = RawFrame { kind: 0x01, body: &[0; 40] };
    assert_eq!(ServerFrame::parse(frame), Err(FrameError::BadMagic));
}

#[test]
fn an_introduction_opens_only_for_the_key_that_sealed_it() {
    let mut rng = SeededRng::new([3; 32]);
    let (relay, client) = (NodePrivate::generate(&mut rng), NodePrivate::generate(&mut rng));
    let info = ClientInfo { can_ack_pings: true, ..ClientInfo::default() };
    let sealed = info.seal(&client, relay.public(), &NONCE_BYTES).expect("a real key");
    assert_eq!(ClientInfo::open(&relay, client.public(), &NONCE_BYTES, &sealed), Ok(info));
    let other = NodePrivate::generate(&mut rng).public();
    assert_eq!(ClientInfo::open(&relay, other, &NONCE_BYTES, &sealed), Err(InfoError::BadSeal));
    assert_eq!(
        ClientInfo::open(&relay, NodePublic::default(), &NONCE_BYTES, &sealed),
        Err(InfoError::BadSeal)
    );
    let answer = ServerInfo::default().seal(&relay, client.public(), &NONCE_BYTES).expect("a real key");
    assert_eq!(
        ServerInfo::open(&client, relay.public(), &NONCE_BYTES, &answer),
        Ok(ServerInfo { version: 2 })
    );
}

#[test]
fn other_versions_are_refused_by_number() {
    let mut rng = SeededRng::new([4; 32]);
    let (relay, client) = (NodePrivate::generate(&mut rng), NodePrivate::generate(&mut rng));
    let info = ClientInfo { version: 1, ..ClientInfo::default() };
    let sealed = info.seal(&client, relay.public(), &NONCE_BYTES).expect("a real key");
    assert_eq!(ClientInfo::open(&relay, client.public(), &NONCE_BYTES, &sealed), Err(InfoError::Version(1)));
}

proptest! {
    #[test]
    fn random_bodies_never_panic(kind: u8, body: Vec<u8>) {
        let _ = ClientFrame::parse(RawFrame { kind, body: &body });
        let _ = ServerFrame::parse(RawFrame { kind, body: &body });
    }

    #[test]
    fn random_seals_never_open(nonce: [u8; 24], sealed: Vec<u8>, key: [u8; 32]) {
        let relay = NodePrivate::from_bytes([9; 32]);
        prop_assert!(ClientInfo::open(&relay, NodePublic::from_bytes(key), &nonce, &sealed).is_err());
    }
}
