//! What the edge listens on and where it sends: the model built from `caddy.json` and `genkan.toml`.

use std::net::SocketAddr;

use super::proxy_header::ProxyProtocol;

/// Everything the edge serves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EdgeConfig {
    pub http_servers: Vec<HttpServer>,
    pub layer4_servers: Vec<Layer4Server>,
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
