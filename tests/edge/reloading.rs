//! Changes while connections are open, and the end.

use genkan::edge::body;
use http::Response;
use http::StatusCode;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::sync::mpsc;

use crate::asking::{API, APP, ask, both};
use crate::client::https1;
use crate::house;
use crate::house::{House, MemoryStore, config, mirror, read, route, settings, soon, upstream};

#[tokio::test]
async fn layer4_connections_of_unchanged_routes_outlive_a_reload() {
    let echo = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = echo.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = echo.accept().await {
            tokio::spawn(async move {
                let (mut reading, mut writing) = stream.split();
                tokio::io::copy(&mut reading, &mut writing).await.ok();
            });
        }
    });
    let [stays, goes, comes] = house::free_ports().await;
    let mut settings = settings(vec![]).await;
    settings.config.layer4_servers = vec![house::layer4("stays", stays, at), house::layer4("goes", goes, at)];
    let house = House::with(settings.clone(), MemoryStore::default()).await;
    let mut held = TcpStream::connect(("127.0.0.1", stays)).await.expect("a connection");
    assert_passes(&mut held).await;

    let mut config = settings.config;
    config.layer4_servers = vec![house::layer4("stays", stays, at), house::layer4("comes", comes, at)];
    house.edge.reload(&config).await.expect("reloaded");
    assert_passes(&mut held).await;
    assert_passes(&mut TcpStream::connect(("127.0.0.1", comes)).await.expect("a connection")).await;
    soon(async {
        while TcpStream::connect(("127.0.0.1", goes)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn udp_flows_of_unchanged_routes_outlive_a_reload() {
    let service = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let at = service.local_addr().expect("bound");
    let [game, comes] = house::free_ports().await;
    let mut settings = settings(vec![]).await;
    settings.config.layer4_servers = vec![house::layer4_udp("game", game, at)];
    let house = House::with(settings.clone(), MemoryStore::default()).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    client.connect(("127.0.0.1", game)).await.expect("connected");
    client.send(b"before").await.expect("sent");
    let mut buffer = [0; 16];
    let (_, peer) = soon(service.recv_from(&mut buffer)).await.expect("passed on");

    let mut config = settings.config;
    config.layer4_servers.push(house::layer4("comes", comes, at));
    house.edge.reload(&config).await.expect("reloaded");
    client.send(b"after").await.expect("sent");
    let (length, same_peer) = soon(service.recv_from(&mut buffer)).await.expect("passed on");
    assert_eq!((&buffer[..length], same_peer), (b"after".as_slice(), peer));
    service.send_to(b"answer", peer).await.expect("sent");
    let length = soon(client.recv(&mut buffer)).await.expect("answered");
    assert_eq!(&buffer[..length], b"answer");
}

/// The flow of a route that was to go for one that cannot come.
#[tokio::test]
async fn udp_flows_outlive_a_reload_that_fails() {
    let service = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let at = service.local_addr().expect("bound");
    let [game, elsewhere] = house::free_ports().await;
    let mut settings = settings(vec![]).await;
    settings.config.layer4_servers = vec![house::layer4_udp("game", game, at)];
    let house = House::with(settings.clone(), MemoryStore::default()).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    client.connect(("127.0.0.1", game)).await.expect("connected");
    client.send(b"before").await.expect("sent");
    let mut buffer = [0; 16];
    let (_, peer) = soon(service.recv_from(&mut buffer)).await.expect("passed on");

    let taken = UdpSocket::bind("0.0.0.0:0").await.expect("a port");
    let taken = taken.local_addr().map(|address| (address.port(), taken)).expect("bound");
    let mut config = settings.config;
    config.layer4_servers =
        vec![house::layer4_udp("elsewhere", elsewhere, at), house::layer4_udp("taken", taken.0, at)];
    house.edge.reload(&config).await.expect_err("taken");
    client.send(b"after").await.expect("sent");
    let (length, same_peer) = soon(service.recv_from(&mut buffer)).await.expect("passed on");
    assert_eq!((&buffer[..length], same_peer), (b"after".as_slice(), peer));
}

async fn assert_passes(stream: &mut TcpStream) {
    stream.write_all(b"word").await.expect("sent");
    let mut echo = [0; 4];
    soon(stream.read_exact(&mut echo)).await.expect("an echo");
    assert_eq!(&echo, b"word");
}

#[tokio::test]
async fn a_port_that_is_taken_leaves_everything_as_it_was() {
    let house = House::open(vec![route(&[APP], &[mirror().await])]).await;
    let taken = TcpListener::bind("0.0.0.0:0").await.expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let refused = house.edge.reload(&config(port, vec![route(&[API], &[])])).await.expect_err("taken");
    assert!(refused.to_string().contains(&port.to_string()), "{refused}");
    let mut client = https1(house.https(), APP, &house.self_signed(APP)).await;
    let request = ask(&client, APP, "/");
    assert_eq!(soon(client.send(request)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_reload_changes_routes_under_open_connections() {
    let (one, two) = (
        upstream(|_| async { Response::new(body::full("one")) }).await,
        upstream(|_| async { Response::new(body::full("two")) }).await,
    );
    let house = House::open(vec![route(&[APP], &[one])]).await;
    let mut clients = both(&house, APP).await;
    for client in &mut clients {
        let request = ask(client, APP, "/");
        assert_eq!(read(soon(client.send(request)).await).await, "one");
    }
    let routes = vec![route(&[APP], &[two]), route(&[API], &[one])];
    house.edge.reload(&config(house.settings.https_port, routes)).await.expect("reloaded");
    for client in &mut clients {
        let request = ask(client, APP, "/");
        assert_eq!(read(soon(client.send(request)).await).await, "two");
    }
    for mut client in both(&house, API).await {
        let request = ask(&client, API, "/");
        assert_eq!(read(soon(client.send(request)).await).await, "one");
    }
}

#[tokio::test]
async fn stopping_lets_a_request_finish() {
    let (begun, mut begins) = mpsc::channel(1);
    let go_on = Arc::new(Notify::new());
    let waiting = Arc::clone(&go_on);
    let at = upstream(move |_| {
        let (begun, waiting) = (begun.clone(), Arc::clone(&waiting));
        async move {
            begun.send(()).await.expect("the test listens");
            waiting.notified().await;
            Response::new(body::full("finished"))
        }
    })
    .await;
    let house = House::open(vec![route(&[APP], &[at])]).await;
    let mut client = https1(house.https(), APP, &house.self_signed(APP)).await;
    let request = ask(&client, APP, "/");
    let asking = tokio::spawn(async move { read(client.send(request).await).await });
    soon(begins.recv()).await.expect("the request arrived");
    let https = house.https();
    let stopping = tokio::spawn(house.edge.stop());
    while TcpStream::connect(https).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go_on.notify_one();
    assert_eq!(soon(asking).await.expect("joined"), "finished");
    soon(stopping).await.expect("stopped");
}
