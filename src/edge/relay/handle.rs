//! The caller's end of a running route.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::route::RouteState;
use crate::base::ceilings::Ceilings;
use crate::edge::core::proxy_header::ProxyProtocol;
use crate::edge::core::route::Upstream;

/// Keeps a route served. Dropped without [`RelayHandle::stop`], the route ends at once and its connections are reset.
pub struct RelayHandle {
    address: SocketAddr,
    state: Arc<RouteState>,
    stop: Option<Stop>,
}

/// Tells the loops to end the route: how long connections may go on, and what to drop when the last is gone.
pub(super) type Stop = Box<dyn FnOnce(Duration, Done) + Send + Sync>;

/// Shared by all loops that serve a route; the drop of the last one is the news.
pub(super) type Done = Arc<oneshot::Sender<()>>;

impl RelayHandle {
    pub(super) fn new(address: SocketAddr, state: Arc<RouteState>, stop: Stop) -> Self {
        Self { address, state, stop: Some(stop) }
    }

    /// The address bound, with the port taken when 0 was asked for.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Sends connections accepted from now on to `upstreams`, with the header of `proxy_protocol` before them; those that are open
    /// stay where they are.
    pub fn set_upstreams(&self, upstreams: Vec<Upstream>, proxy_protocol: Option<ProxyProtocol>) {
        self.state.set_upstreams(upstreams, proxy_protocol);
    }

    /// How many may be open at once from now on; those that are beyond it stay.
    pub fn set_connections(&self, ceilings: Ceilings) {
        self.state.set_connections(ceilings);
    }

    /// Connections open now, dialling ones included.
    #[must_use]
    pub fn open(&self) -> usize {
        self.state.open()
    }

    /// Listens no more, lets open connections end by themselves for `grace`, resets the rest. Returns when all is closed.
    pub async fn stop(mut self, grace: Duration) {
        let (done, wait) = oneshot::channel();
        if let Some(stop) = self.stop.take() {
            stop(grace, Arc::new(done));
        }
        // Nothing is ever sent: the error is the drop of the last `Done`.
        wait.await.ok();
    }
}

impl Drop for RelayHandle {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop(Duration::ZERO, Arc::new(oneshot::channel().0));
        }
    }
}
