//! The DERP relay: the shell around [`Relay`] that owns the connections.
//!
//! ```text
//! client A -> read loop -> Relay (one lock, short) -> wake -> write loop -> client B
//! gateway's node <-> RelayPort (channels) <-> the same
//! ```
//!
//! The read loop never waits for a writer: what a slow client does not take in time is displaced in its queue.

mod connection;
mod metrics;
mod port;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tracing::debug;

pub use metrics::RelayMetrics;
pub use port::RelayPort;

use crate::coordinator::core::relay::{ConnectionId, Full, Relay, Transmit};
use crate::wire::key::{NodePrivate, NodePublic};

/// Answers whether a node may use the relay now.
pub type Admit = Arc<dyn Fn(NodePublic) -> bool + Send + Sync>;

/// The relay; clones are the same relay.
#[derive(Clone)]
pub struct RelayServer {
    shared: Arc<Shared>,
}

struct Shared {
    key: NodePrivate,
    admit: Admit,
    metrics: RelayMetrics,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    relay: Relay,
    writers: BTreeMap<ConnectionId, Arc<Notify>>,
}

/// A place in the relay, given back on drop.
struct Seat {
    relay: RelayServer,
    id: ConnectionId,
    /// Signalled when the writer has something to poll.
    wake: Arc<Notify>,
}

impl RelayServer {
    /// `key`: the relay's own, kept stable over restarts. `admit` is asked once per connection; who loses admission later is
    /// named to [`RelayServer::disconnect`].
    pub fn new(key: NodePrivate, admit: Admit, metrics: RelayMetrics) -> Self {
        let state = Mutex::default();
        Self { shared: Arc::new(Shared { key, admit, metrics, state }) }
    }

    /// The key that clients are told, for the upgrade's response header.
    pub fn public_key(&self) -> NodePublic {
        self.shared.key.public()
    }

    /// Speaks DERP on `io`, from the relay's greeting to the end of the connection.
    pub async fn serve(&self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: SocketAddr) {
        match self.open(peer) {
            Ok(seat) => {
                if let Err(end) = connection::run(&seat, io).await {
                    debug!(%peer, %end, "relay connection ended");
                }
            }
            Err(full) => {
                self.shared.metrics.count_full(full);
                debug!(%peer, %full, "relay connection refused");
            }
        }
    }

    /// Joins a node of this process, without a socket. Must be called inside a tokio runtime; ends when the port drops.
    pub fn attach(&self, node: NodePublic) -> RelayPort {
        let seat = self.sit(|relay| Ok(relay.handle_attach(node)));
        port::open(seat.unwrap_or_else(|full: std::convert::Infallible| match full {}))
    }

    /// Ends the connections of a node that may no longer be here.
    pub fn disconnect(&self, node: NodePublic) {
        self.lock(|relay| relay.handle_departure(node));
    }

    fn open(&self, peer: SocketAddr) -> Result<Seat, Full> {
        self.sit(|relay| relay.handle_open(peer.ip(), Instant::now()))
    }

    fn sit<E>(&self, enter: impl FnOnce(&mut Relay) -> Result<ConnectionId, E>) -> Result<Seat, E> {
        let mut state = self.state();
        let entered = enter(&mut state.relay);
        state.wake_writers();
        let id = entered?;
        let wake = Arc::new(Notify::new());
        state.writers.insert(id, wake.clone());
        self.shared.metrics.open_connections.inc();
        Ok(Seat { relay: self.clone(), id, wake })
    }

    /// Runs one step of the core, then wakes the writers it named.
    fn lock<T>(&self, step: impl FnOnce(&mut Relay) -> T) -> T {
        let mut state = self.state();
        let result = step(&mut state.relay);
        state.wake_writers();
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake_writers(&mut self) {
        while let Some(id) = self.relay.poll_wake() {
            if let Some(writer) = self.writers.get(&id) {
                writer.notify_one();
            }
        }
    }
}

impl Seat {
    /// Returns when the connection is to end.
    async fn expelled(&self) {
        while !self.relay.lock(|relay| relay.is_closing(self.id)) {
            self.wake.notified().await;
        }
    }

    fn shared(&self) -> &Shared {
        &self.relay.shared
    }

    fn introduce(&self, key: NodePublic) {
        self.relay.lock(|relay| relay.handle_introduction(self.id, key));
    }

    fn send(&self, destination: NodePublic, packet: Bytes) {
        let metrics = &self.shared().metrics;
        metrics.received.count(packet.len());
        let now = Instant::now();
        let result = self.relay.lock(|relay| relay.handle_packet(self.id, destination, packet, now));
        if let Err(reason) = result {
            metrics.count_drop(reason);
        }
    }

    fn answer_ping(&self, data: [u8; 8]) {
        self.relay.lock(|relay| relay.handle_ping(self.id, data));
    }

    fn note_activity(&self) {
        self.relay.lock(|relay| relay.handle_activity(self.id));
    }

    /// Hands over what is due until `take` has enough (answers false) or nothing is left.
    fn take_transmits(&self, mut take: impl FnMut(Transmit) -> bool) {
        self.relay.lock(|relay| while relay.poll_transmit(self.id).is_some_and(&mut take) {});
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.relay.lock(|relay| relay.handle_close(self.id));
        self.relay.state().writers.remove(&self.id);
        self.shared().metrics.open_connections.dec();
    }
}

#[cfg(test)]
mod tests;
