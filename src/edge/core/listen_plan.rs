//! Which sockets the edge opens, and what stands behind each: derived from the configuration and the three own ports.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::route::{EdgeConfig, HttpServer};

/// What a listening socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// TLS by SNI: the resident and the sites.
    Https,
    /// Without TLS: ACME HTTP-01, some of the resident, sites that ask for this port, redirects.
    Http,
    /// Without TLS: the resident alone.
    Control,
    /// Without TLS: sites on a port of their own that have no host name to hold a certificate for.
    Plain,
}

impl Door {
    #[must_use]
    pub fn is_tls(self) -> bool {
        self == Self::Https
    }
}

/// The edge's own ports, and where they and every site without an address of its own listen.
#[derive(Debug, Clone, Copy)]
pub struct OwnPorts {
    pub bind: IpAddr,
    pub http: u16,
    pub https: u16,
    pub control: u16,
}

/// The sockets to open. A port that anybody wants on all addresses is opened once for all of them: the kernel refuses a second,
/// narrower socket beside it, and the servers are told apart by the address a connection came to.
#[must_use]
pub fn sockets(config: &EdgeConfig, ports: OwnPorts) -> BTreeMap<SocketAddr, Door> {
    let own = [(ports.control, Door::Control), (ports.http, Door::Http), (ports.https, Door::Https)];
    let mut doors: BTreeMap<SocketAddr, Door> =
        own.into_iter().map(|(port, door)| (SocketAddr::new(ports.bind, port), door)).collect();
    for server in &config.http_servers {
        for listen in &server.listen {
            let ip = if listen.ip().is_unspecified() { ports.bind } else { listen.ip() };
            let door = door_of(server, listen.port(), ports);
            doors.entry(SocketAddr::new(ip, listen.port())).or_insert(door);
        }
    }
    drop_covered(doors)
}

fn door_of(server: &HttpServer, port: u16, ports: OwnPorts) -> Door {
    if port == ports.https {
        Door::Https
    } else if port == ports.http {
        Door::Http
    } else if port == ports.control {
        Door::Control
    } else if server.routes.iter().any(|route| !route.hosts.is_empty()) {
        Door::Https
    } else {
        Door::Plain
    }
}

fn drop_covered(doors: BTreeMap<SocketAddr, Door>) -> BTreeMap<SocketAddr, Door> {
    let wide: Vec<u16> = doors.keys().filter(|at| at.ip().is_unspecified()).map(SocketAddr::port).collect();
    doors.into_iter().filter(|(at, _)| at.ip().is_unspecified() || !wide.contains(&at.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::route::{HttpHandler, HttpRoute};
    use super::*;

    fn server(listen: &[&str], hosts: &[&str]) -> HttpServer {
        HttpServer {
            name: "web".to_owned(),
            listen: listen.iter().map(|at| at.parse().expect("an address")).collect(),
            routes: vec![HttpRoute {
                hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
                handler: HttpHandler::ReverseProxy { upstreams: Vec::new() },
            }],
        }
    }

    fn plan(bind: &str, servers: Vec<HttpServer>) -> Vec<(String, Door)> {
        let config = EdgeConfig { http_servers: servers, ..EdgeConfig::default() };
        let ports = OwnPorts { bind: bind.parse().expect("an address"), http: 80, https: 443, control: 8080 };
        sockets(&config, ports).into_iter().map(|(at, door)| (at.to_string(), door)).collect()
    }

    fn named(plan: &[(&str, Door)]) -> Vec<(String, Door)> {
        plan.iter().map(|(at, door)| ((*at).to_owned(), *door)).collect()
    }

    #[test]
    fn the_own_ports_stand_without_any_site() {
        let expected = [("[::]:80", Door::Http), ("[::]:443", Door::Https), ("[::]:8080", Door::Control)];
        assert_eq!(plan("::", Vec::new()), named(&expected));
    }

    #[test]
    fn sites_share_the_own_ports_and_open_others() {
        let sites = vec![
            server(&["0.0.0.0:443", "192.168.1.2:443", "0.0.0.0:8443"], &["app.example.com"]),
            server(&["192.168.1.2:9000"], &[]),
        ];
        let expected = [
            ("192.168.1.2:9000", Door::Plain),
            ("[::]:80", Door::Http),
            ("[::]:443", Door::Https),
            ("[::]:8080", Door::Control),
            ("[::]:8443", Door::Https),
        ];
        assert_eq!(plan("::", sites), named(&expected));
    }

    #[test]
    fn narrow_sockets_stand_side_by_side() {
        let sites = vec![server(&["127.0.0.2:443"], &["app.example.com"])];
        let all = plan("127.0.0.1", sites);
        assert!(all.contains(&("127.0.0.2:443".to_owned(), Door::Https)));
        assert!(all.contains(&("127.0.0.1:443".to_owned(), Door::Https)));
    }
}
