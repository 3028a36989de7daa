//! Asking in either version of HTTP.

use genkan::edge::body;
use http::Request;
use http::StatusCode;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use crate::client::{Client, https1, https2};
use crate::house::{House, get, soon};

pub const APP: &str = "app.example.com";

pub const API: &str = "api.example.com";

pub async fn both(house: &House, name: &str) -> [Client; 2] {
    let pem = house.self_signed(name);
    [https1(house.https(), name, &pem).await, https2(house.https(), name, &pem).await]
}

/// For HTTP/1.1 the target is a path and the host a header; HTTP/2 takes both from the URL.
pub fn ask(client: &Client, host: &str, path: &str) -> Request<genkan::edge::Body> {
    match client {
        Client::Http1(_) => {
            Request::builder().uri(path).header("host", host).body(body::empty()).expect("a request")
        }
        Client::Http2(_) => get(&format!("https://{host}{path}")),
    }
}

pub async fn upgraded(client: &mut Client, host: &str, path: &str) -> TokioIo<hyper::upgrade::Upgraded> {
    let request = Request::builder()
        .uri(path)
        .header("host", host)
        .header("connection", "Upgrade")
        .header("upgrade", "echo")
        .body(body::empty())
        .expect("a request");
    let mut response = soon(client.send(request)).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()["upgrade"], "echo");
    TokioIo::new(soon(hyper::upgrade::on(&mut response)).await.expect("an upgrade"))
}

pub async fn assert_echo(client: &mut Client, host: &str, path: &str) {
    let mut io = upgraded(client, host, path).await;
    for word in [&b"ping"[..], b"again"] {
        io.write_all(word).await.expect("sent");
        let mut echo = vec![0; word.len()];
        soon(io.read_exact(&mut echo)).await.expect("an echo");
        assert_eq!(echo, word);
    }
    io.shutdown().await.expect("closed");
    assert_eq!(soon(io.read(&mut [0; 1])).await.expect("the end"), 0);
}
