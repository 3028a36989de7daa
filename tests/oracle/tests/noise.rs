//! The Noise handshake and its records, each side once ours and once theirs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use genkan::base::rng::SeededRng;
use genkan::coordinator::noise_stream::NoiseStream;
use genkan::wire::key::{MachinePrivate, MachinePublic};
use genkan::wire::noise::{Initiation, Initiator, respond};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex};
use tokio_util::codec::Framed;
use ts_capabilityversion::CapabilityVersion;
use ts_control_noise::{BiCodec, Handshake};
use ts_keys::{MachineKeyPair, MachinePublicKey};
use ts_noise::ik::ReceivedHandshake;

const PROLOGUE: &str = "Tailscale Control Protocol v130";

/// Empty, small, a full record, more than a record, more than all buffers.
const SIZES: [usize; 6] = [0, 1, 4077, 4078, 9000, 100_000];

#[tokio::test]
async fn their_client_speaks_with_our_server() {
    let mut rng = SeededRng::new([1; 32]);
    let server = MachinePrivate::generate(&mut rng);
    let client = MachineKeyPair::random();
    let server_public = MachinePublicKey::from_bytes(*server.public().as_bytes());
    let (handshake, header) =
        Handshake::initialize(PROLOGUE, &client, &server_public, CapabilityVersion::V130);

    let first = STANDARD.decode(header).expect("base64");
    let initiation = Initiation::decode(&first).expect("an initiation");
    assert_eq!(initiation.capability, 130);
    let accepted = respond(&server, &initiation, &mut rng).expect("made for this server");
    assert_eq!(accepted.peer, MachinePublic::from_bytes(client.public.to_x25519_dalek().to_bytes()));

    let (near, mut far) = duplex(4096);
    far.write_all(&accepted.response).await.expect("room");
    let theirs = handshake.complete(near, &client).await.expect("their side agrees");
    exchange(theirs, NoiseStream::new(far, accepted.transport)).await;
}

#[tokio::test]
async fn our_client_speaks_with_their_server() {
    let mut rng = SeededRng::new([2; 32]);
    let own = MachinePrivate::generate(&mut rng);
    let server = MachineKeyPair::random().to_x25519_dalek();
    let server_public = MachinePublic::from_bytes(server.public.to_bytes());
    let (initiator, mut first) =
        Initiator::start(130, own.clone(), server_public, &mut rng).expect("a good key");

    let received =
        ReceivedHandshake::new(&mut first[5..], PROLOGUE.as_bytes(), &server).expect("their side agrees");
    assert_eq!(received.peer_static_pub.as_bytes(), own.public().as_bytes());
    let mut response = [0; 51];
    response[..3].copy_from_slice(&[2, 0, 48]);
    let session = received.finish(&mut response[3..]);

    let (near, far) = duplex(4096);
    let mut ours = NoiseStream::new(near, initiator.finish(&response).expect("from this server"));
    let mut theirs = Framed::new(far, BiCodec::from(session));
    for size in SIZES {
        let sent = pattern(size);
        let (received, ()) = tokio::join!(collect(&mut theirs, size), send(&mut ours, &sent));
        assert!(received == sent, "{size} bytes to them");
        let mut received = vec![0; size];
        let (written, read) = tokio::join!(theirs.send(&sent), ours.read_exact(&mut received));
        written.expect("written");
        read.expect("all of it");
        assert!(received == sent, "{size} bytes from them");
    }
}

/// Sends every size both ways between two streams.
async fn exchange(
    mut left: impl AsyncRead + AsyncWrite + Unpin,
    mut right: impl AsyncRead + AsyncWrite + Unpin,
) {
    for size in SIZES {
        let sent = pattern(size);
        let mut received = vec![0; size];
        let ((), read) = tokio::join!(send(&mut left, &sent), right.read_exact(&mut received));
        read.expect("all of it");
        assert!(received == sent, "{size} bytes to us");
        received.fill(0);
        let ((), read) = tokio::join!(send(&mut right, &sent), left.read_exact(&mut received));
        read.expect("all of it");
        assert!(received == sent, "{size} bytes to them");
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    stream.write_all(bytes).await.expect("written");
    stream.flush().await.expect("flushed");
}

async fn collect(
    stream: &mut (impl StreamExt<Item = std::io::Result<BytesMut>> + Unpin),
    size: usize,
) -> Vec<u8> {
    let mut received = Vec::new();
    while received.len() < size {
        received.extend_from_slice(&stream.next().await.expect("open").expect("a good record"));
    }
    received
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|index| u8::try_from(index % 251).expect("below 251")).collect()
}
