//! Which site serves a host name: the routes of every HTTP server, made ready for look-up.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::route::{EdgeConfig, HttpHandler, HttpRoute, HttpServer, Upstream};

/// A route that a request ended at.
#[derive(Debug, PartialEq)]
pub struct Site {
    /// The server's name in the configuration.
    pub server: String,
    pub upstreams: Vec<Upstream>,
}

/// A hit of [`SiteTable::find`].
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub site: Arc<Site>,
    /// Whether the route names the host, exactly or by wildcard; otherwise it takes every host.
    pub by_name: bool,
}

/// Every HTTP route, by listening address and host name.
#[derive(Debug, Default)]
pub struct SiteTable {
    servers: Vec<ServerTable>,
}

#[derive(Debug, Default)]
struct ServerTable {
    listen: Vec<SocketAddr>,
    sites: Vec<Arc<Site>>,
    /// Host name to the first route that names it.
    exact: HashMap<String, usize>,
    /// What stands behind `*.` to the first route that names it.
    wildcard: HashMap<String, usize>,
    /// The first route without host names.
    any: Option<usize>,
}

impl SiteTable {
    #[must_use]
    pub fn new(config: &EdgeConfig) -> Self {
        Self { servers: config.http_servers.iter().map(ServerTable::new).collect() }
    }

    /// The route for `host` (lower case, no port) on a connection to `local`. A server without a fitting route leaves the
    /// host to the next server on the same address; within a server the first fitting route wins.
    #[must_use]
    pub fn find(&self, local: SocketAddr, host: &str) -> Option<Found> {
        self.servers.iter().filter(|server| server.listens_on(local)).find_map(|server| server.find(host))
    }

    /// Whether some route names `host`, and its server listens on `port`.
    #[must_use]
    pub fn names(&self, port: u16, host: &str) -> bool {
        self.servers
            .iter()
            .filter(|server| server.listen.iter().any(|listen| listen.port() == port))
            .any(|server| server.find(host).is_some_and(|found| found.by_name))
    }
}

impl ServerTable {
    fn new(server: &HttpServer) -> Self {
        let mut table = Self { listen: server.listen.clone(), ..Self::default() };
        for (index, route) in server.routes.iter().enumerate() {
            table.add(index, server, route);
        }
        table
    }

    fn add(&mut self, index: usize, server: &HttpServer, route: &HttpRoute) {
        let HttpHandler::ReverseProxy { upstreams } = &route.handler;
        self.sites.push(Arc::new(Site { server: server.name.clone(), upstreams: upstreams.clone() }));
        if route.hosts.is_empty() {
            self.any.get_or_insert(index);
        }
        for host in &route.hosts {
            match host.strip_prefix("*.") {
                Some(parent) => self.wildcard.entry(parent.to_owned()).or_insert(index),
                None => self.exact.entry(host.clone()).or_insert(index),
            };
        }
    }

    fn listens_on(&self, local: SocketAddr) -> bool {
        self.listen.iter().any(|listen| {
            listen.port() == local.port() && (listen.ip().is_unspecified() || listen.ip() == local.ip())
        })
    }

    fn find(&self, host: &str) -> Option<Found> {
        let exact = self.exact.get(host);
        let wildcard = host
            .split_once('.')
            .filter(|(label, _)| !label.is_empty())
            .and_then(|(_, parent)| self.wildcard.get(parent));
        let named = exact.into_iter().chain(wildcard).copied().min();
        let index = named.into_iter().chain(self.any).min()?;
        let site = Arc::clone(self.sites.get(index)?);
        Some(Found { site, by_name: named == Some(index) })
    }
}

/// A host as written in `Host` or `:authority` (RFC 3986 section 3.2.2), brought to the form of the tables: lower case, no port, no
/// dot at the end, no brackets around an IPv6 address. `None` when it cannot be a host.
#[must_use]
pub fn host_of(authority: &str) -> Option<String> {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').filter(|(_, port)| is_port(port))?.0,
        None => match authority.split_once(':') {
            Some((host, port)) => port.bytes().all(|byte| byte.is_ascii_digit()).then_some(host)?,
            None => authority,
        },
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let plain = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/@?#\\\"'<>".contains(&byte));
    plain.then(|| host.to_ascii_lowercase())
}

fn is_port(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
#[path = "host_route/tests.rs"]
mod tests;
