//! Real sockets on loopback.

use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::net::UdpSocket;

use super::*;
use crate::base::ceilings::Ceilings;
use crate::edge::metrics::{EdgeMetrics, RouteReason, RouteUpstream};

/// Far beyond what anything here takes; a test that reaches it hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

fn carriage(path: Option<Arc<dyn DatagramPath>>) -> Carriage {
    Carriage { thread: PacketThread::start("datagrams").expect("a thread"), path }
}

pub(super) fn metrics() -> UdpMetrics {
    EdgeMetrics::new(&mut Registry::default()).udp
}

fn upstream(address: SocketAddr) -> Upstream {
    Upstream { transport: Transport::Udp, host: address.ip().to_string(), port: address.port() }
}

pub(super) fn route(listen: &str, upstream_address: SocketAddr) -> UdpRoute {
    UdpRoute::new("game", listen.parse().expect("an address"), vec![upstream(upstream_address)])
}

fn started(route: &UdpRoute, metrics: &UdpMetrics) -> UdpHandle {
    started_by(route, metrics, None)
}

pub(super) fn started_by(
    route: &UdpRoute,
    metrics: &UdpMetrics,
    path: Option<Arc<dyn DatagramPath>>,
) -> UdpHandle {
    start(route, &carriage(path), metrics, SeededRng::new([5; 32])).expect("starts")
}

pub(super) async fn bound(address: &str) -> UdpSocket {
    UdpSocket::bind(address).await.expect("a port")
}

pub(super) async fn client_of(address: SocketAddr) -> UdpSocket {
    let client = bound(if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).await;
    client.connect(address).await.expect("connected");
    client
}

pub(super) async fn heard(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 70_000];
    let received = tokio::time::timeout(PATIENCE, socket.recv_from(&mut buffer)).await;
    let (length, from) = received.expect("hangs").expect("received");
    (buffer[..length].to_vec(), from)
}

pub(super) async fn say(socket: &UdpSocket, text: &[u8]) {
    socket.send(text).await.expect("sent");
}

pub(super) async fn eventually(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("hangs");
}

#[tokio::test]
async fn clients_of_one_service_are_kept_apart() {
    let (service, metrics) = (bound("127.0.0.1:0").await, metrics());
    let handle = started(&route("127.0.0.1:0", service.local_addr().expect("bound")), &metrics);
    let (one, two) = (client_of(handle.local_address()).await, client_of(handle.local_address()).await);
    say(&one, b"one").await;
    let (text, first_port) = heard(&service).await;
    assert_eq!(text, b"one");
    say(&two, b"two").await;
    let (text, second_port) = heard(&service).await;
    assert_eq!(text, b"two");
    assert_ne!(first_port, second_port, "the service sees a peer per client");
    service.send_to(b"for two", second_port).await.expect("sent");
    service.send_to(b"for one", first_port).await.expect("sent");
    assert_eq!(heard(&one).await, (b"for one".to_vec(), handle.local_address()));
    assert_eq!(heard(&two).await, (b"for two".to_vec(), handle.local_address()));
    say(&one, b"again").await;
    assert_eq!(heard(&service).await, (b"again".to_vec(), first_port));
    assert_eq!(handle.open(), 2);
    let upstream = service.local_addr().expect("bound").to_string();
    let flows = RouteUpstream { route: "game".into(), upstream };
    assert_eq!(metrics.flows.get_or_create(&flows).get(), 2);
    handle.stop().await;
}

#[tokio::test]
async fn the_largest_and_the_empty_datagram_pass_whole() {
    let service = bound("127.0.0.1:0").await;
    let handle = started(&route("127.0.0.1:0", service.local_addr().expect("bound")), &metrics());
    let client = client_of(handle.local_address()).await;
    let largest: Vec<u8> = (0..251).cycle().take(65_507).collect();
    say(&client, &largest).await;
    let (text, port) = heard(&service).await;
    assert!(text == largest, "{} bytes arrived", text.len());
    service.send_to(&largest, port).await.expect("sent");
    assert!(heard(&client).await.0 == largest);
    say(&client, b"").await;
    assert_eq!(heard(&service).await.0, b"");
}

