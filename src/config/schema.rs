//! `genkan.toml`: every key optional, and so is the file.

mod acme;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use crate::base::ceilings::Ceilings;
use crate::coordinator::core::policy::Policy;
use crate::edge::core::route::{Transport, Upstream};

use super::decode::{Decoder, Keys, Table};
use super::document::{Document, Node, Syntax};
use super::exposure::{Layer, Placed, Route, Server};
use super::model::{Lan, Log, LogFormat, Model, Ports};
use super::problem::{Place, Problem};
use super::{address, name, network, suggest};

pub use acme::{SealedAccount, bad_key};

/// The file with every key explained and commented out; works as it is.
pub const EXAMPLE: &str = include_str!("genkan.example.toml");

const ROOT: Keys = Keys {
    of: "genkan.toml",
    known: &["coordinator", "acme", "lan", "network", "time", "ports", "limits", "log", "box", "expose"],
    planned: &["ddns", "port_mapping"],
};
const COORDINATOR: Keys = Keys { of: "[coordinator]", known: &["name", "base_domain"], planned: &[] };
const LAN: Keys = Keys { of: "[lan]", known: &["interface", "address"], planned: &[] };
const PORTS: Keys = Keys {
    of: "[ports]",
    known: &["http", "https", "control", "stun", "wireguard", "admin", "api"],
    planned: &[],
};
const LIMITS: Keys =
    Keys { of: "[limits]", known: &["tcp_connections", "tcp_connections_per_address"], planned: &[] };
const LOG: Keys = Keys { of: "[log]", known: &["format", "level"], planned: &[] };
const BOX: Keys = Keys { of: "[box]", known: &["keep_identity_copy"], planned: &[] };
const EXPOSE: Keys = Keys { of: "[[expose]]", known: &["listen", "to"], planned: &[] };

/// Of one TCP port: as many as a loop of the relay carries.
const CONNECTIONS: RangeInclusive<u16> = 1..=16_384;

/// What `genkan.toml` says, on its own.
#[derive(Debug)]
pub struct Settings {
    /// Its `edge` has limits alone, and its `policy` is empty.
    pub model: Model,
    /// The `[[expose]]` entries.
    pub servers: Vec<Server>,
    /// Where the coordinator's name stands, or should.
    pub name_place: Place,
    pub email_place: Place,
    pub base_domain_place: Place,
    /// Where the ports that were written stand, by their key.
    pub port_places: BTreeMap<&'static str, Place>,
    /// An account with the certificate authority whose key has to be found elsewhere.
    pub sealed_account: Option<SealedAccount>,
}

/// Reads the file `file`; `policy` gives the names that `[[expose]]` may use, `None` when it could not be read.
/// Errors: everything that is wrong in it.
pub fn parse(file: &str, bytes: &[u8], policy: Option<&Policy>) -> Result<Settings, Vec<Problem>> {
    let (settings, problems) = read(file, bytes, policy);
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// As [`parse`], with what could be understood when something is wrong.
pub fn read(file: &str, bytes: &[u8], policy: Option<&Policy>) -> (Settings, Vec<Problem>) {
    let document = match Document::parse(file, Syntax::Toml, bytes) {
        Ok(document) => document,
        Err(problems) => return (Settings::nothing(file), problems),
    };
    let mut reader = Reader { decoder: Decoder::new(&document), policy, sealed_account: None };
    let settings = reader.settings(file, &document.root);
    (settings, reader.decoder.finish())
}

/// Whether the problem at `place` leaves open what section `key` was meant to say: it stands in there, or in a section that no one
/// knows and that may be this one misspelt.
pub fn is_about(place: &Place, key: &str) -> bool {
    let section = place.path.split(['.', '[']).next().unwrap_or_default();
    section == key || !ROOT.known.iter().chain(ROOT.planned).any(|known| *known == section)
}

impl Settings {
    /// Of a file that says nothing.
    fn nothing(file: &str) -> Self {
        let place = || Place::file(file);
        Self {
            model: Model::default(),
            servers: Vec::new(),
            name_place: place(),
            email_place: place(),
            base_domain_place: place(),
            port_places: BTreeMap::new(),
            sealed_account: None,
        }
    }
}

struct Reader<'d> {
    decoder: Decoder<'d>,
    policy: Option<&'d Policy>,
    sealed_account: Option<SealedAccount>,
}

