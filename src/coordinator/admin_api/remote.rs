//! The interface over TLS: for machines of the house and the tailnet, and there for who shows an API key.
//!
//! A stranger's connection is closed before a byte of it is read. No name is looked at and no cookie is known, so a page in
//! somebody's browser has nothing to send that would count.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::AdminApi;
use super::answer::{Answer, refusal};
use super::certificate::Certificate;
use super::gate::{Gate, Seat};
use super::route;
use crate::base::house;

/// For the TLS handshake, and for the head of each request.
const DEADLINE: Duration = Duration::from_secs(10);

/// Longer than the upload of an update over a slow line.
const CONNECTION_TIME: Duration = Duration::from_mins(30);

/// A request's head in all, in bytes, and its lines.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEAD_LINES: usize = 64;

/// After an error of `accept`, which is usually "no more file descriptors": time for one to come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What all connections share.
#[derive(Clone)]
struct Desk {
    api: AdminApi,
    tls: TlsAcceptor,
    gate: Gate,
}

/// Answers on `listener` with `certificate` until `stop`.
pub async fn serve(listener: TcpListener, api: AdminApi, certificate: Certificate, stop: CancellationToken) {
    let desk = Desk { api, tls: TlsAcceptor::from(certificate.tls()), gate: Gate::new() };
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => desk.receive(stream, peer.ip().to_canonical(), &stop),
            Err(error) => {
                debug!(%error, "accepting an admin connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Desk {
    fn receive(&self, stream: TcpStream, peer: IpAddr, stop: &CancellationToken) {
        if !house::admits(peer) {
            return debug!(%peer, "an admin connection from outside was closed");
        }
        let Some(seat) = self.gate.seat(peer) else {
            return debug!(%peer, "no place for another admin connection");
        };
        let talk = tokio::time::timeout(CONNECTION_TIME, self.clone().converse(stream, peer, seat));
        tokio::spawn(stop.clone().run_until_cancelled_owned(talk));
    }

    async fn converse(self, stream: TcpStream, peer: IpAddr, _seat: Seat) {
        let Ok(Ok(stream)) = tokio::time::timeout(DEADLINE, self.tls.accept(stream)).await else {
            return debug!(%peer, "an admin connection did not speak TLS");
        };
        let desk = Arc::new(self);
        let service = service_fn(move |request| {
            let desk = Arc::clone(&desk);
            async move { Ok::<_, std::convert::Infallible>(desk.answer(peer, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(DEADLINE)
            .max_headers(MAX_HEAD_LINES)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = connection.await {
            debug!(%error, "admin connection");
        }
    }

    async fn answer(&self, peer: IpAddr, request: Request<Incoming>) -> Answer {
        match self.gate.admit(peer, request.headers(), &self.api.ledger).await {
            Ok(()) => route::respond(&self.api, request).await,
            Err(reason) => turned_away(refusal(reason)),
        }
    }
}

/// Whoever has no key gets one answer for each connection.
fn turned_away(mut answer: Answer) -> Answer {
    let status = answer.status();
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("60"));
    }
    answer
}
