//! A running edge on loopback with everything around it: a store in memory, a resident, upstreams, clients.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use genkan::base::wall_time::{UnixTime, WallTime};
use genkan::edge::body::{self, Body};
use genkan::edge::core::route::{
    EdgeConfig, HttpHandler, HttpRoute, HttpServer, Layer4Server, Listen, Transport, Upstream,
};
use genkan::edge::metrics::EdgeMetrics;
use genkan::edge::{
    CertificateStore, Edge, EdgeSettings, PacketPaths, Resident, ResponseFuture, StoreFailure,
};
use genkan::sys::packet_thread::PacketThreads;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

pub const RESIDENT: &str = "hs.example.com";

/// Blobs in memory; clones share them.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl MemoryStore {
    pub fn names(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").keys().cloned().collect()
    }

    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.0.lock().expect("not poisoned").get(name).cloned()
    }
}

impl CertificateStore for MemoryStore {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StoreFailure> {
        Ok(self.get(name))
    }

    fn save(&self, name: &str, value: &[u8]) -> Result<(), StoreFailure> {
        self.0.lock().expect("not poisoned").insert(name.to_owned(), value.to_vec());
        Ok(())
    }

    fn delete(&self, name: &str) -> Result<(), StoreFailure> {
        self.0.lock().expect("not poisoned").remove(name);
        Ok(())
    }
}

/// Answers `/key` with its own name, and `/ts2021` with an upgrade to an echo.
pub struct TestResident;

impl Resident for TestResident {
    fn name(&self) -> Option<&str> {
        Some(RESIDENT)
    }

    fn claims(&self, path: &str) -> bool {
        path == "/key" || path == "/ts2021"
    }

    fn handle(&self, request: Request<Incoming>, peer: SocketAddr, local: SocketAddr) -> ResponseFuture {
        Box::pin(async move {
            if request.uri().path() == "/ts2021" {
                return upgrade_to_echo(request);
            }
            body::text(StatusCode::OK, &format!("resident {} {}", peer.ip(), local.ip()))
        })
    }
}

/// Switches to a protocol that sends back what it gets.
pub fn upgrade_to_echo(mut request: Request<Incoming>) -> Response<Body> {
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgraded.await.expect("an upgrade"));
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = io.read(&mut buffer).await {
            io.write_all(&buffer[..count]).await.expect("echoed");
        }
        io.shutdown().await.ok();
    });
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert("connection", "upgrade".parse().expect("a value"));
    response.headers_mut().insert("upgrade", "echo".parse().expect("a value"));
    response
}

/// An HTTP/1.1 server on loopback; every request goes through `answer`.
pub async fn upstream<F, A>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = hyper::service::service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let io = TokioIo::new(stream);
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(io, service).with_upgrades(),
            );
        }
    });
    address
}

/// An upstream that tells what it got: the request's line and headers, one per line, then its body.
pub async fn mirror() -> SocketAddr {
    upstream(|request: Request<Incoming>| async {
        let (parts, body) = request.into_parts();
        let mut text = format!("{} {} {:?}\n", parts.method, parts.uri, parts.version);
        for (name, value) in &parts.headers {
            text += name.as_str();
            text += ": ";
            text += &String::from_utf8_lossy(value.as_bytes());
            text += "\n";
        }
        let body = body.collect().await.expect("a whole body").to_bytes();
        text += "\n";
        text += &String::from_utf8_lossy(&body);
        Response::new(body::full(text))
    })
    .await
}

pub fn route(hosts: &[&str], upstreams: &[SocketAddr]) -> HttpRoute {
    let upstream =
        |at: &SocketAddr| Upstream { transport: Transport::Tcp, host: at.ip().to_string(), port: at.port() };
    HttpRoute {
        hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
        handler: HttpHandler::ReverseProxy { upstreams: upstreams.iter().map(upstream).collect() },
    }
}

