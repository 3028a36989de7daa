//! `caddy.json`: Caddy's own JSON, as strict as Caddy is.
//!
//! What Caddy has and genkan does not do yet is refused by name, what Caddy does not know either gets "did you mean".

mod http;
mod known;
mod layer4;

use super::address;
use super::decode::{Decoder, Table, not_supported};
use super::document::{Document, Node, Syntax};
use super::exposure::{Placed, Server};
use super::problem::Problem;
use super::suggest;
use crate::edge::core::route::{Listen, Transport};

/// The servers that `caddy.json` describes, and warnings about them. Errors: everything that is wrong in it.
pub fn parse(file: &str, bytes: &[u8]) -> Result<(Vec<Server>, Vec<Problem>), Vec<Problem>> {
    let (servers, problems) = read(file, bytes);
    if problems.iter().any(Problem::is_error) { Err(problems) } else { Ok((servers, problems)) }
}

/// The servers that could be understood, and everything that is wrong in the file.
pub fn read(file: &str, bytes: &[u8]) -> (Vec<Server>, Vec<Problem>) {
    let document = match Document::parse(file, Syntax::Json, bytes) {
        Ok(document) => document,
        Err(problems) => return (Vec::new(), problems),
    };
    let mut decoder = Decoder::new(&document);
    let servers = servers(&mut decoder, &document.root);
    (servers, decoder.finish())
}

fn servers<'d>(decoder: &mut Decoder<'d>, root: &'d Node) -> Vec<Server> {
    let apps = decoder.table(root, &known::ROOT).and_then(|root| root.value("apps"));
    let Some(apps) = apps.and_then(|apps| decoder.table(apps, &known::APPS)) else { return Vec::new() };
    let mut servers = Vec::new();
    if let Some(app) = apps.value("http").and_then(|app| decoder.table(app, &known::HTTP_APP)) {
        servers.extend(each_server(decoder, app, http::server));
    }
    if let Some(app) = apps.value("layer4").and_then(|app| decoder.table(app, &known::LAYER4_APP)) {
        servers.extend(each_server(decoder, app, layer4::server));
    }
    servers
}

type ReadServer<'d> = fn(&mut Decoder<'d>, &str, &'d Node) -> Option<Server>;

fn each_server<'d>(decoder: &mut Decoder<'d>, app: Table<'d>, read: ReadServer<'d>) -> Vec<Server> {
    let Some(node) = app.value("servers") else { return Vec::new() };
    let named = decoder.named(node, "servers");
    named.into_iter().filter_map(|(name, _, node)| read(decoder, name, node)).collect()
}

/// The `listen` of a server; a server that listens nowhere does nothing and is worth a warning.
fn listens<'d>(decoder: &mut Decoder<'d>, server: Table<'d>, at: &Node) -> Vec<Placed<Listen>> {
    let Some(node) = server.value("listen") else {
        let problem =
            Problem::warning("no-listen", "this server listens on no address, so nothing reaches it");
        decoder.report(at.at, problem.cure("Add \"listen\": [\":443\"] or another address."));
        return Vec::new();
    };
    let mut listens = Vec::new();
    for (text, node) in decoder.texts(node, "listen") {
        match address::parse(text).and_then(|address| address.listen(Transport::Tcp)) {
            Ok(value) => listens.push(Placed { value, place: decoder.place(node) }),
            Err(problem) => decoder.report(node.at, problem),
        }
    }
    listens
}

/// The only handler of a route, when it is `wanted`; everything else is told.
fn only_handler<'d>(
    decoder: &mut Decoder<'d>,
    route: Table<'d>,
    at: &Node,
    wanted: &str,
    planned: &[&str],
) -> Option<&'d Node> {
    let handlers = route.value("handle").map(|node| decoder.list(node, "handle")).unwrap_or_default();
    if handlers.is_empty() {
        let problem = Problem::error("no-handler", "this route handles nothing");
        decoder.report(at.at, problem.cure(format!("Add \"handle\": [{{\"handler\": \"{wanted}\", ...}}].")));
    }
    let known: Vec<&'d Node> =
        handlers.iter().filter(|node| is_handler(decoder, node, wanted, planned)).collect();
    if let Some(second) = known.get(1) {
        let problem =
            Problem::error("unreachable", format!("nothing gets past the \"{wanted}\" before this handler"));
        decoder.report(second.at, problem.cure("Remove it, or give it a route of its own."));
    }
    known.first().copied()
}

fn is_handler<'d>(decoder: &mut Decoder<'d>, node: &'d Node, wanted: &str, planned: &[&str]) -> bool {
    let fields = decoder.named(node, "a handler");
    let Some((_, _, name_node)) = fields.iter().find(|(key, _, _)| key.eq_ignore_ascii_case("handler"))
    else {
        if matches!(node.value, super::document::Value::Table(_)) {
            let problem = Problem::error("missing-key", "this handler does not say which it is");
            decoder.report(node.at, problem.cure(format!("Add \"handler\": \"{wanted}\".")));
        }
        return false;
    };
    let Some(name) = decoder.text(name_node, "handler") else { return false };
    if planned.contains(&name) {
        decoder.report(name_node.at, not_supported(name, "Caddy's handlers"));
    } else if name != wanted {
        let all: Vec<&str> = planned.iter().copied().chain([wanted]).collect();
        let problem = Problem::error("unknown-handler", format!("there is no handler \"{name}\""));
        decoder.report(name_node.at, problem.cure(suggest::cure(name, &all)));
    }
    name == wanted
}

fn no_upstreams(decoder: &mut Decoder<'_>, at: &Node) {
    let problem = Problem::error("no-upstream", "there is nothing to send to");
    decoder.report(at.at, problem.cure("Add \"upstreams\" with at least one \"dial\"."));
}
