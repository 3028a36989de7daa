//! Accepting connections.
//!
//! One task per listening socket takes what the kernel has queued, within the ceilings of [`crate::base::ceilings`], and gives each
//! connection its own task ([`connection`]). A connection counts against the ceilings until it, or what it was upgraded to, ends.

mod activity;
mod connection;
mod permit;
mod socket;
mod stream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::base::ceilings::Ceilings;
use crate::base::roll_call::{RollCall, Turns};
use crate::edge::LOOPS;
use crate::edge::core::listen_plan::Door;
use crate::edge::front::Front;
use crate::edge::http_metrics::{HttpMetrics, ListenerMetrics};
use crate::edge::tls::Certificates;
pub use connection::Connection;
pub use permit::{Admission, Permit};
pub use socket::tune;
use stream::Stream;

/// After an `accept` that failed for want of descriptors or memory, which only time cures.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An accepting task that has nothing to accept shows so often that it lives.
const TURN: Duration = Duration::from_secs(2);

/// What every listener of the edge has in common.
#[derive(Clone)]
pub struct Shared {
    pub front: Arc<Front>,
    pub certificates: Arc<Certificates>,
    pub tls: TlsAcceptor,
    pub metrics: HttpMetrics,
    pub loops: RollCall,
    /// Connections and tunnels in being.
    pub tasks: TaskTracker,
    /// No connection takes further requests.
    pub drain: CancellationToken,
    /// Everything ends now.
    pub abort: CancellationToken,
}

/// A listening socket being served; dropped, it soon listens no more.
pub struct Listener {
    address: SocketAddr,
    door: Door,
    stop: DropGuard,
    accepting: JoinHandle<()>,
}

impl Listener {
    /// Binds and serves from now on.
    ///
    /// # Errors
    /// The environment's: the port is taken or forbidden, or the address is not of this machine.
    pub fn open(
        address: SocketAddr,
        door: Door,
        ceilings: Ceilings,
        shared: Shared,
    ) -> std::io::Result<Self> {
        let socket = socket::listen(address)?;
        let address = socket.local_addr()?;
        info!(%address, ?door, "listening");
        let stop = shared.drain.child_token();
        let metrics = shared.metrics.of_listener(door, address);
        let entrance = Entrance { door, admission: Admission::new(ceilings), metrics };
        let turns = shared.loops.join(LOOPS, format!("listener {address}"));
        let tasks = shared.tasks.clone();
        let accepting = tasks.spawn(accept(socket, entrance, shared, stop.clone(), turns));
        Ok(Self { address, door, stop: stop.drop_guard(), accepting })
    }

    /// The address bound, with the port taken when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn door(&self) -> Door {
        self.door
    }

    /// Listens no more when this returns; connections that are open stay.
    pub async fn close(self) {
        drop(self.stop);
        // An error means that the task is gone, and the socket with it.
        self.accepting.await.ok();
    }
}

/// What a connection passes on its way in.
struct Entrance {
    door: Door,
    admission: Admission,
    metrics: ListenerMetrics,
}

async fn accept(
    socket: TcpListener,
    entrance: Entrance,
    shared: Shared,
    stop: CancellationToken,
    turns: Turns,
) {
    let mut is_failing = false;
    while let Some(accepted) = stop.run_until_cancelled(timeout(TURN, socket.accept())).await {
        turns.count();
        let Ok(accepted) = accepted else { continue };
        let was_failing = std::mem::replace(&mut is_failing, accepted.is_err());
        match accepted {
            Ok((stream, peer)) => admit(stream, peer, &entrance, &shared),
            Err(error) => {
                if !was_failing {
                    warn!(%error, door = ?entrance.door, "cannot accept connections");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    turns.leave();
}

fn admit(socket: TcpStream, peer: SocketAddr, entrance: &Entrance, shared: &Shared) {
    let Entrance { door, admission, metrics } = entrance;
    let permit = match admission.admit(peer.ip()) {
        Ok(permit) => permit,
        Err(denied) => {
            debug!(%denied, ?door, "connection refused");
            return metrics.count_refused(denied);
        }
    };
    metrics.count_accepted();
    if let Err(error) = socket::tune(&socket) {
        debug!(%error, "cannot tune a connection");
    }
    let stream = Stream::new(socket, permit);
    shared.tasks.spawn(connection::serve(stream, peer, *door, shared.clone()));
}
