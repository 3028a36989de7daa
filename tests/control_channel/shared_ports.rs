//! The coordinator behind the edge: what it upgrades arrives whole through the ports they share.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use genkan::base::wall_time::WallTime;
use genkan::coordinator::ledger::Origin;
use genkan::coordinator::server::Server;
use genkan::edge::metrics::EdgeMetrics;
use genkan::edge::{Edge, PacketPaths, Resident, ResponseFuture};
use genkan::sys::packet_thread::PacketThreads;
use http::Request;
use hyper::body::Incoming;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::edge::{MemoryStore, settings, soon};
use crate::house::House;

struct Coordinator(Server);

impl Resident for Coordinator {
    fn name(&self) -> Option<&str> {
        Some("door.example")
    }

    fn claims(&self, path: &str) -> bool {
        Server::claims(path)
    }

    fn handle(&self, request: Request<Incoming>, peer: SocketAddr, local: SocketAddr) -> ResponseFuture {
        let server = self.0.clone();
        Box::pin(async move { server.handle(request, Origin { peer, local }).await })
    }
}

/// Reads an HTTP head, byte by byte so that nothing behind it is taken.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the head goes on"));
    }
    String::from_utf8(head).expect("text")
}

#[tokio::test]
async fn the_relay_is_reached_without_tls_on_the_control_port_and_on_80() {
    let house = House::new();
    let settings = settings(vec![]).await;
    let ports = [settings.control_port, settings.http_port];
    let (_wall, clock) = watch::channel(WallTime::Unknown);
    let resident = Arc::new(Coordinator(house.server.clone()));
    let metrics = EdgeMetrics::new(&mut Registry::default());
    let threads = PacketThreads::start(1).expect("a thread");
    let (packets, store) = (PacketPaths { threads, datagrams: None }, Arc::new(MemoryStore::default()));
    let edge = Edge::start(settings, &packets, resident, store, metrics, clock).await;
    let _edge = edge.expect("the edge starts");
    for port in ports {
        for host in ["door.example", "192.168.1.2"] {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("it listens");
            let request =
                format!("GET /derp HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let head = soon(head(&mut stream)).await;
            assert!(head.starts_with("HTTP/1.1 101 "), "{port} {host}: {head}");
            // The relay's first frame: its type, its length, eight bytes of magic and the key that the head told.
            let mut frame = [0; 5 + 40];
            soon(stream.read_exact(&mut frame)).await.expect("a frame");
            assert_eq!(frame[..5], [1, 0, 0, 0, 40], "{port} {host}");
            assert_eq!(&frame[5..13], "DERP🔑".as_bytes());
            assert!(head.to_ascii_lowercase().contains(&hex::encode(&frame[13..])), "{head}");
        }
    }
}
