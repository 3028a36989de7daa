//! The life of one connection: TLS where the door asks for it, then HTTP of the version agreed on, until the client leaves, is idle or slow
//! for too long, or the edge drains.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::Shared;
use super::activity::Activity;
use super::stream::Stream;
use crate::edge::Body;
use crate::edge::core::dispatch::Presented;
use crate::edge::core::listen_plan::Door;
use crate::edge::front::Front;
use crate::edge::tls;

/// For the whole TLS handshake: a phone on a bad network needs a few seconds, a stranger who holds sockets open gets no more.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// For the first request to come, for its header to arrive whole, and for a kept-alive HTTP/1.1 connection to ask again.
const HEADER_TIMEOUT: Duration = Duration::from_mins(1);

/// An HTTP/2 connection without further requests is closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);

/// How long a connection that was told to finish may take, when only idleness is the reason.
const FINISH_TIMEOUT: Duration = Duration::from_secs(10);

/// A request's header in all; what Caddy accepts since 2026. Cookies of real services stay below half of it.
const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// Lines of a request's header.
const MAX_HEADER_LINES: usize = 100;

/// Read and write buffer of an HTTP/1.1 connection.
const MAX_BUFFER: usize = 64 * 1024;

/// Requests at once on one HTTP/2 connection (RFC 9113 section 6.5.2 advises at least 100).
const MAX_STREAMS: u32 = 100;

/// Streams reset by the peer before we took them up, and by us for the peer's mistakes, before the connection is closed: a flood of
/// cancelled requests (CVE-2023-44487) ends early.
const MAX_PENDING_RESETS: usize = 20;
const MAX_LOCAL_RESETS: usize = 64;

/// Bytes of request bodies that a client may have under way to us per stream and per connection; what a slow upstream makes us hold.
/// One stream leaves a quarter to the others, so that one upload which nobody takes does not stop them; 96 KiB are 39 Mbit/s at a
/// distance of 20 ms.
const STREAM_WINDOW: u32 = CONNECTION_WINDOW / 4 * 3;
const CONNECTION_WINDOW: u32 = 128 * 1024;

/// Bytes held per HTTP/2 stream for a client that does not read.
const MAX_SEND_BUFFER: usize = 64 * 1024;

/// A silent HTTP/2 peer is asked whether it lives.
const PING_INTERVAL: Duration = Duration::from_mins(1);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What requests need to know of the connection they came on.
#[derive(Debug)]
pub struct Connection {
    /// IPv4 never as mapped IPv6, both ends.
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub door: Door,
    pub presented: Presented,
}

impl Connection {
    /// Of the requests that come on it.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.door.is_tls() { "https" } else { "http" }
    }
}

/// Serves one accepted socket to its end.
pub async fn serve(stream: Stream, peer: SocketAddr, door: Door, shared: Shared) {
    let Ok(local) = stream.inner().local_addr() else { return };
    let (peer, local) = (canonical(peer), canonical(local));
    let abort = shared.abort.clone();
    let served = async {
        if door.is_tls() {
            Box::pin(serve_tls(stream, peer, local, door, &shared)).await;
        } else {
            let connection = Connection { peer, local, door, presented: Presented::Nothing };
            Box::pin(serve_http(stream, connection, false, &shared)).await;
        }
    };
    abort.run_until_cancelled(served).await;
}

async fn serve_tls(stream: Stream, peer: SocketAddr, local: SocketAddr, door: Door, shared: &Shared) {
    let Some(stream) = shake_hands(stream, shared).await else { return };
    let (_, session) = stream.get_ref();
    let presented = shared.certificates.presented(session.server_name());
    let is_http2 = tls::is_http2(session.alpn_protocol());
    serve_http(stream, Connection { peer, local, door, presented }, is_http2, shared).await;
}

async fn shake_hands<I>(stream: I, shared: &Shared) -> Option<TlsStream<I>>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let (reason, error) = match tokio::time::timeout(HANDSHAKE_TIMEOUT, shared.tls.accept(stream)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => ("refused", error),
        Err(elapsed) => ("timeout", elapsed.into()),
    };
    debug!(%error, "TLS handshake failed");
    shared.metrics.count_handshake_failure(reason);
    None
}

async fn serve_http<I>(io: I, connection: Connection, is_http2: bool, shared: &Shared)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let activity = Activity::new();
    let service = service(Arc::clone(&shared.front), connection, activity.clone());
    let io = TokioIo::new(io);
    let ended = if is_http2 {
        drive(http2_builder().serve_connection(io, service), &activity, shared).await
    } else {
        drive(http1_builder().serve_connection(io, service).with_upgrades(), &activity, shared).await
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}

fn service(
    front: Arc<Front>,
    connection: Connection,
    activity: Activity,
) -> impl Service<Request<Incoming>, Response = http::Response<Body>, Error = Infallible, Future: Send> {
    let connection = Arc::new(connection);
    service_fn(move |request| {
        let (front, connection, busy) = (Arc::clone(&front), Arc::clone(&connection), activity.begin());
        async move { Ok(front.answer(request, &connection).await.map(|body| busy.until_sent(body))) }
    })
}

fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_header_size(MAX_HEADER_BYTES as usize)
        .max_headers(MAX_HEADER_LINES)
        .max_buf_size(MAX_BUFFER);
    builder
}

fn http2_builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Runs the connection; when the edge drains or nobody has asked anything for long, it may finish what is under way and no more.
async fn drive<C: Finish>(connection: C, activity: &Activity, shared: &Shared) -> hyper::Result<()> {
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = shared.drain.cancelled() => {
            connection.as_mut().finish();
            return connection.await;
        }
        () = activity.idle_for(HEADER_TIMEOUT, IDLE_TIMEOUT) => connection.as_mut().finish(),
    }
    tokio::time::timeout(FINISH_TIMEOUT, connection).await.unwrap_or(Ok(()))
}

/// A connection that can be told to take no more requests.
trait Finish: Future<Output = hyper::Result<()>> {
    fn finish(self: Pin<&mut Self>);
}

impl<I, S> Finish for http1::UpgradeableConnection<I, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = Body, Error = Infallible>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S> Finish for http2::Connection<I, S, TokioExecutor>
where
    S: hyper::service::HttpService<Incoming, ResBody = Body, Error = Infallible, Future: Send + 'static>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, address.port())),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
