//! `apps.http.servers.*`.

use crate::edge::core::route::{Transport, Upstream};

use super::super::decode::{Decoder, Table};
use super::super::document::Node;
use super::super::exposure::{Layer, Placed, Route, Server};
use super::super::problem::Problem;
use super::super::{address, name};
use super::{known, listens, no_upstreams, only_handler};

pub fn server<'d>(decoder: &mut Decoder<'d>, name: &str, node: &'d Node) -> Option<Server> {
    let table = decoder.table(node, &known::HTTP_SERVER)?;
    let listen = listens(decoder, table, node);
    for placed in listen.iter().filter(|placed| placed.value.transport == Transport::Udp) {
        let problem =
            Problem::error("bad-address", "an http server listens on TCP; HTTP/3 is not supported yet");
        decoder.report_at(placed.place.clone(), problem.cure("Leave out the network, or write tcp."));
    }
    let routes = table.value("routes").map(|node| decoder.list(node, "routes")).unwrap_or_default();
    let routes = routes.iter().filter_map(|node| route(decoder, node)).collect();
    Some(Server { name: name.to_owned(), layer: Layer::Http, listen, routes })
}

fn route<'d>(decoder: &mut Decoder<'d>, node: &'d Node) -> Option<Route> {
    let table = decoder.table(node, &known::HTTP_ROUTE)?;
    if let Some(terminal) = table.value("terminal") {
        decoder.boolean(terminal, "terminal");
    }
    let hosts = hosts(decoder, table);
    let handler = only_handler(decoder, table, node, "reverse_proxy", known::HTTP_HANDLERS)?;
    let proxy = decoder.table(handler, &known::REVERSE_PROXY)?;
    let upstreams = proxy.value("upstreams").map(|node| decoder.list(node, "upstreams")).unwrap_or_default();
    if upstreams.is_empty() {
        no_upstreams(decoder, handler);
    }
    let upstreams = upstreams.iter().filter_map(|node| upstream(decoder, node)).collect();
    Some(Route { place: decoder.place(node), hosts, upstreams, proxy_protocol: None })
}

/// Sets of matchers are alternatives; one without hosts takes every host, and so does none at all.
fn hosts<'d>(decoder: &mut Decoder<'d>, route: Table<'d>) -> Vec<Placed<String>> {
    let Some(node) = route.value("match") else { return Vec::new() };
    let mut all = Vec::new();
    let mut takes_every_host = false;
    for set in decoder.list(node, "match") {
        let Some(table) = decoder.table(set, &known::HTTP_MATCHERS) else { continue };
        let listed = table.value("host").map(|node| decoder.texts(node, "host")).unwrap_or_default();
        takes_every_host |= listed.is_empty();
        all.extend(listed.into_iter().filter_map(|(text, node)| host(decoder, text, node)));
    }
    if takes_every_host { Vec::new() } else { all }
}

fn host(decoder: &mut Decoder<'_>, text: &str, node: &Node) -> Option<Placed<String>> {
    let value = text.to_ascii_lowercase();
    if text.contains('{') {
        let problem = Problem::error(
            "not-supported",
            format!("\"{text}\": placeholders in host names are not supported yet"),
        );
        decoder.report(node.at, problem.cure("Write the name itself."));
        return None;
    }
    let flaw = name::flaw(value.strip_prefix("*.").unwrap_or(&value));
    if let Some(flaw) = flaw {
        let problem = Problem::error("bad-name", format!("\"{text}\" is not a host name: {flaw}"));
        decoder.report(
            node.at,
            problem.cure("Write the name alone, such as \"app.example.com\" or \"*.example.com\"."),
        );
        return None;
    }
    Some(Placed { value, place: decoder.place(node) })
}

fn upstream<'d>(decoder: &mut Decoder<'d>, node: &'d Node) -> Option<Placed<Upstream>> {
    let table = decoder.table(node, &known::HTTP_UPSTREAM)?;
    let Some(dial) = table.value("dial") else {
        no_upstreams(decoder, node);
        return None;
    };
    let text = decoder.text(dial, "dial of an http upstream")?;
    match address::parse(text).map(|address| address.upstream(Transport::Tcp)) {
        Ok(value) if value.transport == Transport::Tcp => Some(Placed { value, place: decoder.place(dial) }),
        Ok(_) => {
            decoder.report(
                dial.at,
                Problem::error("bad-address", format!("\"{text}\": HTTP is dialled over TCP"))
                    .cure("Write \"host:port\" without a network."),
            );
            None
        }
        Err(problem) => {
            decoder.report(dial.at, problem);
            None
        }
    }
}
