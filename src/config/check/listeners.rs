//! No two listeners on one port, except those that share it by design.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::exposure::Layer;
use crate::config::load::SETTINGS_FILE;
use crate::config::schema::Settings;
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
    // Of ports that could not be read the usual ones would be taken.
    let own = if assembled.doubts.ports { Vec::new() } else { own_claims(&assembled.settings) };
    let claims: Vec<Claim> = own.into_iter().chain(server_claims(assembled)).collect();
    let mut problems = Vec::new();
    for (index, claim) in claims.iter().enumerate() {
        if let Some(earlier) = claims[..index].iter().find(|earlier| conflict(earlier, claim)) {
            problems.push(describe(earlier, claim));
        }
    }
    problems
}

fn own_claims(settings: &Settings) -> Vec<Claim> {
    let ports = &settings.model.ports;
    let own = |transport, port, key: &str, sharing| Claim {
        listen: Listen { transport, address: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port) },
        owner: format!("genkan itself (ports.{key})"),
        sharing,
        place: settings.port_places.get(key).cloned().unwrap_or_else(|| Place::file(SETTINGS_FILE)),
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
    // Of two own ports it may be the first that was moved.
    let place = if claim.place.line == 0 { &earlier.place } else { &claim.place };
    Problem::error("listener-conflict", format!("{port} is already taken by {}", earlier.owner))
        .because("Two listeners cannot have one port.")
        .cure(match earlier.sharing {
            Sharing::Sites if claim.sharing == Sharing::Sites => {
                "Put the routes of both into one server.".to_owned()
            }
            _ => format!("Listen on another port, or change [ports] in {SETTINGS_FILE}."),
        })
        .at(place.clone())
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
