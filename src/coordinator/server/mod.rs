//! HTTP surface of the coordinator.
//!
//! ```text
//! request -> handle -+- /key, /health, /generate_204, /derp/probe ...   answered at once
//!                    +- /derp    -> 101 -> RelayServer::serve
//!                    +- /ts2021  -> 101 -> Noise -> HTTP/2 -+- /machine/register -> Ledger::register
//!                                                           +- /machine/map      -> Ledger::map -> stream of frames
//! ```
//!
//! Any stranger completes the Noise handshake with a fresh machine key: inside, a request is answered by what the
//! ledger knows of the pair (machine key, node key), and until one was granted the connection is a stranger's.

mod connections;
mod control;
mod machine;
mod map_frame;
mod map_stream;
mod plain;
mod reply;
mod request;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::connections::Connections;
use self::map_frame::MapEncoder;
use super::ledger::{Departure, Ledger, Origin};
use super::metrics::ControlMetrics;
use super::relay_server::RelayServer;
use crate::base::rate::Remark;
use crate::base::rng::SeededRng;
use crate::wire::key::MachinePrivate;

/// Body of every answer.
pub type Body = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The coordinator as an HTTP service; clones share everything. Open connections hold one: [`Server::close`] ends them.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

struct Shared {
    ledger: Ledger,
    relay: RelayServer,
    noise_key: MachinePrivate,
    rng: Mutex<SeededRng>,
    encoder: MapEncoder,
    connections: Connections,
    metrics: ControlMetrics,
    /// Log lines about connections that found no place, which any stranger can cause.
    busy: Mutex<Remark>,
    /// Ends the task that follows departures.
    _stop: DropGuard,
}

impl Server {
    /// A server whose Noise identity is `noise_key`. Must be called inside a tokio runtime: it follows the ledger's departures.
    pub fn new(
        ledger: Ledger,
        noise_key: MachinePrivate,
        relay: RelayServer,
        metrics: ControlMetrics,
        seed: [u8; 32],
    ) -> Self {
        let stop = CancellationToken::new();
        let connections = Connections::new(metrics.open_connections.clone());
        tokio::spawn(follow_departures(ledger.clone(), connections.clone(), relay.clone(), stop.clone()));
        Self(Arc::new(Shared {
            ledger,
            relay,
            noise_key,
            rng: Mutex::new(SeededRng::new(seed)),
            encoder: MapEncoder::new(),
            connections,
            metrics,
            busy: Mutex::default(),
            _stop: stop.drop_guard(),
        }))
    }

    /// Whether `path` is the coordinator's own on a port it shares.
    pub fn claims(path: &str) -> bool {
        const EXACT: [&str; 7] =
            ["/bootstrap-dns", "/derp", "/generate_204", "/health", "/key", "/ts2021", "/verify"];
        EXACT.contains(&path) || path.starts_with("/derp/") || path.starts_with("/machine/")
    }

    /// Answers one request outside Noise. Upgraded connections go on in tasks of their own.
    pub async fn handle(&self, request: Request<Incoming>, origin: Origin) -> Response<Body> {
        match request.uri().path() {
            "/ts2021" => control::accept(self, request, origin),
            "/derp" => plain::relay(&self.0.relay, request, origin.peer),
            "/derp/probe" | "/derp/latency-check" => plain::latency_check(),
            "/generate_204" => plain::captive_portal_check(request.headers()),
            "/health" => plain::health(),
            "/key" => plain::key(request.uri().query(), &self.0.noise_key),
            "/verify" => plain::verify(&self.0.ledger, request).await,
            path if path.starts_with("/machine/") => reply::text(
                StatusCode::NOT_FOUND,
                "this is reached inside the encrypted channel of /ts2021 only, which Tailscale clients open themselves",
            ),
            _ => reply::text(
                StatusCode::NOT_FOUND,
                "nothing is here; this is the coordinator of a tailnet, for Tailscale clients: tailscale up --login-server <this address>",
            ),
        }
    }

    /// Ends all control connections; requests in progress get a few seconds. Stop accepting first.
    pub fn close(&self) {
        self.0.connections.close_all();
    }

    /// A generator for one connection, so that no handshake computes under the lock.
    fn fork_rng(&self) -> SeededRng {
        // A poisoned generator is still a generator: drawing cannot leave it half changed.
        SeededRng::new(self.0.rng.lock().unwrap_or_else(PoisonError::into_inner).bytes())
    }
}

/// A departed node keeps neither its place at the relay nor its control connection; a machine that is still here by another
/// node key keeps the latter.
async fn follow_departures(
    ledger: Ledger,
    connections: Connections,
    relay: RelayServer,
    stop: CancellationToken,
) {
    let mut departures = ledger.departures();
    loop {
        let departure = tokio::select! {
            departure = departures.recv() => departure,
            () = stop.cancelled() => return,
        };
        match departure {
            Ok(Departure { node, machine }) => {
                tracing::debug!(?node, "node departed");
                relay.disconnect(node);
                if !ledger.snapshot().admits_machine(machine) {
                    connections.close_machine(machine);
                }
            }
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "departures overtook the server; all control connections are closed");
                connections.close_all();
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}
