//! `apps.layer4.servers.*`.

use crate::edge::core::proxy_header::ProxyProtocol;
use crate::edge::core::route::{Transport, Upstream};

use super::super::address;
use super::super::decode::{Decoder, Table};
use super::super::document::{Node, Value};
use super::super::exposure::{Layer, Placed, Route, Server};
use super::super::problem::Problem;
use super::super::suggest;
use super::{known, listens, no_upstreams, only_handler};

pub fn server<'d>(decoder: &mut Decoder<'d>, name: &str, node: &'d Node) -> Option<Server> {
    let table = decoder.table(node, &known::LAYER4_SERVER)?;
    let listen = listens(decoder, table, node);
    let routes = table.value("routes").map(|node| decoder.list(node, "routes")).unwrap_or_default();
    if routes.is_empty() {
        let problem =
            Problem::error("no-handler", "this server has no route, so every connection would be closed");
        decoder.report(node.at, problem.cure("Add \"routes\"."));
    }
    if let Some(second) = routes.get(1) {
        let problem = Problem::error(
            "unreachable",
            "nothing gets past the route before this one, which takes everything",
        );
        decoder
            .report(second.at, problem.cure("Put the upstreams into one route, or use a server for each."));
    }
    let listens_udp = listen.iter().any(|listen| listen.value.transport == Transport::Udp);
    let otherwise = if listens_udp { Transport::Udp } else { Transport::Tcp };
    let routes: Vec<Route> = routes.iter().filter_map(|node| route(decoder, node, otherwise)).collect();
    check_transports(decoder, &listen, &routes);
    Some(Server { name: name.to_owned(), layer: Layer::Layer4, listen, routes })
}

fn route<'d>(decoder: &mut Decoder<'d>, node: &'d Node, otherwise: Transport) -> Option<Route> {
    let table = decoder.table(node, &known::LAYER4_ROUTE)?;
    let handler = only_handler(decoder, table, node, "proxy", known::LAYER4_HANDLERS)?;
    let proxy = decoder.table(handler, &known::LAYER4_PROXY)?;
    let upstreams = proxy.value("upstreams").map(|node| decoder.list(node, "upstreams")).unwrap_or_default();
    if upstreams.is_empty() {
        no_upstreams(decoder, handler);
    }
    let upstreams: Vec<_> = upstreams.iter().filter_map(|node| upstream(decoder, node, otherwise)).collect();
    let to_datagrams = |upstream: &Placed<Upstream>| upstream.value.transport == Transport::Udp;
    let datagrams = otherwise == Transport::Udp || upstreams.iter().any(to_datagrams);
    let proxy_protocol = proxy_protocol(decoder, proxy, datagrams);
    Some(Route { place: decoder.place(node), hosts: Vec::new(), upstreams, proxy_protocol })
}

/// As in caddy-l4, an empty text is none.
fn proxy_protocol<'d>(decoder: &mut Decoder<'d>, proxy: Table<'d>, datagrams: bool) -> Option<ProxyProtocol> {
    let node = proxy.value("proxy_protocol")?;
    let version = match decoder.text(node, "proxy_protocol")? {
        "" => return None,
        "v1" => ProxyProtocol::V1,
        "v2" => ProxyProtocol::V2,
        other => {
            decoder.report(node.at, unknown_version(other));
            return None;
        }
    };
    if datagrams {
        let problem = Problem::error("proxy-protocol-of-datagrams", "datagrams get no PROXY header")
            .because(
                "It goes once, before a stream; caddy-l4's way, one in every datagram, is not supported.",
            )
            .cure("Leave proxy_protocol out here, and give TCP a server of its own.");
        decoder.report(node.at, problem);
    }
    (!datagrams).then_some(version)
}

fn unknown_version(text: &str) -> Problem {
    Problem::error("bad-choice", format!("proxy_protocol cannot be \"{text}\""))
        .because("It is \"v1\" (a line of text), \"v2\" (binary), or \"\" for none.")
        .cure(suggest::cure(text, &["v1", "v2"]))
}

fn upstream<'d>(decoder: &mut Decoder<'d>, node: &'d Node, otherwise: Transport) -> Option<Placed<Upstream>> {
    let table = decoder.table(node, &known::LAYER4_UPSTREAM)?;
    let dials =
        table.value("dial").map(|node| decoder.texts(node, "dial of a layer4 upstream")).unwrap_or_default();
    if let Some((_, second)) = dials.get(1) {
        let problem = Problem::error(
            "mirror",
            "one upstream with several addresses is a mirror in caddy-l4, not a fallback",
        )
        .because("Every byte would go to all of them, and all their answers back to the client.")
        .cure("Write each address as an upstream of its own.");
        decoder.report(second.at, problem);
    }
    let Some((text, dial)) = dials.first() else {
        if table.value("dial").is_none_or(|node| node.value == Value::List(Vec::new())) {
            no_upstreams(decoder, node);
        }
        return None;
    };
    match address::parse(text) {
        Ok(address) => {
            warn_of_assumed_udp(decoder, dial, text, address.transport, otherwise);
            Some(Placed { value: address.upstream(otherwise), place: decoder.place(dial) })
        }
        Err(problem) => {
            decoder.report(dial.at, problem);
            None
        }
    }
}

/// A deliberate deviation: caddy-l4 would dial TCP, which can never work for datagrams.
fn warn_of_assumed_udp(
    decoder: &mut Decoder<'_>,
    dial: &Node,
    text: &str,
    named: Option<Transport>,
    used: Transport,
) {
    if named.is_none() && used == Transport::Udp {
        let problem = Problem::warning(
            "udp-assumed",
            format!("\"{text}\" is dialled over UDP, as the server listens on it"),
        )
        .because("Caddy itself would dial TCP and fail.")
        .cure(format!("Write \"udp/{text}\"."));
        decoder.report(dial.at, problem);
    }
}

fn check_transports(
    decoder: &mut Decoder<'_>,
    listen: &[Placed<crate::edge::core::route::Listen>],
    routes: &[Route],
) {
    for upstream in routes.iter().flat_map(|route| &route.upstreams) {
        let Some(other) = listen.iter().find(|listen| listen.value.transport != upstream.value.transport)
        else {
            continue;
        };
        let problem = Problem::error(
            "transport-differs",
            format!("this is dialled over another transport than {} listens on", other.place),
        )
        .because("A stream and datagrams cannot be carried over into one another.")
        .cure("Use one transport, and a server for each.");
        decoder.report_at(upstream.place.clone(), problem);
    }
}
