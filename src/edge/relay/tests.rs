//! Both engines against real sockets on loopback.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use prometheus_client::registry::Registry;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::base::ceilings::Ceilings;
use crate::edge::core::route::{Transport, Upstream};
use crate::edge::metrics::{Dial, EdgeMetrics, Route, RouteReason};

/// Far beyond what anything here takes; a test that reaches it hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(20);

fn threads(count: usize) -> Vec<PacketThread> {
    (0..count).map(|_| PacketThread::start("relay").expect("a thread")).collect()
}

/// Runs one story on the `io_uring` engine and on the other.
pub(super) async fn on_both(story: impl AsyncFn(&dyn Relay, RelayMetrics)) {
    let rng = || SeededRng::new([3; 32]);
    let metrics = || EdgeMetrics::new(&mut Registry::default()).relay;
    let counted = metrics();
    match UringRelay::new(&threads(1), &counted, rng(), &RollCall::default()) {
        Ok(relay) => patient(story(&relay, counted)).await,
        Err(error) => eprintln!("no io_uring here ({error}): only the other engine is tested"),
    }
    let counted = metrics();
    patient(story(&CopyRelay::new(counted.clone(), rng()), counted)).await;
}

pub(super) async fn patient<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("hangs")
}

pub(super) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(super) fn upstream(address: SocketAddr) -> Upstream {
    Upstream { transport: Transport::Tcp, host: address.ip().to_string(), port: address.port() }
}

pub(super) fn route(upstreams: &[SocketAddr]) -> RelayRoute {
    let mut route =
        RelayRoute::new("test", loopback(), upstreams.iter().map(|&address| upstream(address)).collect());
    route.selection = crate::edge::core::balance::Selection::First;
    route
}

pub(super) async fn service() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(loopback()).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// A client and the server's end of one relayed connection.
pub(super) async fn pair(handle: &RelayHandle, service: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(handle.local_address()).await.expect("the relay listens");
    let (server, _) = service.accept().await.expect("the relay dials");
    (client, server)
}

pub(super) async fn assert_passes(from: &mut TcpStream, to: &mut TcpStream, text: &[u8]) {
    from.write_all(text).await.expect("written");
    let mut heard = vec![0; text.len()];
    to.read_exact(&mut heard).await.expect("passed on");
    assert_eq!(heard, text);
}

