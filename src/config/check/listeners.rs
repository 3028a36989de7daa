//! No two listeners on one port, except those that share it by design.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::exposure::Layer;
use crate::config::load::SETTINGS_FILE;
use crate::config::model::Ports;
use crate::edge::core::route::{Listen, Transport};

use super::{Assembled, Place, Problem};

struct Claim {
    listen: Listen,
    owner: String,
    sharing: Sharing,
    place: Place,
}

/// The coordinator and the sites share the HTTP ports: the name that is asked for decides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    OwnHttp,
    Sites,
}

pub fn conflicts(assembled: &Assembled) -> Vec<Problem> {
    let own = own_claims(&assembled.model.ports);
    let claims: Vec<Claim> = own.into_iter().chain(server_claims(assembled)).collect();
    let mut problems = Vec::new();
    for (index, claim) in claims.iter().enumerate() {
        if let Some(earlier) = claims[..index].iter().find(|earlier| conflict(earlier, claim)) {
            problems.push(describe(earlier, claim));
        }
    }
    problems
}

fn own_claims(ports: &Ports) -> Vec<Claim> {
    let own = |transport, port, key: &str, sharing| Claim {
        listen: Listen { transport, address: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port) },
        owner: format!("genkan itself (ports.{key})"),
        sharing,
        place: Place::file(SETTINGS_FILE),
    };
    vec![
        own(Transport::Tcp, ports.http, "http", Sharing::OwnHttp),
        own(Transport::Tcp, ports.https, "https", Sharing::OwnHttp),
        own(Transport::Tcp, ports.control, "control", Sharing::Alone),
        own(Transport::Tcp, ports.admin, "admin", Sharing::Alone),
        own(Transport::Tcp, ports.api, "api", Sharing::Alone),
        own(Transport::Udp, ports.stun, "stun", Sharing::Alone),
        own(Transport::Udp, ports.wireguard, "wireguard", Sharing::Alone),
    ]
}

fn server_claims(assembled: &Assembled) -> impl Iterator<Item = Claim> {
    assembled.servers.iter().flat_map(|server| {
        let sharing = if server.layer == Layer::Http { Sharing::Sites } else { Sharing::Alone };
        server.listen.iter().map(move |listen| Claim {
            listen: listen.value,
            owner: format!("the server \"{}\" ({})", server.name, listen.place),
            sharing,
            place: listen.place.clone(),
        })
    })
}

fn conflict(a: &Claim, b: &Claim) -> bool {
    let shared = (a.sharing, b.sharing) == (Sharing::OwnHttp, Sharing::Sites);
    !shared && a.listen.transport == b.listen.transport && overlap(a.listen.address, b.listen.address)
}

/// `::` stands for all addresses of both families.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |wide: IpAddr, narrow: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4());
    a.port() == b.port() && (a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

fn describe(earlier: &Claim, claim: &Claim) -> Problem {
    let port = spell(claim.listen);
    Problem::error("listener-conflict", format!("{port} is already taken by {}", earlier.owner))
        .because("Two listeners cannot have one port.")
        .cure(match earlier.sharing {
            Sharing::Sites if claim.sharing == Sharing::Sites => {
                "Put the routes of both into one server.".to_owned()
            }
            _ => format!("Listen on another port, or change [ports] in {SETTINGS_FILE}."),
        })
        .at(claim.place.clone())
}

/// `tcp/443`.
pub fn spell(listen: Listen) -> String {
    format!("{}/{}", protocol(listen.transport), listen.address.port())
}

pub fn protocol(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}
