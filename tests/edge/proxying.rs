//! Requests and responses on their way through the reverse proxy.

use bytes::Bytes;
use genkan::edge::body;
use http::Request;
use http::Response;
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::sync::mpsc;

use crate::asking::{API, APP, ask, assert_echo, both, upgraded};
use crate::client::{https1, raw, tls_on};
use crate::house;
use crate::house::{House, config, mirror, read, route, soon, upstream};

#[tokio::test]
async fn bodies_reach_the_upstream_whole() {
    let house = House::open(vec![route(&[APP], &[mirror().await])]).await;
    let long = "0123456789".repeat(100_000);
    for mut client in both(&house, APP).await {
        let mut request = ask(&client, APP, "/");
        *request.method_mut() = http::Method::POST;
        *request.body_mut() = body::full(long.clone());
        let seen = read(soon(client.send(request)).await).await;
        assert!(seen.starts_with("POST / HTTP/1.1\n"));
        assert!(seen.ends_with(&format!("\n\n{long}")));
    }
}

#[tokio::test]
async fn responses_without_a_body_stay_without_one() {
    let at = upstream(|request: Request<Incoming>| async move {
        let mut response = Response::new(body::empty());
        match request.uri().path() {
            "/head" => {
                response.headers_mut().insert("content-length", "1000".parse().expect("a value"));
            }
            "/gone" => *response.status_mut() = StatusCode::NO_CONTENT,
            _ => *response.status_mut() = StatusCode::NOT_MODIFIED,
        }
        response
    })
    .await;
    let house = House::open(vec![route(&[APP], &[at])]).await;
    for mut client in both(&house, APP).await {
        for (method, path, status, length) in
            [("HEAD", "/head", 200, Some("1000")), ("GET", "/gone", 204, None), ("GET", "/same", 304, None)]
        {
            let mut request = ask(&client, APP, path);
            *request.method_mut() = method.parse().expect("a method");
            let response = soon(client.send(request)).await;
            assert_eq!(response.status(), status);
            let found = response.headers().get("content-length").map(|length| length.to_str().expect("text"));
            assert_eq!(found, length, "{path}");
            assert_eq!(read(response).await, "");
        }
    }
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let house = House::open(vec![route(&[APP], &[mirror().await])]).await;
    let pem = house.self_signed(APP);
    let mut stream = tls_on(house.https(), Some(APP), &pem, &[]).await.expect("a handshake");
    let head = "PUT / HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut go_on = [0; 25];
    soon(stream.read_exact(&mut go_on)).await.expect("an answer");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").await.expect("sent");
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\n\nbody"), "{answer}");
    assert!(!answer.contains("\nexpect:"), "{answer}");
}

#[tokio::test]
async fn a_response_streams_piece_by_piece() {
    let go_on = Arc::new(Notify::new());
    let waiting = Arc::clone(&go_on);
    let at = upstream(move |_| {
        let waiting = Arc::clone(&waiting);
        async move { Response::new(pieces(waiting)) }
    })
    .await;
    let house = House::open(vec![route(&[APP], &[at])]).await;
    for mut client in both(&house, APP).await {
        let request = ask(&client, APP, "/events");
        let mut body = soon(client.send(request)).await.into_body();
        let first = soon(body.frame()).await.expect("a frame").expect("whole").into_data().expect("data");
        assert_eq!(first, "first");
        // The upstream sends no second piece before the first has arrived.
        go_on.notify_one();
        assert_eq!(soon(body.collect()).await.expect("the rest").to_bytes(), "second");
    }
}

fn pieces(go_on: Arc<Notify>) -> body::Body {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        sender.send(Bytes::from_static(b"first")).await.ok();
        go_on.notified().await;
        sender.send(Bytes::from_static(b"second")).await.ok();
    });
    Pieces(receiver).boxed()
}

struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = body::BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(hyper::body::Frame::data(piece))))
    }
}

