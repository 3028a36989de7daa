use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::wire::derp::{ClientFrame, ClientInfo, FrameBuffer, PeerGoneReason, ServerFrame, ServerInfo};

fn private(number: u8) -> NodePrivate {
    NodePrivate::from_bytes([number; 32])
}

fn public(number: u8) -> NodePublic {
    private(number).public()
}

/// A relay that admits every key but number 66.
fn relay() -> RelayServer {
    let metrics = RelayMetrics::new(&mut Registry::default());
    RelayServer::new(private(200), Arc::new(|node| node != public(66)), metrics)
}

/// A client's end, by our own client-side codec.
struct Client {
    io: DuplexStream,
    frames: FrameBuffer,
}

/// A frame without its borrow.
#[derive(Debug, PartialEq)]
enum Heard {
    Packet(NodePublic, Vec<u8>),
    Gone(NodePublic, PeerGoneReason),
    KeepAlive,
    Pong([u8; 8]),
    Other,
}

impl Client {
    /// `pipe`: bytes that fit between relay and client.
    async fn connect(relay: &RelayServer, number: u8, pipe: usize) -> Option<Self> {
        let mut client = Self::arrive(relay, number, pipe);
        let server_key = client.greeting().await?;
        let nonce = [1; 24];
        let sealed = ClientInfo::default().seal(&private(number), server_key, &nonce)?;
        client.write(&ClientFrame::Info { key: public(number), nonce, sealed: &sealed }).await;
        let info = client
            .read(|frame| match frame {
                ServerFrame::Info { nonce, sealed } => {
                    ServerInfo::open(&private(number), server_key, &nonce, sealed).ok()
                }
                _ => None,
            })
            .await??;
        assert_eq!(info.version, 2);
        Some(client)
    }

    fn arrive(relay: &RelayServer, number: u8, pipe: usize) -> Self {
        let (io, server_io) = tokio::io::duplex(pipe);
        let relay = relay.clone();
        tokio::spawn(async move { relay.serve(server_io, ([192, 0, 2, number], 1).into()).await });
        Self { io, frames: FrameBuffer::of_server() }
    }

    async fn greeting(&mut self) -> Option<NodePublic> {
        self.read(|frame| match frame {
            ServerFrame::ServerKey(key) => Some(key),
            _ => None,
        })
        .await?
    }

    async fn write(&mut self, frame: &ClientFrame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.io.write_all(&bytes).await.expect("the relay reads");
    }