async fn assert_reset(stream: &mut TcpStream) {
    let error = stream.read(&mut [0; 1]).await.expect_err("reset, not a clean end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// The relay accepts and resets at once, which a client may see at its connect already.
async fn assert_turned_away(handle: &RelayHandle) {
    match TcpStream::connect(handle.local_address()).await {
        Ok(mut client) => assert_reset(&mut client).await,
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

/// Waits for something that another thread does, without a clock deciding the outcome.
pub(super) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    eprintln!("reached: {what}");
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_end_closes_on_its_own() {
    on_both(async |relay, metrics| {
        let (service, address) = service().await;
        let handle = relay.start(route(&[address])).expect("starts");
        for client_first in [true, false] {
            let (mut client, mut server) = pair(&handle, &service).await;
            assert_passes(&mut client, &mut server, b"ping").await;
            assert_passes(&mut server, &mut client, b"pong").await;
            let (first, second) =
                if client_first { (&mut client, &mut server) } else { (&mut server, &mut client) };
            first.shutdown().await.expect("half closed");
            assert_eq!(second.read(&mut [0; 1]).await.expect("a clean end"), 0);
            assert_passes(second, first, b"still talking").await;
            second.shutdown().await.expect("closed");
            assert_eq!(first.read(&mut [0; 1]).await.expect("a clean end"), 0);
        }
        eventually("both closed", || handle.open() == 0).await;
        let finished = RouteReason { route: "test".into(), reason: "finished" };
        eventually("counted", || metrics.closed.get_or_create(&finished).get() == 2).await;
        let labels = Route { route: "test".into() };
        assert_eq!(metrics.accepted.get_or_create(&labels).get(), 2);
        assert_eq!(metrics.open.get_or_create(&labels).get(), 0);
    })
    .await;
}

/// Bytes that repeat only after a prime number, so that a lost or doubled buffer shows; longer than any part compared.
fn pattern() -> Vec<u8> {
    (0..251).cycle().take(60_000 + 251).collect()
}

async fn write_pattern(stream: &mut (impl AsyncWriteExt + Unpin), total: usize) {
    let pattern = pattern();
    for from in (0..total).step_by(60_000) {
        let part = &pattern[from % 251..][..60_000.min(total - from)];
        stream.write_all(part).await.expect("written");
    }
    stream.shutdown().await.expect("finished");
}

async fn read_pattern(stream: &mut (impl AsyncReadExt + Unpin)) -> usize {
    let (mut total, mut buffer, pattern) = (0, vec![0; 50_000], pattern());
    loop {
        let count = stream.read(&mut buffer).await.expect("read");
        assert!(buffer[..count] == pattern[total % 251..][..count], "bytes differ after {total}");
        total += count;
        if count == 0 {
            return total;
        }
    }
}

#[tokio::test]
async fn a_slow_reader_stops_its_sender_and_loses_nothing() {
    const TOTAL: usize = 48 << 20;
    on_both(async |relay, metrics| {
        let (service, address) = service().await;
        let handle = relay.start(route(&[address])).expect("starts");
        let (mut client, mut server) = pair(&handle, &service).await;
        let (mut client_read, mut client_write) = client.split();
        let (mut server_read, mut server_write) = server.split();
        let mut up = std::pin::pin!(write_pattern(&mut client_write, TOTAL));
        let mut down = std::pin::pin!(write_pattern(&mut server_write, TOTAL));
        // Nobody reads: what the kernel holds for four sockets is far less than the total, so both writers get stuck.
        let stuck = Duration::from_millis(500);
        let early = tokio::time::timeout(stuck, async { tokio::join!(&mut up, &mut down) }).await;
        assert!(early.is_err(), "the relay swallowed everything");
        assert!(metrics.chunks.get() <= 2, "{} buffers for one connection", metrics.chunks.get());
        let (heard_up, heard_down, (), ()) =
            tokio::join!(read_pattern(&mut server_read), read_pattern(&mut client_read), up, down);
        assert_eq!((heard_up, heard_down), (TOTAL, TOTAL));
        let most = metrics.chunks_high_water.get();
        assert!(most <= 2, "{most} buffers for one connection");
    })
    .await;
}

#[tokio::test]
async fn a_reset_is_passed_on_as_a_reset() {
    on_both(async |relay, _| {
        let (service, address) = service().await;
        let handle = relay.start(route(&[address])).expect("starts");
        for client_first in [true, false] {
            let (mut client, mut server) = pair(&handle, &service).await;
            assert_passes(&mut client, &mut server, b"hello").await;
            let (first, mut second) = if client_first { (client, server) } else { (server, client) };
            socket::reset_on_close(&first);
            drop(first);
            assert_reset(&mut second).await;
        }
        eventually("both closed", || handle.open() == 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_refusing_upstream_is_passed_over_and_none_at_all_resets_the_client() {
    on_both(async |relay, metrics| {
        let (service, address) = service().await;
        let (refusing, dead) = self::service().await;
        drop(refusing);
        let handle = relay.start(route(&[dead, address])).expect("starts");
        let (mut client, mut server) = pair(&handle, &service).await;
        assert_passes(&mut client, &mut server, b"here").await;
        let dial = Dial { route: "test".into(), upstream: dead.to_string(), outcome: "refused" };
        assert_eq!(metrics.dials.get_or_create(&dial).get(), 1);

        let nowhere = relay.start(route(&[dead])).expect("starts");
        assert_turned_away(&nowhere).await;
        eventually("closed", || nowhere.open() == 0).await;
    })
    .await;
}

/// A listener whose queue is full: further SYNs are dropped, as by a machine that is switched off.
struct Blackhole(#[expect(dead_code, reason = "kept open")] Vec<socket2::Socket>, SocketAddr);

fn blackhole() -> Blackhole {
    let new = || {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.set_nonblocking(true).expect("an option");
        socket
    };
    let listener = new();
    listener.bind(&loopback().into()).expect("a port");
    listener.listen(0).expect("listens");
    let address = listener.local_addr().expect("bound");
    let mut kept = vec![listener];
    for _ in 0..4 {
        let filler = new();
        filler.connect(&address).expect_err("in progress");
        kept.push(filler);
    }
    Blackhole(kept, address.as_socket().expect("an address"))
}

#[tokio::test]
async fn a_silent_upstream_costs_one_dial_timeout() {
    on_both(async |relay, metrics| {
        let (service, address) = service().await;
        let silent = blackhole();
        let mut route = route(&[silent.1, address]);
        route.limits.dial_timeout = Duration::from_millis(100);
        let handle = relay.start(route).expect("starts");
        let (mut client, mut server) = pair(&handle, &service).await;
        assert_passes(&mut client, &mut server, b"late but here").await;
        let dial = Dial { route: "test".into(), upstream: silent.1.to_string(), outcome: "timed_out" };
        assert_eq!(metrics.dials.get_or_create(&dial).get(), 1);
        // The one that failed is tried last for a while: no second time-out.
        let (mut client, mut server) = pair(&handle, &service).await;
        assert_passes(&mut client, &mut server, b"at once").await;
        assert_eq!(metrics.dials.get_or_create(&dial).get(), 1);
    })
    .await;
}

#[tokio::test]
async fn ceilings_turn_away_and_come_down_again() {
    on_both(async |relay, metrics| {
        let (service, address) = service().await;
        let mut route = route(&[address]);
        route.limits.connections = Ceilings { total: 10, per_source: 2 };
        let handle = relay.start(route).expect("starts");
        let first = pair(&handle, &service).await;
        let _second = pair(&handle, &service).await;
        assert_turned_away(&handle).await;
        let reason = RouteReason { route: "test".into(), reason: "source_full" };
        assert_eq!(metrics.refused.get_or_create(&reason).get(), 1);
        drop(first);
        eventually("one left", || handle.open() == 1).await;
        let (mut client, mut server) = pair(&handle, &service).await;
        assert_passes(&mut client, &mut server, b"room again").await;
    })
    .await;
}

#[tokio::test]
async fn stop_lets_connections_end_and_frees_the_port() {
    on_both(async |relay, _| {
        let (service, address) = service().await;
        let handle = relay.start(route(&[address])).expect("starts");
        let listen = handle.local_address();
        let (mut client, mut server) = pair(&handle, &service).await;
        assert_passes(&mut client, &mut server, b"before").await;
        let mut stopping = std::pin::pin!(handle.stop(GRACE));
        let refused = async {
            while TcpStream::connect(listen).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            () = &mut stopping => panic!("stopped under an open connection"),
            () = refused => {}
        }
        assert_passes(&mut client, &mut server, b"during").await;
        drop((client, server));
        // Those that got in before the listener was closed are relayed too, and end when their server lets them.
        tokio::select! {
            () = stopping => {}
            () = async { while service.accept().await.is_ok() {} } => {}
        }
        let mut again = route(&[address]);
        again.listen = listen;
        let handle = relay.start(again).expect("the port is free");
        pair(&handle, &service).await;
    })
    .await;
}

#[tokio::test]
async fn stop_without_grace_and_a_dropped_handle_reset_what_is_open() {
    on_both(async |relay, _| {
        let (service, address) = service().await;
        for stop in [true, false] {
            let handle = relay.start(route(&[address])).expect("starts");
            let (mut client, mut server) = pair(&handle, &service).await;
            assert_passes(&mut client, &mut server, b"open").await;
            if stop {
                handle.stop(Duration::ZERO).await;
            } else {
                drop(handle);
            }
            assert_reset(&mut client).await;
            assert_reset(&mut server).await;
        }
    })
    .await;
}

#[tokio::test]
async fn silence_beyond_the_idle_limit_resets_both_ends() {
    on_both(async |relay, metrics| {
        let (service, address) = service().await;
        let mut route = route(&[address]);
        route.limits.idle = Some(Duration::from_millis(150));
        let handle = relay.start(route).expect("starts");
        let (mut client, mut server) = pair(&handle, &service).await;
        assert_reset(&mut client).await;
        assert_reset(&mut server).await;
        let idle = RouteReason { route: "test".into(), reason: "idle" };
        eventually("counted", || metrics.closed.get_or_create(&idle).get() == 1).await;
    })
    .await;
}

#[tokio::test]
async fn new_upstreams_are_for_new_connections() {
    on_both(async |relay, _| {
        let ((old, old_address), (new, new_address)) = (service().await, service().await);
        let handle = relay.start(route(&[old_address])).expect("starts");
        let (mut client, mut server) = pair(&handle, &old).await;
        handle.set_upstreams(vec![upstream(new_address)], None);
        let (mut later_client, mut later_server) = pair(&handle, &new).await;
        assert_passes(&mut later_client, &mut later_server, b"new").await;
        assert_passes(&mut client, &mut server, b"old").await;
        let name = Upstream { transport: Transport::Tcp, host: "localhost".into(), port: new_address.port() };
        handle.set_upstreams(vec![name], None);
        let (mut client, mut server) = loop {
            // Until the name is resolved there is nowhere to go.
            let Ok(client) = TcpStream::connect(handle.local_address()).await else { continue };
            let accepted = tokio::time::timeout(Duration::from_millis(100), new.accept()).await;
            if let Ok(Ok((server, _))) = accepted {
                break (client, server);
            }
        };
        assert_passes(&mut client, &mut server, b"by name").await;
    })
    .await;
}

#[tokio::test]
async fn senseless_routes_are_refused_with_a_reason() {
    on_both(async |relay, _| {
        assert!(matches!(relay.start(route(&[])), Err(RelayError::NoUpstream(_))));
        let mut datagrams = route(&[loopback()]);
        datagrams.upstreams[0].transport = Transport::Udp;
        assert!(matches!(relay.start(datagrams), Err(RelayError::Transport(_))));
        let (_taken, address) = service().await;
        let mut taken = route(&[address]);
        taken.listen = address;
        assert!(matches!(relay.start(taken), Err(RelayError::Listen { .. })));
    })
    .await;
}

#[tokio::test]
async fn several_threads_share_one_address() {
    let metrics = EdgeMetrics::new(&mut Registry::default()).relay;
    let Ok(relay) = UringRelay::new(&threads(3), &metrics, SeededRng::new([4; 32]), &RollCall::default())
    else {
        return;
    };
    let (service, address) = service().await;
    let handle = relay.start(route(&[address])).expect("starts");
    for _ in 0..20 {
        let (mut client, mut server) = patient(pair(&handle, &service)).await;
        assert_passes(&mut client, &mut server, b"any thread").await;
        assert!(SockRef::from(&client).peer_addr().is_ok());
    }
    patient(handle.stop(Duration::ZERO)).await;
}

/// A stream that tells its place: any loss, repetition or exchange shows.
pub(super) fn numbers(count: u32) -> Vec<u8> {
    (0..count).flat_map(u32::to_le_bytes).collect()
}

/// Writes until nothing goes in any more, whatever this machine's sockets hold.
async fn fill(stream: &mut TcpStream) {
    let text = numbers(1 << 18);
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(300), stream.write(&text)).await {
        assert!(written.expect("written") > 0);
    }
}

pub(super) async fn assert_hears(stream: &mut (impl AsyncReadExt + Unpin), expected: &[u8]) {
    let mut heard = Vec::with_capacity(expected.len());
    stream.read_to_end(&mut heard).await.expect("passed on");
    assert!(heard == expected, "{} of {} bytes, or others", heard.len(), expected.len());
}

/// Sends `upload` and `download` at once, each end on its own; the server must hear `heard`.
pub(super) async fn pass_bulk(ends: (TcpStream, TcpStream), upload: &[u8], heard: &[u8], download: &[u8]) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (ends.0.into_split(), ends.1.into_split());
    tokio::join!(
        async {
            to_client.write_all(upload).await.expect("written");
            to_client.shutdown().await.expect("half closed");
        },
        async {
            to_server.write_all(download).await.expect("written");
            to_server.shutdown().await.expect("half closed");
        },
        assert_hears(&mut from_client, download),
        assert_hears(&mut from_server, heard),
    );
}

#[tokio::test]
async fn bulk_goes_both_ways_at_once_and_each_end_on_its_own() {
    on_both(async |relay, _| {
        let (service, address) = service().await;
        let handle = relay.start(route(&[address])).expect("started");
        let (client, server) = pair(&handle, &service).await;
        let (upload, download) = (numbers(8 << 20), numbers(3 << 20));
        pass_bulk((client, server), &upload, &upload, &download).await;
        handle.stop(GRACE).await;
    })
    .await;
}

#[tokio::test]
async fn bulk_waits_for_a_slow_receiver_and_chat_goes_on_afterwards() {
    on_both(async |relay, _| {
        let (service, address) = service().await;
        let handle = relay.start(route(&[address])).expect("started");
        let (mut client, mut server) = pair(&handle, &service).await;
        let text = numbers(8 << 20);
        let written = async { client.write_all(&text).await.expect("written") };
        let read = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let mut heard = vec![0; text.len()];
            server.read_exact(&mut heard).await.expect("passed on");
            assert!(heard == text);
        };
        tokio::join!(written, read);
        for _ in 0..40 {
            assert_passes(&mut client, &mut server, b"and now a word").await;
            assert_passes(&mut server, &mut client, b"and its answer").await;
        }
        handle.stop(Duration::ZERO).await;
    })
    .await;
}

#[tokio::test]
async fn a_reset_or_a_stop_in_bulk_ends_the_connection() {
    on_both(async |relay, _| {
        let (service, address) = service().await;
        let handle = relay.start(route(&[address])).expect("started");
        for ends_by_reset in [true, false] {
            let (mut client, server) = pair(&handle, &service).await;
            // Nobody reads: pipe and sockets fill up.
            fill(&mut client).await;
            if ends_by_reset {
                SockRef::from(&server).set_linger(Some(Duration::ZERO)).expect("a socket");
                drop(server);
                eventually("closed", || handle.open() == 0).await;
            } else {
                handle.stop(Duration::ZERO).await;
                return;
            }
        }
    })
    .await;
}
