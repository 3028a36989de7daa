//! What a relay is told about a route, and how it refuses.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::ceilings::Ceilings;
use crate::edge::core::balance::Selection;
use crate::edge::core::proxy_header::ProxyProtocol;
use crate::edge::core::route::{LAYER4_CONNECTIONS, Upstream};

/// One listening address and where its connections go.
#[derive(Debug, Clone, PartialEq)]
pub struct RelayRoute {
    /// As configured; the label of its counters and log lines.
    pub name: String,
    /// Port 0 takes a free one; `[::]` takes both address families.
    pub listen: SocketAddr,
    pub upstreams: Vec<Upstream>,
    /// Told to the upstream before the client's bytes.
    pub proxy_protocol: Option<ProxyProtocol>,
    pub selection: Selection,
    pub limits: RelayLimits,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelayLimits {
    /// Connections open at once; further ones are reset.
    pub connections: Ceilings,
    /// For one attempt at one upstream.
    pub dial_timeout: Duration,
    /// A connection without a byte in either direction for this long is reset; `None` waits for ever.
    pub idle: Option<Duration>,
}

impl RelayRoute {
    /// A route with the default limits and selection, and without a PROXY header.
    #[must_use]
    pub fn new(name: &str, listen: SocketAddr, upstreams: Vec<Upstream>) -> Self {
        let (selection, limits) = (Selection::default(), RelayLimits::default());
        Self { name: name.to_owned(), listen, upstreams, proxy_protocol: None, selection, limits }
    }
}

impl Default for RelayLimits {
    /// Five seconds leave room for two lost SYNs (retried after 1 s and 3 s). A day without a
    /// byte is longer than a laptop sleeps with a shell open; dead peers are found by keep-alive long before.
    fn default() -> Self {
        Self {
            connections: LAYER4_CONNECTIONS,
            dial_timeout: Duration::from_secs(5),
            idle: Some(Duration::from_hours(24)),
        }
    }
}

/// Why a route is not served.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The environment: the port is taken, or the address is not of this machine.
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    /// The operator: a route must lead somewhere.
    #[error("route {0} has no upstream")]
    NoUpstream(String),
    /// The operator: a datagram upstream cannot take a connection.
    #[error("route {0} listens on TCP but sends to UDP")]
    Transport(String),
    /// The caller: upstream names are resolved on a tokio runtime.
    #[error("a relay is started inside a tokio runtime")]
    NoRuntime,
    /// The relay's own thread has ended or does not keep up with commands.
    #[error("the relay does not take commands")]
    Unresponsive,
}
