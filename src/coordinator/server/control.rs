//! `POST /ts2021`: from an HTTP request to HTTP/2 inside Noise.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderMap, HeaderName};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::connections::Slot;
use super::machine::Session;
use super::{Body, Server, reply};
use crate::base::rate::LOG_RATE;
use crate::coordinator::ledger::Origin;
use crate::coordinator::noise_stream::NoiseStream;
use crate::wire::key::ChallengePrivate;
use crate::wire::noise::{Accepted, INITIATION_LEN, Initiation, early_payload, encode_error, respond};

const PROTOCOL: &str = "tailscale-control-protocol";
const HANDSHAKE: HeaderName = HeaderName::from_static("x-tailscale-handshake");

/// From the 101 to the client's first record.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// What a closed connection has left for requests in progress, so that the answer to a logout still arrives.
const CLOSE_TIME: Duration = Duration::from_secs(5);

/// A silent peer is asked after the first, dropped after the second: within a minute, as the tailnet shall see it.
const PING_AFTER: Duration = Duration::from_secs(25);
const PING_TIME: Duration = Duration::from_secs(20);

/// Requests in progress on one connection; clients run one stream, and updates one at a time.
const STREAMS_MAX: u32 = 64;

/// Bytes in flight towards this side, of one request and of all: what a stranger can make this side hold. Requests carry a
/// few KiB, and a larger one goes on as it is read.
const STREAM_WINDOW: u32 = 32 << 10;
const WINDOW: u32 = 64 << 10;

/// Bytes buffered towards the client per stream, beyond the frame in hand.
const SEND_BUFFER: usize = 64 << 10;

const HEADERS_MAX: u32 = 16 << 10;

const NOT_FOR_THIS_KEY: &str = "the handshake was made for another coordinator key; \
     restart Tailscale on this machine so that it fetches the present one";

/// Answers the upgrade request and, when its handshake is good, serves the connection in a task.
pub fn accept(server: &Server, request: Request<Incoming>, origin: Origin) -> Response<Body> {
    let initiation = match expect_initiation(request.method(), request.headers()) {
        Ok(initiation) => initiation,
        Err(response) => {
            server.0.metrics.count_handshake("malformed");
            return *response;
        }
    };
    let accepted = match respond(&server.0.noise_key, &initiation, &mut server.fork_rng()) {
        Ok(accepted) => accepted,
        Err(error) => {
            server.0.metrics.count_handshake("refused");
            tracing::debug!(%error, peer = %origin.peer, "noise handshake refused");
            tokio::spawn(timeout(HANDSHAKE_TIME, refuse(hyper::upgrade::on(request))));
            return reply::switch(PROTOCOL);
        }
    };
    let is_known = || server.0.ledger.snapshot().admits_machine(accepted.peer);
    let Some(slot) = server.0.connections.open(accepted.peer, Instant::now(), is_known) else {
        server.0.metrics.count_handshake("busy");
        if let Some(unsaid) = server
            .0
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .say(LOG_RATE, std::time::Instant::now())
        {
            tracing::warn!(unsaid, "control connections are at their limit; a client is refused");
        }
        return reply::text(StatusCode::SERVICE_UNAVAILABLE, "too many connections; try again in a minute");
    };
    tokio::spawn(serve(server.clone(), hyper::upgrade::on(request), accepted, slot, origin));
    reply::switch(PROTOCOL)
}

fn expect_initiation(method: &Method, headers: &HeaderMap) -> Result<Initiation, Box<Response<Body>>> {
    let refuse = |status, sentence: &str| Err(Box::new(reply::text(status, sentence)));
    if reply::asks_upgrade(headers, "websocket") {
        return refuse(
            StatusCode::NOT_IMPLEMENTED,
            "the WebSocket form of the control channel (Tailscale in a browser) is not served",
        );
    }
    if method != Method::POST || !reply::asks_upgrade(headers, PROTOCOL) {
        return refuse(
            StatusCode::UPGRADE_REQUIRED,
            "this is a tailnet's control channel; it needs HTTP/1.1 POST with \"Upgrade: tailscale-control-protocol\", \
             which a proxy in between may have taken out",
        );
    }
    match decode_initiation(headers) {
        Some(initiation) => Ok(initiation),
        None => refuse(StatusCode::BAD_REQUEST, "X-Tailscale-Handshake is missing or no Noise initiation"),
    }
}

fn decode_initiation(headers: &HeaderMap) -> Option<Initiation> {
    let mut bytes = [0; INITIATION_LEN + 3];
    let length = STANDARD.decode_slice(headers.get(HANDSHAKE)?, &mut bytes).ok()?;
    Initiation::decode(&bytes[..length]).ok()
}

/// Tells the client, in its own protocol, why there is no handshake; clients show only this, not an HTTP body.
async fn refuse(upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut io = TokioIo::new(upgraded);
    // The client may be gone: then nobody is left to tell.
    let _ = io.write_all(&encode_error(NOT_FOR_THIS_KEY)).await;
    let _ = io.shutdown().await;
}

async fn serve(server: Server, upgrade: OnUpgrade, accepted: Accepted, slot: Slot, origin: Origin) {
    let machine = accepted.peer;
    let stream = match timeout(HANDSHAKE_TIME, open(&server, upgrade, accepted)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            server.0.metrics.count_handshake("broken");
            tracing::debug!(%error, "control connection ended in its handshake");
            return;
        }
        Err(_) => {
            server.0.metrics.count_handshake("timeout");
            return;
        }
    };
    server.0.metrics.count_handshake("accepted");
    serve_http(Arc::new(Session::new(server, machine, origin, slot)), stream).await;
}

/// Sends the response and the early payload; done when the client's HTTP/2 preface begins to arrive.
async fn open(
    server: &Server,
    upgrade: OnUpgrade,
    accepted: Accepted,
) -> io::Result<NoiseStream<impl AsyncRead + AsyncWrite + Unpin + Send + use<>>> {
    let challenge = ChallengePrivate::generate(&mut server.fork_rng()).public();
    let mut io = TokioIo::new(upgrade.await.map_err(io::Error::other)?);
    io.write_all(&accepted.response).await?;
    let mut stream = NoiseStream::new(io, accepted.transport);
    stream.write_all(&early_payload::encode(challenge)).await?;
    stream.flush().await?;
    stream.readable().await?;
    Ok(stream)
}

async fn serve_http(session: Arc<Session>, stream: NoiseStream<impl AsyncRead + AsyncWrite + Unpin + Send>) {
    let answering = session.clone();
    let service = service_fn(move |request| {
        let session = answering.clone();
        async move { Ok::<_, Infallible>(session.answer(request).await) }
    });
    let connection = http2().serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        result = &mut connection => return log_end(result),
        () = session.slot().closing() => connection.as_mut().graceful_shutdown(),
    }
    if let Ok(result) = timeout(CLOSE_TIME, connection).await {
        log_end(result);
    }
}

fn http2() -> hyper::server::conn::http2::Builder<TokioExecutor> {
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_TIME)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEADERS_MAX);
    builder
}

fn log_end(result: hyper::Result<()>) {
    match result {
        Ok(()) => tracing::debug!("control connection closed"),
        Err(error) => tracing::debug!(%error, "control connection broke"),
    }
}
