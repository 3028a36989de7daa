//! Layer 4 UDP: datagrams of a client go on to an upstream as they are, and its answers go back.
//!
//! ```text
//! listener -> flow of (client, own address) -> the flow's own connected socket -> upstream
//!    ^------------ leaves from the address the client spoke to <-----------------'
//! ```
//!
//! Towards a machine of the tailnet datagrams are handed to the tunnel as they are ([`DatagramPath`]), and the flow's socket holds the
//! port and takes what does not come that way.
//!
//! An upstream sees one peer per client, as it would without us. Which flows there are is decided by `core::udp_flows`; the
//! sockets behind them and the passing on are in `carrier`.

mod carrier;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::core::balance::{Balance, Selection};
use super::core::route::{Transport, Upstream};
use super::core::udp_flows::FlowLimits;
use super::metrics::UdpMetrics;
use super::targets::{NoRuntime, Targets};
use crate::base::datagram_path::DatagramPath;
use crate::base::rng::SeededRng;
use crate::sys::packet_thread::PacketThread;
use carrier::{Carrier, Shared};
use socket::DatagramSocket;

/// One listening address and where its datagrams go.
#[derive(Debug, Clone, PartialEq)]
pub struct UdpRoute {
    /// As configured; the label of its counters and log lines.
    pub name: String,
    /// Port 0 takes a free one; `[::]` takes both address families.
    pub listen: SocketAddr,
    pub upstreams: Vec<Upstream>,
    pub selection: Selection,
    pub limits: FlowLimits,
}

/// Why a route is not served.
#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    /// The environment: the port is taken, or the address is not of this machine.
    #[error("cannot listen on udp/{address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    /// The operator: a route must lead somewhere.
    #[error("route {0} has no upstream")]
    NoUpstream(String),
    /// The operator: a connection cannot carry datagrams.
    #[error("route {0} listens on UDP but sends to TCP")]
    Transport(String),
    /// The caller.
    #[error("a UDP route is started inside a tokio runtime")]
    NoRuntime,
}

/// Keeps a route served; dropped, the route ends at once.
pub struct UdpHandle {
    address: SocketAddr,
    shared: Arc<Shared>,
    targets: Arc<Targets>,
    stop: CancellationToken,
    task: oneshot::Receiver<()>,
}

impl UdpRoute {
    /// A route with the default limits and selection.
    #[must_use]
    pub fn new(name: &str, listen: SocketAddr, upstreams: Vec<Upstream>) -> Self {
        let (selection, limits) = (Selection::default(), FlowLimits::default());
        Self { name: name.to_owned(), listen, upstreams, selection, limits }
    }
}

/// Where and how the datagrams of routes are carried.
#[derive(Clone)]
pub struct Carriage {
    pub thread: PacketThread,
    /// Past the kernel to machines of the tailnet, where there is such a way.
    pub path: Option<Arc<dyn DatagramPath>>,
}

/// Listens and forwards from now on, until the handle is stopped or dropped. The runtime it is called in looks up names.
///
/// # Errors
/// [`UdpError`].
pub fn start(
    route: &UdpRoute,
    carriage: &Carriage,
    metrics: &UdpMetrics,
    rng: SeededRng,
) -> Result<UdpHandle, UdpError> {
    if route.upstreams.is_empty() {
        return Err(UdpError::NoUpstream(route.name.clone()));
    }
    if route.upstreams.iter().any(|upstream| upstream.transport != Transport::Udp) {
        return Err(UdpError::Transport(route.name.clone()));
    }
    let targets = Targets::follow(&route.upstreams, Balance::new(route.selection, rng))
        .map_err(|NoRuntime| UdpError::NoRuntime)?;
    let failed = |source| UdpError::Listen { address: route.listen, source };
    let inside = carriage.thread.runtime().enter();
    let socket = DatagramSocket::bind(route.listen).map_err(failed)?;
    drop(inside);
    let address = socket.local_address();
    let shared = Arc::new(Shared::new(socket, &route.name, route.limits, metrics));
    let stop = CancellationToken::new();
    let carrier = Carrier::new(Arc::clone(&shared), Arc::clone(&targets), carriage.path.clone());
    let task = carriage.thread.run({
        let stop = stop.clone();
        move || carrier.run(stop)
    });
    Ok(UdpHandle { address, shared, targets, stop, task })
}

impl UdpHandle {
    /// The address bound, with the port taken when 0 was asked for.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Sends flows that begin from now on to `upstreams`. A flow whose upstream is still among them keeps it, and its port.
    pub fn set_upstreams(&self, upstreams: Vec<Upstream>) {
        self.targets.set_upstreams(upstreams);
    }

    /// Flows at once, at most those of the route's limits. Flows beyond it end with the route's next datagram or time-out.
    pub fn set_total(&self, flows: usize) {
        self.shared.set_total(flows);
    }

    /// Flows open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open()
    }

    /// Ends the route and returns when its sockets are closed.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // An error is a panic in the task, which has closed its sockets too.
        (&mut self.task).await.ok();
    }
}

impl Drop for UdpHandle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod path_tests;
#[cfg(test)]
mod tests;
