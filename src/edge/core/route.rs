//! What the edge listens on and where it sends: the model built from `caddy.json` and `genkan.toml`.

use std::net::SocketAddr;

use super::proxy_header::ProxyProtocol;
use crate::base::ceilings::Ceilings;

/// Everything the edge serves.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeConfig {
    pub http_servers: Vec<HttpServer>,
    pub layer4_servers: Vec<Layer4Server>,
    /// Open at once on each TCP address of layer 4.
    pub layer4_connections: Ceilings,
}

/// 1,024 connections hold at most 32 MB of buffers (two of 16 KB each), and a quarter of them is plenty for one household or office
/// behind one address.
pub const LAYER4_CONNECTIONS: Ceilings = Ceilings { total: 1024, per_source: 256 };

impl Default for EdgeConfig {
    /// Nothing.
    fn default() -> Self {
        Self { http_servers: Vec::new(), layer4_servers: Vec::new(), layer4_connections: LAYER4_CONNECTIONS }
    }
}

/// A transport and the address it is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listen {
    pub transport: Transport,
    pub address: SocketAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    Tcp,
    Udp,
}

/// An HTTP server of `apps.http.servers`.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpServer {
    pub name: String,
    pub listen: Vec<SocketAddr>,
    /// Tried in order; the first whose hosts match answers.
    pub routes: Vec<HttpRoute>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct HttpRoute {
    /// Lower-case host names, `*.` wildcards of one label allowed; empty matches every host.
    pub hosts: Vec<String>,
    pub handler: HttpHandler,
}

#[derive(Debug, Clone, PartialEq)]
pub enum HttpHandler {
    ReverseProxy { upstreams: Vec<Upstream> },
}

/// A server of `apps.layer4.servers`: connections or datagrams go on as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer4Server {
    pub name: String,
    pub listen: Vec<Listen>,
    pub upstreams: Vec<Upstream>,
    /// Told to the upstreams before the bytes of a TCP connection.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// Where to dial.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Upstream {
    pub transport: Transport,
    /// An address, or a name to resolve.
    pub host: String,
    pub port: u16,
}
