//! A client of the control channel, made of the crate's own initiator and hyper.

use bytes::{Buf, Bytes, BytesMut};
use genkan::base::rng::SeededRng;
use genkan::coordinator::noise_stream::NoiseStream;
use genkan::wire::control::MapResponse;
use genkan::wire::key::{MachinePrivate, MachinePublic};
use genkan::wire::noise::early_payload::{self, Decoded};
use genkan::wire::noise::{Initiator, RESPONSE_LEN};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, duplex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::house::House;

/// An HTTP/1.1 connection to the server.
pub struct Door(http1::SendRequest<Full<Bytes>>);

impl Door {
    pub async fn open(house: &House) -> Self {
        let (near, far) = duplex(64 << 10);
        let (server, origin) = (house.server.clone(), House::origin());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let server = server.clone();
                async move { Ok::<_, std::convert::Infallible>(server.handle(request, origin).await) }
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
            connection.with_upgrades().await
        });
        let (sender, connection) = http1::handshake(TokioIo::new(near)).await.expect("a pipe");
        tokio::spawn(connection.with_upgrades());
        Self(sender)
    }

    pub async fn get(&mut self, path: &str) -> (StatusCode, String) {
        self.0.ready().await.expect("kept alive");
        let request = Request::get(path).body(Full::default()).expect("a path");
        read(self.0.send_request(request).await.expect("an answer")).await
    }

    async fn upgrade(mut self, initiation: &[u8]) -> Upgraded {
        let request = Request::post("/ts2021")
            .header("Upgrade", "tailscale-control-protocol")
            .header("Connection", "upgrade")
            .header("X-Tailscale-Handshake", STANDARD.encode(initiation))
            .body(Full::default())
            .expect("proper headers");
        let response = self.0.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        hyper::upgrade::on(response).await.expect("upgraded")
    }
}

/// HTTP/2 inside Noise.
pub struct Channel {
    requests: http2::SendRequest<Full<Bytes>>,
    connection: tokio::task::JoinHandle<hyper::Result<()>>,
}

impl Channel {
    pub async fn open(house: &House, machine: MachinePrivate) -> Self {
        let mut rng = SeededRng::new([3; 32]);
        let (initiator, first) = Initiator::start(142, machine, house.key(), &mut rng).expect("a good key");
        let mut io = TokioIo::new(Door::open(house).await.upgrade(&first).await);
        let mut response = [0; RESPONSE_LEN];
        io.read_exact(&mut response).await.expect("a response");
        let mut stream = NoiseStream::new(io, initiator.finish(&response).expect("from this server"));
        let mut early = Vec::new();
        while early_payload::decode(&early).expect("well formed") == Decoded::Incomplete {
            early.push(stream.read_u8().await.expect("an early payload"));
        }
        let (requests, connection) =
            http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await.expect("HTTP/2");
        Self { requests, connection: tokio::spawn(connection) }
    }

    pub async fn post(&mut self, path: &str, body: &serde_json::Value) -> (StatusCode, String) {
        read(self.send(path, body).await).await
    }

    pub async fn stream(&mut self, request: &serde_json::Value) -> Messages {
        let response = self.send("/machine/map", request).await;
        assert_eq!(response.status(), StatusCode::OK);
        Messages { body: response.into_body(), buffer: BytesMut::new() }
    }

    /// Resolves when the server has closed the connection.
    pub async fn closed(self) {
        let _ = self.connection.await.expect("no panic");
    }

    async fn send(&mut self, path: &str, body: &serde_json::Value) -> Response<Incoming> {
        let request = Request::post(format!("https://unused{path}"))
            .body(Full::from(body.to_string()))
            .expect("a path");
        self.requests.ready().await.expect("open");
        self.requests.send_request(request).await.expect("an answer")
    }
}

/// The messages of a map stream.
pub struct Messages {
    body: Incoming,
    buffer: BytesMut,
}

impl Messages {
    pub async fn next(&mut self, compressed: bool) -> Option<MapResponse> {
        let length = self.take(4).await?.get_u32_le();
        let message = self.take(usize::try_from(length).expect("a length")).await?;
        let json = if compressed {
            zstd::bulk::decompress(&message, 1 << 20).expect("one zstd frame")
        } else {
            message.to_vec()
        };
        Some(serde_json::from_slice(&json).expect("a map"))
    }

    async fn take(&mut self, count: usize) -> Option<Bytes> {
        while self.buffer.len() < count {
            let frame = self.body.frame().await?.ok()?;
            self.buffer.extend_from_slice(&frame.into_data().ok()?);
        }
        Some(self.buffer.split_to(count).freeze())
    }
}

/// What the server answers a handshake made for the key of `another` server.
pub async fn refused_handshake(house: &House, another: MachinePublic) -> String {
    let machine = MachinePrivate::from_bytes([4; 32]);
    let (_, first) =
        Initiator::start(142, machine, another, &mut SeededRng::new([3; 32])).expect("a good key");
    let mut io = TokioIo::new(Door::open(house).await.upgrade(&first).await);
    let mut message = Vec::new();
    io.read_to_end(&mut message).await.expect("an error message");
    assert_eq!(message[0], 3);
    assert_eq!(usize::from(u16::from_be_bytes([message[1], message[2]])), message.len() - 3);
    String::from_utf8(message.split_off(3)).expect("text")
}

async fn read(response: Response<Incoming>) -> (StatusCode, String) {
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}
