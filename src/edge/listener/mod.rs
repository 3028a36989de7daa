//! Accepting connections.
//!
//! One task per listening socket takes what the kernel has queued, within the ceilings of [`crate::edge::core::limits`], and gives each
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

use crate::base::roll_call::{RollCall, Turns};
use crate::edge::LOOPS;
use crate::edge::core::limits::Ceilings;
use crate::edge::core::listen_plan::Door;
use crate::edge::front::Front;
use crate::edge::http_metrics::HttpMetrics;
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
        let admission = Admission::new(ceilings);
        let turns = shared.loops.join(LOOPS, format!("listener {address}"));
        let tasks = shared.tasks.clone();
        let accepting = tasks.spawn(accept(socket, door, admission, shared, stop.clone(), turns));
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

async fn accept(
    socket: TcpListener,
    door: Door,
    admission: Admission,
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
            Ok((stream, peer)) => admit(stream, peer, door, &admission, &shared),
            Err(error) => {
                if !was_failing {
                    warn!(%error, ?door, "cannot accept connections");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    turns.leave();
}

fn admit(socket: TcpStream, peer: SocketAddr, door: Door, admission: &Admission, shared: &Shared) {
    let permit = match admission.admit(peer.ip()) {
        Ok(permit) => permit,
        Err(denied) => {
            debug!(%denied, ?door, "connection refused");
            return shared.metrics.count_refused(door, denied);
        }
    };
    shared.metrics.count_accepted(door);
    if let Err(error) = socket::tune(&socket) {
        debug!(%error, "cannot tune a connection");
    }
    let stream = Stream::new(socket, permit);
    shared.tasks.spawn(connection::serve(stream, peer, door, shared.clone()));
}