/// The edge and its neighbours.
pub struct House {
    pub edge: Edge,
    pub settings: EdgeSettings,
    pub store: MemoryStore,
    pub wall: watch::Sender<WallTime>,
    pub registry: Registry,
}

fn packets() -> PacketPaths {
    PacketPaths { threads: PacketThreads::start(1).expect("a thread"), datagrams: None }
}

impl House {
    pub async fn open(routes: Vec<HttpRoute>) -> Self {
        Self::with(settings(routes).await, MemoryStore::default()).await
    }

    pub async fn with(settings: EdgeSettings, store: MemoryStore) -> Self {
        Self::with_clock(settings, store, WallTime::Known(UnixTime(0))).await
    }

    pub async fn with_clock(settings: EdgeSettings, store: MemoryStore, clock: WallTime) -> Self {
        let wall = watch::Sender::new(clock);
        let mut registry = Registry::default();
        let metrics = EdgeMetrics::new(&mut registry);
        let edge = Edge::start(
            settings.clone(),
            &packets(),
            Arc::new(TestResident),
            Arc::new(store.clone()),
            metrics,
            wall.subscribe(),
        )
        .await
        .expect("the edge starts");
        Self { edge, settings, store, wall, registry }
    }

    pub fn http(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.settings.http_port))
    }

    pub fn https(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.settings.https_port))
    }

    pub fn control(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.settings.control_port))
    }

    /// Every counter, as text.
    pub fn counters(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("encoded");
        text
    }

    /// The self-signed certificate that the edge made for a name.
    pub fn self_signed(&self, name: &str) -> Vec<u8> {
        self.store.get(&format!("self-signed/{name}")).expect("one was made")
    }
}

/// Loopback, free ports, one site server on the HTTPS port.
pub async fn settings(routes: Vec<HttpRoute>) -> EdgeSettings {
    let [http, https, control] = free_ports().await;
    let config = config(https, routes);
    EdgeSettings {
        http_port: http,
        https_port: https,
        control_port: control,
        bind: Ipv4Addr::LOCALHOST.into(),
        ..EdgeSettings::new(config, [1; 32])
    }
}

/// A TCP server of layer 4 on loopback.
pub fn layer4(name: &str, port: u16, to: SocketAddr) -> Layer4Server {
    let listen = Listen { transport: Transport::Tcp, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) };
    let upstream = Upstream { transport: Transport::Tcp, host: to.ip().to_string(), port: to.port() };
    Layer4Server {
        name: name.to_owned(),
        listen: vec![listen],
        upstreams: vec![upstream],
        proxy_protocol: None,
    }
}

/// The same for datagrams.
pub fn layer4_udp(name: &str, port: u16, to: SocketAddr) -> Layer4Server {
    let mut server = layer4(name, port, to);
    server.listen[0].transport = Transport::Udp;
    server.upstreams[0].transport = Transport::Udp;
    server
}

pub fn config(port: u16, routes: Vec<HttpRoute>) -> EdgeConfig {
    let listen = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))];
    let server = HttpServer { name: "web".to_owned(), listen, routes };
    EdgeConfig { http_servers: vec![server], ..EdgeConfig::default() }
}

/// Ports that were free a moment ago and that no other test of this process is given. They lie below the range from which the
/// kernel takes the local ports of outgoing connections, so that none of those gets in between.
pub async fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let mut found = Vec::new();
    while found.len() < N {
        let port = 20_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 12_000;
        let is_free = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.is_ok()
            && UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).await.is_ok();
        found.extend(is_free.then_some(port));
    }
    found.try_into().expect("as many as were asked for")
}

/// Fails a test that waits for what never comes.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it takes too long")
}

pub fn get(uri: &str) -> Request<Body> {
    Request::builder().uri(uri).body(body::empty()).expect("a request")
}

pub async fn read(response: Response<Incoming>) -> String {
    let bytes: Bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}