#[tokio::test]
async fn an_answer_leaves_from_the_address_spoken_to() {
    for (listen, spoken_to) in
        [("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "127.0.0.2"), ("[::]:0", "::1"), ("127.0.0.3:0", "127.0.0.3")]
    {
        let service = bound("127.0.0.1:0").await;
        let handle = started(&route(listen, service.local_addr().expect("bound")), &metrics());
        let address = SocketAddr::new(spoken_to.parse().expect("an address"), handle.local_address().port());
        // A connected socket hears only what comes from that very address.
        let client = client_of(address).await;
        say(&client, b"hello").await;
        let (_, port) = heard(&service).await;
        service.send_to(b"answer", port).await.expect("sent");
        assert_eq!(heard(&client).await, (b"answer".to_vec(), address), "listening on {listen}");
    }
}

#[tokio::test]
async fn an_upstream_that_refuses_for_a_while_is_reached_when_it_is_back() {
    let service = bound("127.0.0.1:0").await;
    let address = service.local_addr().expect("bound");
    let metrics = metrics();
    let handle = started(&route("127.0.0.1:0", address), &metrics);
    let client = client_of(handle.local_address()).await;
    say(&client, b"before").await;
    let (_, port) = heard(&service).await;
    drop(service);
    let labels = RouteReason { route: "game".into(), reason: "upstream_refused" };
    let refused = metrics.dropped.get_or_create_owned(&labels);
    say(&client, b"nobody hears this").await;
    eventually(|| refused.get() > 0).await;
    let service = UdpSocket::bind(address).await.expect("free again");
    say(&client, b"after").await;
    assert_eq!(heard(&service).await, (b"after".to_vec(), port), "the same flow");
    assert_eq!(handle.open(), 1);
}

#[tokio::test]
async fn silence_closes_a_flow_and_the_ceiling_turns_away() {
    let service = bound("127.0.0.1:0").await;
    let metrics = metrics();
    let mut route = route("127.0.0.1:0", service.local_addr().expect("bound"));
    route.limits =
        FlowLimits { flows: Ceilings { total: 10, per_source: 1 }, idle: Duration::from_millis(300) };
    let handle = started(&route, &metrics);
    let (one, two) = (client_of(handle.local_address()).await, client_of(handle.local_address()).await);
    say(&one, b"one").await;
    say(&two, b"two").await;
    assert_eq!(heard(&service).await.0, b"one");
    let refused = RouteReason { route: "game".into(), reason: "source_full" };
    let refused = metrics.dropped.get_or_create_owned(&refused);
    eventually(|| refused.get() == 1).await;
    eventually(|| handle.open() == 0).await;
    let idle = RouteReason { route: "game".into(), reason: "idle" };
    eventually(|| metrics.ended.get_or_create(&idle).get() == 1).await;
    say(&two, b"two again").await;
    assert_eq!(heard(&service).await.0, b"two again");
}

#[tokio::test]
async fn flows_survive_new_upstreams_that_still_have_theirs() {
    let (old, new) = (bound("127.0.0.1:0").await, bound("127.0.0.1:0").await);
    let (old_address, new_address) = (old.local_addr().expect("bound"), new.local_addr().expect("bound"));
    let handle = started(&route("127.0.0.1:0", old_address), &metrics());
    let client = client_of(handle.local_address()).await;
    say(&client, b"1").await;
    let (_, port) = heard(&old).await;
    handle.set_upstreams(vec![upstream(new_address), upstream(old_address)]);
    say(&client, b"2").await;
    assert_eq!(heard(&old).await, (b"2".to_vec(), port));
    handle.set_upstreams(vec![upstream(new_address)]);
    // The flow ends with a wake-up after the change, which may be the end of the last one; then a datagram begins a new one.
    let begins_anew = async {
        while tokio::time::timeout(Duration::from_millis(50), heard(&new)).await.is_err() {
            say(&client, b"3").await;
        }
    };
    tokio::time::timeout(PATIENCE, begins_anew).await.expect("hangs");
    assert_eq!(handle.open(), 1);
}

#[tokio::test]
async fn senseless_routes_are_refused_and_a_stopped_one_frees_its_port() {
    let service = bound("127.0.0.1:0").await;
    let sensible = route("127.0.0.1:0", service.local_addr().expect("bound"));
    let refusal = |route: &UdpRoute| start(route, &carriage(None), &metrics(), SeededRng::new([5; 32])).err();
    let mut nowhere = sensible.clone();
    nowhere.upstreams.clear();
    assert!(matches!(refusal(&nowhere), Some(UdpError::NoUpstream(_))));
    let mut stream = sensible.clone();
    stream.upstreams[0].transport = Transport::Tcp;
    assert!(matches!(refusal(&stream), Some(UdpError::Transport(_))));
    let handle = started(&sensible, &metrics());
    let taken = UdpRoute { listen: handle.local_address(), ..sensible };
    assert!(matches!(refusal(&taken), Some(UdpError::Listen { .. })));
    handle.stop().await;
    assert!(refusal(&taken).is_none());
}
