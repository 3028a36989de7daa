//! What the owner wrote to be served, with the place of every address and name, so that rules across the files can point
//! at them. The edge gets the same without places.

use crate::edge::core::proxy_header::ProxyProtocol;
use crate::edge::core::route::{
    EdgeConfig, HttpHandler, HttpRoute, HttpServer, Layer4Server, Listen, Upstream,
};

use super::problem::Place;

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed<T> {
    pub value: T,
    pub place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    Http,
    Layer4,
}

/// A server of `caddy.json`, or an `[[expose]]` of `genkan.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    pub name: String,
    pub layer: Layer,
    pub listen: Vec<Placed<Listen>>,
    pub routes: Vec<Route>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub place: Place,
    /// Lower case; empty for all hosts, and for layer 4.
    pub hosts: Vec<Placed<String>>,
    pub upstreams: Vec<Placed<Upstream>>,
    /// Of layer 4 over TCP only.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// The servers as the edge takes them.
#[must_use]
pub fn edge_config(servers: &[Server]) -> EdgeConfig {
    let of = |layer| servers.iter().filter(move |server| server.layer == layer);
    EdgeConfig {
        http_servers: of(Layer::Http).map(http_server).collect(),
        layer4_servers: of(Layer::Layer4).map(layer4_server).collect(),
        ..EdgeConfig::default()
    }
}

fn http_server(server: &Server) -> HttpServer {
    let route = |route: &Route| HttpRoute {
        hosts: route.hosts.iter().map(|host| host.value.clone()).collect(),
        handler: HttpHandler::ReverseProxy { upstreams: upstreams(route) },
    };
    HttpServer {
        name: server.name.clone(),
        listen: server.listen.iter().map(|listen| listen.value.address).collect(),
        routes: server.routes.iter().map(route).collect(),
    }
}

fn layer4_server(server: &Server) -> Layer4Server {
    Layer4Server {
        name: server.name.clone(),
        listen: server.listen.iter().map(|listen| listen.value).collect(),
        upstreams: server.routes.iter().flat_map(upstreams).collect(),
        // Nothing gets past the first.
        proxy_protocol: server.routes.first().and_then(|route| route.proxy_protocol),
    }
}

fn upstreams(route: &Route) -> Vec<Upstream> {
    route.upstreams.iter().map(|upstream| upstream.value.clone()).collect()
}
