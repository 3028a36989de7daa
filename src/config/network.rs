//! `[network]` and `[time]` of `genkan.toml`: how the box gets its address and its time.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use crate::appliance::core::settings::{
    Addressing, DNS_MAX, NetworkSettings, TIME_SERVERS_MAX, TimeServer, TimeSettings,
};

use super::decode::{Decoder, Keys, Table};
use super::document::Node;
use super::name;
use super::problem::Problem;

pub const NETWORK: Keys = Keys {
    of: "[network]",
    known: &["interface", "mode", "address", "gateway", "dns", "vlan", "ipv6", "hostname"],
    planned: &[],
};
pub const TIME: Keys = Keys { of: "[time]", known: &["servers"], planned: &[] };

const WITH_LENGTH: &str = "Write it with the length of the network's prefix: \"192.168.1.10/24\".";

/// Reads `[network]`; what is wrong with it is reported and read as if it were not there.
pub fn network<'d>(decoder: &mut Decoder<'d>, table: Table<'d>) -> NetworkSettings {
    let mut settings = NetworkSettings { interface: interface(decoder, table), ..NetworkSettings::default() };
    if let Some(addressing) = addressing(decoder, table) {
        settings.addressing = addressing;
    }
    if let Some(node) = table.value("dns") {
        settings.dns = dns(decoder, node);
    }
    settings.vlan = table.value("vlan").and_then(|node| decoder.number(node, "vlan", 1..=4094, "bad-vlan"));
    if let Some(on) = table.value("ipv6").and_then(|node| decoder.boolean(node, "ipv6")) {
        settings.ipv6 = on;
    }
    if let Some(name) = table.value("hostname").and_then(|node| host_name(decoder, node)) {
        settings.host_name = name;
    }
    settings
}

/// Reads `[time]`; what is wrong with it is reported and read as if it were not there.
pub fn time<'d>(decoder: &mut Decoder<'d>, table: Table<'d>) -> TimeSettings {
    let Some(node) = table.value("servers") else { return TimeSettings::default() };
    let texts = decoder.texts(node, "servers");
    if texts.is_empty() || texts.len() > TIME_SERVERS_MAX {
        let what = format!("servers must name 1 to {TIME_SERVERS_MAX} time servers");
        let problem = Problem::error("bad-servers", what);
        decoder.report(node.at, problem.cure("Leave the line out for the servers that genkan knows."));
    }
    let servers = texts.into_iter().filter_map(|(text, node)| time_server(decoder, text, node));
    TimeSettings { servers: servers.collect() }
}

/// The key `interface`, of `[lan]` too.
pub fn interface<'d>(decoder: &mut Decoder<'d>, table: Table<'d>) -> Option<String> {
    let node = table.value("interface")?;
    let text = decoder.text(node, "interface")?;
    // IFNAMSIZ of Linux, with its terminating zero.
    if text.is_empty() || text.len() > 15 || text.contains(|c: char| c == '/' || c.is_whitespace()) {
        let what = format!("\"{text}\" cannot be a network interface's name");
        let problem = Problem::error("bad-interface", what);
        decoder.report(node.at, problem.cure("Write it as `ip link` does, for example \"eth0\"."));
    }
    Some(text.to_owned())
}