impl<'d> Reader<'d> {
    fn settings(&mut self, file: &str, root: &'d Node) -> Settings {
        let mut settings = Settings::nothing(file);
        let model = &mut settings.model;
        let Some(table) = self.decoder.table(root, &ROOT) else { unreachable!("a TOML document is a table") };
        if let Some(coordinator) = self.section(table, "coordinator", &COORDINATOR) {
            if let Some(node) = coordinator.value("name") {
                model.name = self.host_name(node, "the coordinator's name");
                settings.name_place = self.decoder.place(node);
            }
            if let Some(node) = coordinator.value("base_domain") {
                if let Some(name) = self.host_name(node, "base_domain") {
                    model.base_domain = name;
                }
                settings.base_domain_place = self.decoder.place(node);
            }
        }
        if let Some(acme) = self.section(table, "acme", &acme::KEYS) {
            if let Some(node) = acme.value("email") {
                settings.email_place = self.decoder.place(node);
            }
            model.acme = self.acme(acme);
        }
        model.lan = self.section(table, "lan", &LAN).map(|lan| self.lan(lan)).unwrap_or_default();
        if let Some(table) = self.section(table, "network", &network::NETWORK) {
            model.network = network::network(&mut self.decoder, table);
        }
        if let Some(table) = self.section(table, "time", &network::TIME) {
            model.time = network::time(&mut self.decoder, table);
        }
        if let Some(ports) = self.section(table, "ports", &PORTS) {
            (model.ports, settings.port_places) = self.ports(ports);
        }
        if let Some(limits) = self.section(table, "limits", &LIMITS) {
            model.edge.layer4_connections = self.limits(limits, model.edge.layer4_connections);
        }
        model.log = self.section(table, "log", &LOG).map(|log| self.log(log)).unwrap_or_default();
        if let Some(node) = self.section(table, "box", &BOX).and_then(|own| own.value("keep_identity_copy")) {
            model.keep_identity_copy = self.decoder.boolean(node, "keep_identity_copy").unwrap_or(true);
        }
        settings.servers = table.value("expose").map(|node| self.exposed(node)).unwrap_or_default();
        settings.sealed_account = self.sealed_account.take();
        settings
    }

