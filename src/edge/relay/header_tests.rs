//! The PROXY header in both engines, before bytes of any kind and before none.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::tests::{
    assert_hears, assert_passes, eventually, loopback, numbers, on_both, pair, pass_bulk, patient, route,
    service, upstream,
};
use super::*;
use crate::edge::core::proxy_header::{ProxyProtocol, header};
use crate::edge::metrics::{Direction, RouteDirection};

const VERSIONS: [ProxyProtocol; 2] = [ProxyProtocol::V1, ProxyProtocol::V2];

fn with_header(to: SocketAddr, version: ProxyProtocol) -> RelayRoute {
    let mut route = route(&[to]);
    route.proxy_protocol = Some(version);
    route
}

/// What the upstream must be told of `client`.
fn expected(version: ProxyProtocol, client: &TcpStream) -> Vec<u8> {
    let local = client.local_addr().expect("bound");
    header(version, local, client.peer_addr().expect("connected"))
}

async fn assert_told(server: &mut TcpStream, expected: &[u8]) {
    let mut heard = vec![0; expected.len()];
    server.read_exact(&mut heard).await.expect("told");
    assert_eq!(heard.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

/// Runs one story for each version on each engine.
async fn on_all(story: impl AsyncFn(&RelayHandle, &TcpListener, ProxyProtocol, RelayMetrics)) {
    for version in VERSIONS {
        on_both(async |relay, metrics| {
            let (service, address) = service().await;
            let handle = relay.start(with_header(address, version)).expect("starts");
            story(&handle, &service, version, metrics).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_client_that_speaks_first_is_heard_after_the_header() {
    on_all(async |handle, service, version, metrics| {
        let mut client = TcpStream::connect(handle.local_address()).await.expect("listens");
        client.write_all(b"first words").await.expect("written");
        let (mut server, _) = service.accept().await.expect("dialled");
        assert_told(&mut server, &[&expected(version, &client)[..], b"first words"].concat()).await;
        assert_passes(&mut server, &mut client, b"an answer").await;
        assert_passes(&mut client, &mut server, b"a word more").await;
        let labels = RouteDirection { route: "test".into(), direction: Direction::In };
        let counted = metrics.bytes.get_or_create_owned(&labels);
        eventually("the client's bytes are counted", || counted.get() == 22).await;
    })
    .await;
}

#[tokio::test]
async fn a_server_that_speaks_first_is_told_all_the_same() {
    on_all(async |handle, service, version, _| {
        let (mut client, mut server) = pair(handle, service).await;
        assert_passes(&mut server, &mut client, b"welcome").await;
        assert_told(&mut server, &expected(version, &client)).await;
        assert_passes(&mut client, &mut server, b"thanks").await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_announced_and_its_end_comes_after() {
    on_all(async |handle, service, version, metrics| {
        let (mut client, mut server) = pair(handle, service).await;
        client.shutdown().await.expect("half closed");
        assert_hears(&mut server, &expected(version, &client)).await;
        assert_passes(&mut server, &mut client, b"still there?").await;
        server.shutdown().await.expect("closed");
        assert_hears(&mut client, b"").await;
        eventually("closed", || handle.open() == 0).await;
        let labels = RouteDirection { route: "test".into(), direction: Direction::In };
        assert_eq!(metrics.bytes.get_or_create_owned(&labels).get(), 0);
        eventually("no buffer is kept", || metrics.chunks.get() == 0).await;
    })
    .await;
}

#[tokio::test]
async fn bulk_follows_the_header() {
    on_all(async |handle, service, version, metrics| {
        let (client, server) = pair(handle, service).await;
        let header = expected(version, &client);
        let (upload, download) = (numbers(1 << 20), numbers(1 << 20));
        let heard = [header, upload.clone()].concat();
        pass_bulk((client, server), &upload, &heard, &download).await;
        let labels = RouteDirection { route: "test".into(), direction: Direction::In };
        let counted = metrics.bytes.get_or_create_owned(&labels);
        eventually("counted", || counted.get() == upload.len() as u64).await;
    })
    .await;
}

#[tokio::test]
async fn the_upstream_that_is_reached_is_told_once() {
    on_both(async |relay, _| {
        let (service, address) = service().await;
        let (refusing, dead) = self::service().await;
        drop(refusing);
        let mut route = with_header(dead, ProxyProtocol::V1);
        route.upstreams.push(upstream(address));
        let handle = relay.start(route).expect("starts");
        let (mut client, mut server) = pair(&handle, &service).await;
        client.shutdown().await.expect("half closed");
        assert_hears(&mut server, &expected(ProxyProtocol::V1, &client)).await;
    })
    .await;
}

#[tokio::test]
async fn a_new_version_is_for_new_connections() {
    on_both(async |relay, _| {
        let (service, address) = service().await;
        let handle = relay.start(route(&[address])).expect("starts");
        let (mut old_client, mut old_server) = pair(&handle, &service).await;
        for version in [Some(ProxyProtocol::V1), Some(ProxyProtocol::V2), None] {
            handle.set_upstreams(vec![upstream(address)], version);
            let (mut client, mut server) = pair(&handle, &service).await;
            let header = version.map(|version| expected(version, &client)).unwrap_or_default();
            assert_told(&mut server, &header).await;
            assert_passes(&mut client, &mut server, b"and nothing else").await;
        }
        assert_passes(&mut old_client, &mut old_server, b"as before").await;
    })
    .await;
}

#[tokio::test]
async fn ipv4_clients_of_a_wildcard_are_told_as_ipv4() {
    on_both(async |relay, _| {
        let (service, address) = service().await;
        let mut route = with_header(address, ProxyProtocol::V1);
        route.listen = SocketAddr::from(([0_u16; 8], 0));
        let Ok(handle) = relay.start(route) else {
            return eprintln!("no IPv6 here: not tested");
        };
        let at = SocketAddr::from(([127, 0, 0, 1], handle.local_address().port()));
        let client = TcpStream::connect(at).await.expect("listens");
        let (mut server, _) = service.accept().await.expect("dialled");
        let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", port(&client), at.port());
        assert_told(&mut server, line.as_bytes()).await;
    })
    .await;
}

fn port(client: &TcpStream) -> u16 {
    client.local_addr().expect("bound").port()
}

/// `HAProxy` that answers each request with the source it was told of; ended when dropped.
struct Haproxy(Child, #[expect(dead_code, reason = "kept until the end")] tempfile::TempDir);

impl Haproxy {
    /// `None` where it is not installed.
    fn start(at: SocketAddr) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("haproxy.cfg");
        let text = format!(
            "defaults\n mode http\n timeout client 20s\n timeout server 20s\n timeout connect 5s\n\
             frontend f\n bind {at} accept-proxy\n \
             http-request return status 200 content-type text/plain lf-string \"%[src]:%[src_port]\"\n"
        );
        std::fs::write(&file, text).expect("written");
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().ok().map(|child| Self(child, dir))
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test]
async fn haproxy_understands_both_versions() {
    let (free, address) = service().await;
    drop(free);
    let Some(_haproxy) = Haproxy::start(address) else {
        return eprintln!("haproxy is not installed: not tested");
    };
    patient(async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for version in VERSIONS {
        on_both(async |relay, _| {
            let handle = relay.start(with_header(address, version)).expect("starts");
            let mut client = TcpStream::connect(handle.local_address()).await.expect("listens");
            let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            client.write_all(request).await.expect("written");
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.expect("answered");
            assert!(
                answer.ends_with(&SocketAddr::new(loopback().ip(), port(&client)).to_string()),
                "{answer}"
            );
        })
        .await;
    }
}