fn addressing<'d>(decoder: &mut Decoder<'d>, table: Table<'d>) -> Option<Addressing> {
    let mode = decoder.choice(table, "mode", &["dhcp", "static"]).unwrap_or("dhcp");
    let address = table.value("address").map(|node| (node, address(decoder, node)));
    let gateway = table.value("gateway").map(|node| (node, gateway(decoder, node)));
    if mode == "dhcp" {
        for (key, node) in [("address", address.map(|it| it.0)), ("gateway", gateway.map(|it| it.0))] {
            if let Some(node) = node {
                decoder.report(node.at, only_static(key));
            }
        }
        return None;
    }
    let Some((address_node, address)) = address else {
        if mode == "static"
            && let Some(node) = table.value("mode")
        {
            let problem = Problem::error("missing-key", "mode = \"static\" needs an address");
            decoder.report(
                node.at,
                problem.cure("For example address = \"192.168.1.10/24\" and gateway = \"192.168.1.1\"."),
            );
        }
        return None;
    };
    let address = address?;
    let gateway = gateway.and_then(|(node, gateway)| {
        let gateway = gateway?;
        if !address.contains(&gateway) || gateway == address.addr() {
            decoder.report(node.at, unreachable_gateway(gateway, address));
        }
        Some(gateway)
    });
    if !is_host_of(address) {
        let what = format!("\"{address}\" names a whole network, not one machine of it");
        decoder.report(address_node.at, Problem::error("bad-address", what).cure(WITH_LENGTH));
    }
    Some(Addressing::Static { address, gateway })
}

fn address<'d>(decoder: &mut Decoder<'d>, node: &'d Node) -> Option<Ipv4Net> {
    let text = decoder.text(node, "address")?;
    let address = text.parse::<Ipv4Net>().ok().filter(|address| address.prefix_len() > 0);
    if address.is_none() {
        let what = match text.parse::<Ipv4Addr>() {
            Ok(_) => format!("\"{text}\" lacks the length of the network's prefix"),
            Err(_) => format!("\"{text}\" is not an IPv4 address with the length of its network's prefix"),
        };
        decoder.report(node.at, Problem::error("bad-address", what).cure(WITH_LENGTH));
    }
    address
}

fn gateway<'d>(decoder: &mut Decoder<'d>, node: &'d Node) -> Option<Ipv4Addr> {
    let text = decoder.text(node, "gateway")?;
    let gateway = text.parse().ok();
    if gateway.is_none() {
        let problem = Problem::error("bad-address", format!("\"{text}\" is not an IPv4 address"));
        decoder.report(node.at, problem.cure("Write the router's address, for example \"192.168.1.1\"."));
    }
    gateway
}

/// An address that one machine can have within its prefix.
fn is_host_of(address: Ipv4Net) -> bool {
    let own = address.addr();
    let is_edge = address.prefix_len() < 31 && (own == address.network() || own == address.broadcast());
    !is_edge && !own.is_unspecified() && !own.is_loopback() && !own.is_multicast() && !own.is_broadcast()
}

fn only_static(key: &str) -> Problem {
    Problem::error("not-with-dhcp", format!("{key} has no meaning while the router gives the address"))
        .because("With mode = \"dhcp\", which holds unless written otherwise, the router decides.")
        .cure("Write mode = \"static\" as well, or leave it out.")
}

fn unreachable_gateway(gateway: Ipv4Addr, address: Ipv4Net) -> Problem {
    if gateway == address.addr() {
        return Problem::error("bad-gateway", "the gateway is the box itself")
            .cure("Write the router's address.");
    }
    let what = format!("the gateway {gateway} is not within {}", address.trunc());
    Problem::error("bad-gateway", what)
        .because("The box could not reach it: it reaches only its own network directly.")
        .cure("Write the router's address in that network, or correct the length behind `address`.")
}

fn dns<'d>(decoder: &mut Decoder<'d>, node: &'d Node) -> Vec<IpAddr> {
    let texts = decoder.texts(node, "dns");
    if texts.len() > DNS_MAX {
        let problem = Problem::error("bad-servers", format!("dns can name {DNS_MAX} servers at most"));
        decoder.report(node.at, problem.because("The resolver asks no more.").cure("Keep the best ones."));
    }
    let mut servers = Vec::new();
    for (text, node) in texts {
        let Ok(address) = text.parse() else {
            let problem = Problem::error("bad-address", format!("\"{text}\" is not an IP address"))
                .because("Who looks up names cannot be found by a name.")
                .cure("Write it as \"192.168.1.1\" or \"2620:fe::fe\".");
            decoder.report(node.at, problem);
            continue;
        };
        servers.push(address);
    }
    servers
}

