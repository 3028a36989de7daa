//! What strangers cannot do.

use genkan::base::ceilings::Ceilings;
use genkan::edge::body;
use http::{Response, StatusCode};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::asking::{APP, ask};
use crate::client::{https1, plain, raw, tls_on};
use crate::house::{House, MemoryStore, get, mirror, read, route, settings, soon, upstream};

#[tokio::test]
async fn ambiguous_and_oversized_requests_are_refused() {
    let house = House::open(vec![route(&[APP], &[mirror().await])]).await;
    let at = house.control();
    let status = |answer: &str| answer.split(' ').nth(1).map(str::to_owned).unwrap_or_default();
    for (request, expected) in [
        ("GET /key HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET /key HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), "400"),
        ("GET /key HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(), "400"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".to_owned(), "400"),
        (
            "POST /key HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(),
            "400",
        ),
        ("POST /key HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(), "400"),
        ("GET /key HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n".to_owned(), "400"),
        (format!("GET /key HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(17_000)), "431"),
        (format!("GET /key HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(101)), "431"),
        ("\u{16}\u{3}\u{1}hello\r\n\r\n".to_owned(), "400"),
    ] {
        let closing = request.replacen("\r\nHost", "\r\nConnection: close\r\nHost", 1);
        let answer = soon(raw(at, closing.as_bytes())).await;
        assert_eq!(status(&answer), expected, "{request:.60?} gave {answer:?}");
    }
}

#[tokio::test]
async fn strangers_bytes_at_the_tls_port_end_the_connection_at_once() {
    let house = House::open(vec![]).await;
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"SSH-2.0-x\r\n",
        &[0xff; 600],
        &[0x16, 3, 1, 0xff, 0xff, 0, 0],
    ] {
        let begun = std::time::Instant::now();
        let mut stream = TcpStream::connect(house.https()).await.expect("a connection");
        stream.write_all(bytes).await.expect("sent");
        let mut rest = Vec::new();
        soon(stream.read_to_end(&mut rest)).await.ok();
        assert!(rest.len() < 32, "an alert at most: {rest:?}");
        assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    }
}

#[tokio::test]
async fn one_source_cannot_take_every_place() {
    let mut settings = settings(vec![]).await;
    settings.connections = Ceilings { total: 10, per_source: 2 };
    let house = House::with(settings, MemoryStore::default()).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = plain(house.control()).await;
        let request = ask(&client, "a", "/key");
        assert_eq!(soon(client.send(request)).await.status(), StatusCode::OK);
        held.push(client);
    }
    assert_eq!(soon(raw(house.control(), b"GET /key HTTP/1.1\r\nHost: a\r\n\r\n")).await, "");
    held.clear();
    // A place is free when the server has seen a client leave.
    soon(async {
        while raw(house.control(), b"GET /key HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn answers_that_are_not_taken_hold_a_share_of_an_upstream_only() {
    // More than the proxy reads ahead of the client.
    let at = upstream(|_| async { Response::new(body::full(vec![b'x'; 1024 * 1024])) }).await;
    let house = House::open(vec![route(&[APP], &[at])]).await;
    let pem = house.self_signed(APP);
    let mut greedy = Vec::new();
    // One connection may not have as many streams.
    for _ in 0..2 {
        let stream = tls_on(house.https(), Some(APP), &pem, &[b"h2"]).await.expect("a handshake");
        let (client, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(0)
            .handshake(TokioIo::new(stream))
            .await
            .expect("HTTP/2 begins");
        tokio::spawn(connection);
        greedy.push(client);
    }
    let mut held = Vec::new();
    for number in 0..128 {
        let greedy = &mut greedy[number % 2];
        let answer = soon(greedy.send_request(get(&format!("https://{APP}/")))).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        held.push(answer);
    }
    let mut client = https1(house.https(), APP, &pem).await;
    let refused = soon(client.send(ask(&client, APP, "/"))).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let text = soon(read(refused)).await;
    assert!(text.contains("too many requests from your address"), "{text}");
    held.clear();
    // A place is free when the server has seen a stream being cancelled.
    soon(async {
        loop {
            let answer = client.send(ask(&client, APP, "/")).await;
            let status = answer.status();
            read(answer).await;
            if status == StatusCode::OK {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_cancelled_streams_ends_the_connection() {
    let (held, mut holds) = mpsc::unbounded_channel();
    let at = upstream(move |_| {
        let held = held.clone();
        async move {
            held.send(()).ok();
            std::future::pending().await
        }
    })
    .await;
    let house = House::open(vec![route(&[APP], &[at])]).await;
    let pem = house.self_signed(APP);
    let mut stream = tls_on(house.https(), Some(APP), &pem, &[b"h2"]).await.expect("a handshake");
    // RFC 9113: preface, empty SETTINGS, then streams that are opened and reset at once.
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    flood.extend(frame(SETTINGS, 0, 0, &[]));
    for stream in 0..2_000 {
        flood.extend(frame(HEADERS, END_STREAM | END_HEADERS, 2 * stream + 1, &get_app()));
        flood.extend(frame(RST_STREAM, 0, 2 * stream + 1, &CANCEL.to_be_bytes()));
    }
    // The other side may close in the middle of it.
    stream.write_all(&flood).await.ok();
    // With the streams still welcome, nothing would end this.
    soon(stream.read_to_end(&mut Vec::new())).await.ok();
    holds.close();
    let mut reached = 0;
    while holds.recv().await.is_some() {
        reached += 1;
    }
    assert!(reached < 1_000, "{reached} cancelled requests reached the upstream");
}

const HEADERS: u8 = 1;

const RST_STREAM: u8 = 3;

const SETTINGS: u8 = 4;

const END_STREAM: u8 = 1;

const END_HEADERS: u8 = 4;

const CANCEL: u32 = 8;

/// RFC 9113 section 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// GET of the root of [`APP`] by https, in the static table of RFC 7541.
fn get_app() -> Vec<u8> {
    let length = u8::try_from(APP.len()).expect("short");
    [&[0x82, 0x84, 0x87, 0x01, length], APP.as_bytes()].concat()
}
