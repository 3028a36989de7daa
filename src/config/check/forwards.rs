//! The router's port-forward table.

use std::net::IpAddr;

use serde::Serialize;

use crate::config::exposure::{Layer, Server};
use crate::coordinator::core::policy::is_in_tailnet;
use crate::edge::core::route::{Listen, Transport};

use super::Assembled;
use super::access::targets;
use super::listeners::protocol;
use super::names::sites;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forward {
    pub external_port: u16,
    pub protocol: &'static str,
    /// On this machine.
    pub to_port: u16,
    #[serde(rename = "use")]
    pub purpose: String,
    /// Needed only when machines join from outside the house.
    pub only_outside: bool,
}

pub fn derive(assembled: &Assembled) -> Vec<Forward> {
    let ports = &assembled.model.ports;
    let mut table = vec![
        row(Transport::Tcp, ports.http, "HTTP: certificates (ACME), redirects to HTTPS"),
        row(Transport::Tcp, ports.https, &format!("HTTPS: {}", https_names(assembled))),
    ];
    for server in &assembled.servers {
        let public = server.listen.iter().map(|listen| listen.value).filter(|listen| is_public(*listen));
        for listen in public {
            let port = listen.address.port();
            let forward = row(listen.transport, port, &purpose(server, assembled));
            let is_known = |row: &&Forward| row.external_port == port && row.protocol == forward.protocol;
            if table.iter().find(is_known).is_none() {
                table.push(forward);
            }
        }
    }
    table.push(row(Transport::Tcp, ports.control, "coordinator without TLS: machines join"));
    let wireguard =
        row(Transport::Udp, ports.wireguard, "WireGuard: direct paths to machines outside the house");
    let stun = row(Transport::Udp, ports.stun, "STUN: machines outside the house learn their own address");
    table.extend([wireguard, stun].map(|row| Forward { only_outside: true, ..row }));
    table
}

fn row(transport: Transport, port: u16, purpose: &str) -> Forward {
    Forward {
        external_port: port,
        protocol: protocol(transport),
        to_port: port,
        purpose: purpose.to_owned(),
        only_outside: false,
    }
}

fn https_names(assembled: &Assembled) -> String {
    let coordinator = match &assembled.model.name {
        Some(name) => format!("coordinator ({name})"),
        None => "coordinator".to_owned(),
    };
    let sites = sites(assembled).map(|site| site.value.clone());
    std::iter::once(coordinator).chain(sites).collect::<Vec<_>>().join(", ")
}

fn purpose(server: &Server, assembled: &Assembled) -> String {
    let to = targets(server, assembled).join(", ");
    match server.layer {
        Layer::Http => format!("{}: web -> {to}", server.name),
        Layer::Layer4 => format!("{}: relay -> {to}", server.name),
    }
}

/// What listens on an address that no packet from the router arrives at needs no forward.
fn is_public(listen: Listen) -> bool {
    let ip: IpAddr = listen.address.ip();
    !ip.is_loopback() && !is_in_tailnet(ip)
}