    fn section(&mut self, table: Table<'d>, key: &str, keys: &Keys) -> Option<Table<'d>> {
        self.decoder.table(table.value(key)?, keys)
    }

    fn host_name(&mut self, node: &'d Node, what: &str) -> Option<String> {
        let text = self.decoder.text(node, what)?.to_ascii_lowercase();
        let flaw = name::flaw(&text)
            .or_else(|| (!text.contains('.')).then_some("it needs a dot: a label and its domain"));
        let flaw = flaw.or_else(|| text.parse::<Ipv4Addr>().is_ok().then_some("it is an address"));
        match flaw {
            None => Some(text),
            Some(flaw) => {
                let problem = Problem::error("bad-name", format!("{what} cannot be \"{text}\": {flaw}"));
                self.decoder.report(node.at, problem.cure("Write a DNS name such as \"hs.example.com\"."));
                None
            }
        }
    }

    fn lan(&mut self, table: Table<'d>) -> Lan {
        let interface = network::interface(&mut self.decoder, table);
        let address = table.value("address").and_then(|node| {
            let text = self.decoder.text(node, "address")?;
            let address = text.parse::<Ipv4Addr>().ok();
            if address.is_none() {
                let problem = Problem::error("bad-address", format!("\"{text}\" is not an IPv4 address"));
                self.decoder.report(node.at, problem.cure("Write it as \"192.168.1.10\", without a length."));
            }
            address
        });
        Lan { interface, address }
    }

    fn ports(&mut self, table: Table<'d>) -> (Ports, BTreeMap<&'static str, Place>) {
        let (mut ports, mut places) = (Ports::default(), BTreeMap::new());
        let fields = [
            ("http", &mut ports.http),
            ("https", &mut ports.https),
            ("control", &mut ports.control),
            ("stun", &mut ports.stun),
            ("wireguard", &mut ports.wireguard),
            ("admin", &mut ports.admin),
            ("api", &mut ports.api),
        ];
        for (key, field) in fields {
            let Some(node) = table.value(key) else { continue };
            if let Some(port) = self.decoder.port(node, key) {
                *field = port;
                places.insert(key, self.decoder.place(node));
            }
        }
        (ports, places)
    }

    /// `usual` where nothing is written.
    fn limits(&mut self, table: Table<'d>, usual: Ceilings) -> Ceilings {
        let mut limit = |key, usual| {
            let found =
                table.value(key).and_then(|node| self.decoder.number(node, key, CONNECTIONS, "bad-limit"));
            found.map_or(usual, usize::from)
        };
        let total = limit("tcp_connections", usual.total);
        Ceilings { total, per_source: limit("tcp_connections_per_address", usual.per_source) }
    }

    fn log(&mut self, table: Table<'d>) -> Log {
        let mut log = Log::default();
        if let Some(format) = self.decoder.choice(table, "format", &["text", "json"]) {
            log.format = if format == "json" { LogFormat::Json } else { LogFormat::Text };
        }
        if let Some(level) = self.decoder.choice(table, "level", &["error", "warn", "info", "debug", "trace"])
        {
            log.level = level.parse().unwrap_or(log.level);
        }
        log
    }

    fn exposed(&mut self, node: &'d Node) -> Vec<Server> {
        let entries = self.decoder.list(node, "expose");
        entries.iter().filter_map(|entry| self.exposure(entry)).collect()
    }

    fn exposure(&mut self, node: &'d Node) -> Option<Server> {
        let table = self.decoder.table(node, &EXPOSE)?;
        let (Some(listen_node), Some(to_node)) = (table.value("listen"), table.value("to")) else {
            let problem = Problem::error("missing-key", "[[expose]] needs both listen and to");
            self.decoder.report(
                node.at,
                problem.cure("For example listen = \"tcp/2222\" and to = \"machine-a:22\"."),
            );
            return None;
        };
        let listen_text = self.decoder.text(listen_node, "listen")?;
        let to_text = self.decoder.text(to_node, "to")?;
        let listen =
            address::parse(&spell_out(listen_text)).and_then(|address| address.listen(Transport::Tcp));
        let listen = self.sound(listen_node, listen);
        let to = self.sound(to_node, address::parse(to_text));
        let (listen, to) = (listen?, to?);
        let upstream = self.resolve(to_node, to.upstream(listen.transport))?;
        let placed = Placed { value: upstream, place: self.decoder.place(to_node) };
        Some(Server {
            name: listen_text.to_owned(),
            layer: Layer::Layer4,
            listen: vec![Placed { value: listen, place: self.decoder.place(listen_node) }],
            routes: vec![Route {
                place: self.decoder.place(node),
                hosts: Vec::new(),
                upstreams: vec![placed],
                proxy_protocol: None,
            }],
        })
    }

    fn sound<T>(&mut self, node: &Node, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.decoder.report(node.at, problem)).ok()
    }

    /// Puts the address in the place of a host's name of the policy.
    fn resolve(&mut self, node: &Node, upstream: Upstream) -> Option<Upstream> {
        let Some(policy) = self.policy else { return Some(upstream) };
        if upstream.host.parse::<std::net::IpAddr>().is_ok()
            || upstream.host.contains('.')
            || upstream.host == "localhost"
        {
            return Some(upstream);
        }
        match policy.hosts.get(&upstream.host) {
            Some(prefix) if prefix.prefix_len() == prefix.max_prefix_len() => {
                Some(Upstream { host: prefix.addr().to_string(), ..upstream })
            }
            _ => {
                let names: Vec<&str> = policy.hosts.keys().map(String::as_str).collect();
                let problem =
                    Problem::error("unknown-host", format!("no host is called \"{}\"", upstream.host))
                        .because("`to` takes a name of `hosts` in the policy, or an address.")
                        .cure(suggest::cure(&upstream.host, &names));
                self.decoder.report(node.at, problem);
                None
            }
        }
    }
}

/// `tcp/2222` is short for `tcp/:2222`.
fn spell_out(listen: &str) -> String {
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match listen.split_once('/') {
        Some((network, port)) if is_port(port) => format!("{network}/:{port}"),
        None if is_port(listen) => format!(":{listen}"),
        _ => listen.to_owned(),
    }
}