/// One label: routers put it before a domain of their own.
fn host_name<'d>(decoder: &mut Decoder<'d>, node: &'d Node) -> Option<String> {
    let text = decoder.text(node, "hostname")?.to_ascii_lowercase();
    let flaw = name::flaw(&text).or_else(|| text.contains('.').then_some("it is one word, without dots"));
    let Some(flaw) = flaw else { return Some(text) };
    let problem = Problem::error("bad-name", format!("hostname cannot be \"{text}\": {flaw}"));
    decoder.report(node.at, problem.cure("Write a word such as \"genkan\"."));
    None
}

fn time_server<'d>(decoder: &mut Decoder<'d>, text: &str, node: &'d Node) -> Option<TimeServer> {
    if let Ok(address) = text.parse() {
        return Some(TimeServer::Address(address));
    }
    let text = text.to_ascii_lowercase();
    let Some(flaw) = name::flaw(&text) else { return Some(TimeServer::Name(text)) };
    let problem = Problem::error("bad-name", format!("\"{text}\" is no time server: {flaw}"));
    decoder.report(
        node.at,
        problem.cure("Write a name such as \"pool.ntp.org\", or an address without a port."),
    );
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema;

    fn model(text: &str) -> Result<crate::config::model::Model, Vec<(&'static str, u32)>> {
        let settings = schema::parse("genkan.toml", text.as_bytes(), None);
        settings
            .map(|settings| settings.model)
            .map_err(|problems| problems.iter().map(|problem| (problem.code, problem.place.line)).collect())
    }

    #[test]
    fn without_a_word_the_router_is_asked() {
        let model = model("").expect("an empty file");
        assert_eq!(model.network, NetworkSettings::default());
        assert_eq!(model.network.addressing, Addressing::Dhcp);
        assert!(!model.time.servers.is_empty());
    }

    #[test]
    fn a_fixed_address_a_vlan_and_servers_are_taken() {
        let text = "[network]\ninterface = 'eth1'\nmode = 'static'\naddress = '192.168.7.10/24'\ngateway = '192.168.7.1'\n\
                    dns = ['192.168.7.1', '2001:db8::53']\nvlan = 12\nipv6 = false\nhostname = 'entrance'\n\
                    [time]\nservers = ['192.168.7.1', 'ntp.example.com']\n";
        let model = model(text).expect("a sound file");
        assert_eq!(model.network.interface.as_deref(), Some("eth1"));
        assert_eq!((model.network.vlan, model.network.ipv6), (Some(12), false));
        assert_eq!((model.network.dns.len(), model.network.host_name.as_str()), (2, "entrance"));
        assert!(matches!(&model.network.addressing, Addressing::Static { .. }), "{:?}", model.network);
        assert_eq!(model.time.servers.len(), 2);
    }

    #[test]
    fn what_cannot_be_so_is_told_with_its_line() {
        for (text, line) in [
            ("[network]\nmode = 'static'\n", 2),
            ("[network]\nmode = 'statik'\n", 2),
            ("[network]\naddress = '192.168.7.10/24'\n", 2),
            ("[network]\nmode = 'static'\naddress = '192.168.7.10'\n", 3),
            ("[network]\nmode = 'static'\naddress = '192.168.7.10/24'\ngateway = '10.0.0.1'\n", 4),
            ("[network]\nvlan = 4095\n", 2),
            ("[network]\ndns = ['not an address']\n", 2),
            ("[network]\nhostname = 'under_score!'\n", 2),
            ("[time]\nservers = []\n", 2),
            ("[time]\nservers = ['bad name!']\n", 2),
        ] {
            let found = model(text).expect_err(text);
            assert!(found.iter().any(|(_, at)| *at == line), "{text}: {found:?}");
        }
    }
}