    /// The next frame through `look`; `None` when the relay hung up.
    async fn read<T>(&mut self, look: impl FnOnce(ServerFrame<'_>) -> T) -> Option<T> {
        loop {
            if let Some(frame) = self.frames.poll_frame().expect("well-formed") {
                return Some(look(ServerFrame::parse(frame).expect("well-formed")));
            }
            if self.io.read_buf(self.frames.space()).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn hear(&mut self) -> Option<Heard> {
        self.read(|frame| match frame {
            ServerFrame::RecvPacket { source, packet } => Heard::Packet(source, packet.to_vec()),
            ServerFrame::PeerGone { peer, reason } => Heard::Gone(peer, reason),
            ServerFrame::KeepAlive => Heard::KeepAlive,
            ServerFrame::Pong(data) => Heard::Pong(data),
            _ => Heard::Other,
        })
        .await
    }

    async fn send(&mut self, destination: u8, packet: &[u8]) {
        self.write(&ClientFrame::SendPacket { destination: public(destination), packet }).await;
    }
}

async fn connected(relay: &RelayServer, number: u8) -> Client {
    Client::connect(relay, number, 1 << 20).await.expect("admitted")
}

#[tokio::test]
async fn a_packet_crosses_and_the_leaving_is_told() {
    let relay = relay();
    let (mut a, mut b) = (connected(&relay, 1).await, connected(&relay, 2).await);
    a.send(2, b"hello").await;
    assert_eq!(b.hear().await, Some(Heard::Packet(public(1), b"hello".to_vec())));
    b.send(1, &vec![7; 64 << 10]).await;
    assert_eq!(a.hear().await, Some(Heard::Packet(public(2), vec![7; 64 << 10])));
    drop(a);
    assert_eq!(b.hear().await, Some(Heard::Gone(public(1), PeerGoneReason::Disconnected)));
}

#[tokio::test]
async fn unknown_frames_are_skipped_and_pings_answered() {
    let relay = relay();
    let mut a = connected(&relay, 1).await;
    a.io.write_all(&[0x99, 0, 0, 0, 3, 1, 2, 3, 0x02, 0, 0, 0, 56]).await.expect("the relay reads");
    a.io.write_all(&[0; 56]).await.expect("the relay reads");
    a.write(&ClientFrame::NotePreferred(true)).await;
    a.write(&ClientFrame::Ping(*b"12345678")).await;
    assert_eq!(a.hear().await, Some(Heard::Pong(*b"12345678")));
}

#[tokio::test]
async fn a_key_that_is_not_admitted_gets_no_server_info() {
    assert!(Client::connect(&relay(), 66, 1 << 20).await.is_none());
}

#[tokio::test]
async fn a_key_cannot_be_claimed_without_its_private_half() {
    let relay = relay();
    let mut thief = Client::arrive(&relay, 1, 1 << 20);
    let server_key = thief.greeting().await.expect("a greeting");
    let sealed = ClientInfo::default().seal(&private(1), server_key, &[0; 24]).expect("a real key");
    thief.write(&ClientFrame::Info { key: public(2), nonce: [0; 24], sealed: &sealed }).await;
    assert_eq!(thief.hear().await, None);
}

#[tokio::test(start_paused = true)]
async fn silence_at_the_door_ends_after_ten_seconds() {
    let relay = relay();
    let mut stranger = Client::arrive(&relay, 1, 1 << 20);
    stranger.greeting().await.expect("a greeting");
    let start = tokio::time::Instant::now();
    assert_eq!(stranger.hear().await, None);
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_hears_a_keep_alive_each_minute() {
    let relay = relay();
    let mut a = connected(&relay, 1).await;
    let start = tokio::time::Instant::now();
    assert_eq!(a.hear().await, Some(Heard::KeepAlive));
    assert_eq!(a.hear().await, Some(Heard::KeepAlive));
    assert!((120..=130).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

/// The pipe to the slow reader holds a few packets, its queue 32; of a thousand the newest arrive and nothing is kept.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_loses_the_oldest_packets() {
    let relay = relay();
    let mut a = connected(&relay, 1).await;
    let mut slow = Client::connect(&relay, 2, 256).await.expect("admitted");
    for number in 0..1000_u16 {
        a.send(2, &number.to_be_bytes().repeat(50)).await;
    }
    a.write(&ClientFrame::Ping([0; 8])).await;
    assert_eq!(a.hear().await, Some(Heard::Pong([0; 8])), "every packet before the ping was taken in");
    let mut arrived = Vec::new();
    while arrived.last() != Some(&999) {
        let Some(Heard::Packet(_, packet)) = slow.hear().await else { panic!("only packets") };
        arrived.push(u16::from_be_bytes([packet[0], packet[1]]));
    }
    assert!(arrived.len() < 300, "{} packets were kept", arrived.len());
    assert!(arrived.is_sorted());
    assert_eq!(arrived[arrived.len() - 32..], (968..1000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stands_still_is_let_go_and_its_peer_told() {
    let relay = relay();
    let mut a = connected(&relay, 1).await;
    let _still = Client::connect(&relay, 2, 256).await.expect("admitted");
    let start = tokio::time::Instant::now();
    a.send(2, &[0; 1000]).await;
    assert_eq!(a.hear().await, Some(Heard::Gone(public(2), PeerGoneReason::Disconnected)));
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test]
async fn a_departed_node_is_hung_up_on() {
    let relay = relay();
    let mut a = connected(&relay, 1).await;
    relay.disconnect(public(1));
    assert_eq!(a.hear().await, None);
}

#[tokio::test]
async fn the_node_of_this_process_sends_and_receives_by_channels() {
    let relay = relay();
    let mut port = relay.attach(public(100));
    let mut a = connected(&relay, 1).await;
    a.send(100, b"to the gateway").await;
    assert_eq!(port.inbound.recv().await, Some((public(1), Bytes::from_static(b"to the gateway"))));
    let too_long = Bytes::from(vec![0; (64 << 10) + 1]);
    port.outbound.send((public(1), too_long)).await.expect("attached");
    port.outbound.send((public(1), Bytes::from_static(b"back"))).await.expect("attached");
    assert_eq!(a.hear().await, Some(Heard::Packet(public(100), b"back".to_vec())));
    drop(port);
    assert_eq!(a.hear().await, Some(Heard::Gone(public(100), PeerGoneReason::Disconnected)));
}

#[tokio::test]
async fn a_node_that_does_not_receive_can_still_send() {
    let relay = relay();
    let port = relay.attach(public(100));
    let mut a = connected(&relay, 1).await;
    for _ in 0..500 {
        a.send(100, b"unread").await;
    }
    a.write(&ClientFrame::Ping([0; 8])).await;
    assert_eq!(a.hear().await, Some(Heard::Pong([0; 8])));
    port.outbound.send((public(1), Bytes::from_static(b"out"))).await.expect("attached");
    assert_eq!(a.hear().await, Some(Heard::Packet(public(100), b"out".to_vec())));
}

#[tokio::test]
async fn seats_are_given_back() {
    let relay = relay();
    for _ in 0..=crate::coordinator::core::relay::MAX_CONNECTIONS {
        let client = Client::connect(&relay, 1, 4096).await;
        drop(client.expect("a seat"));
        while relay.state().relay.connection_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
    assert!(relay.state().writers.is_empty());
}