#[tokio::test]
async fn a_request_streams_piece_by_piece() {
    let (pieces_in, mut seen) = mpsc::channel(8);
    let at = upstream(move |request: Request<Incoming>| {
        let pieces_in = pieces_in.clone();
        async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                pieces_in.send(frame.into_data().expect("data")).await.expect("the test listens");
            }
            Response::new(body::empty())
        }
    })
    .await;
    let house = House::open(vec![route(&[APP], &[at])]).await;
    for mut client in both(&house, APP).await {
        let go_on = Arc::new(Notify::new());
        let mut request = ask(&client, APP, "/");
        *request.method_mut() = http::Method::PUT;
        *request.body_mut() = pieces(Arc::clone(&go_on));
        let sending = tokio::spawn(async move { client.send(request).await });
        assert_eq!(soon(seen.recv()).await.expect("a piece"), "first");
        go_on.notify_one();
        assert_eq!(soon(seen.recv()).await.expect("a piece"), "second");
        assert_eq!(soon(sending).await.expect("joined").status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel() {
    let at = upstream(|request: Request<Incoming>| async {
        assert_eq!(request.headers()["upgrade"], "echo");
        house::upgrade_to_echo(request)
    })
    .await;
    let house = House::open(vec![route(&[APP], &[at])]).await;
    let mut client = https1(house.https(), APP, &house.self_signed(APP)).await;
    assert_echo(&mut client, APP, "/socket").await;

    // The tunnel outlives a reload that takes its route away.
    let mut client = https1(house.https(), APP, &house.self_signed(APP)).await;
    let mut io = upgraded(&mut client, APP, "/socket").await;
    house.edge.reload(&config(house.settings.https_port, Vec::new())).await.expect("reloaded");
    io.write_all(b"still here").await.expect("sent");
    let mut echo = [0; 10];
    soon(io.read_exact(&mut echo)).await.expect("an echo");
    assert_eq!(&echo, b"still here");
}

#[tokio::test]
async fn a_dead_upstream_is_passed_over_or_said_to_be_dead() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let dead = closed.local_addr().expect("bound");
    drop(closed);
    let house = House::open(vec![
        route(&[APP], &[dead]),
        route(&[API], &[dead, mirror().await, dead]),
        route(&["none.example.com"], &[]),
    ])
    .await;
    for mut client in both(&house, APP).await {
        let request = ask(&client, APP, "/");
        let response = soon(client.send(request)).await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        let said = read(response).await;
        assert!(said.contains("cannot be reached") && !said.contains("127.0.0.1"), "{said}");
    }
    for mut client in both(&house, API).await {
        for _ in 0..6 {
            let mut request = ask(&client, API, "/");
            *request.method_mut() = http::Method::POST;
            *request.body_mut() = body::full("once");
            let response = soon(client.send(request)).await;
            assert_eq!(response.status(), StatusCode::OK);
            assert!(read(response).await.ends_with("\n\nonce"));
        }
    }
    let mut client = https1(house.https(), "none.example.com", &house.self_signed("none.example.com")).await;
    let request = ask(&client, "none.example.com", "/");
    assert_eq!(soon(client.send(request)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn connections_to_an_upstream_are_kept_and_dead_ones_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound");
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                // Two answers per connection, then it closes without having said so.
                for _ in 0..2 {
                    let mut buffer = [0; 4096];
                    if stream.read(&mut buffer).await.unwrap_or(0) == 0 {
                        return;
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.expect("sent");
                }
            });
        }
    });
    let house = House::open(vec![route(&[APP], &[at])]).await;
    let mut client = https1(house.https(), APP, &house.self_signed(APP)).await;
    for _ in 0..10 {
        let request = ask(&client, APP, "/");
        let response = soon(client.send(request)).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(read(response).await, "ok");
    }
    let accepted = accepted.load(Ordering::SeqCst);
    assert!((5..10).contains(&accepted), "{accepted} connections for 10 requests, 2 each");
}

#[tokio::test]
async fn a_length_beside_chunks_is_not_passed_on() {
    let house = House::open(vec![]).await;
    let plain_server = house::free_ports::<1>().await[0];
    let mut config = config(plain_server, vec![route(&[], &[mirror().await])]);
    config.http_servers[0].name = "plain".to_owned();
    house.edge.reload(&config).await.expect("reloaded");
    let request = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n";
    let answer = soon(raw(([127, 0, 0, 1], plain_server).into(), request.as_bytes())).await;
    assert!(!answer.to_lowercase().contains("content-length: 3"), "{answer}");
    assert!(answer.contains("whole"), "{answer}");
}
