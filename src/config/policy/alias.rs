//! Aliases: how a rule names who may send and what may be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::coordinator::core::policy::{Autogroup, Destination, Selector};
use crate::wire::control::PortRange;

use super::super::problem::Problem;
use super::super::suggest;
use super::not_a_user;
use super::protocol::has_ports;

/// The names that a policy defines.
pub struct Names<'p> {
    pub hosts: &'p BTreeMap<String, IpNet>,
    pub groups: &'p BTreeMap<String, Vec<String>>,
    pub tags: BTreeSet<String>,
}

/// Autogroups of the language that are not built yet.
const PLANNED_AUTOGROUPS: [&str; 10] = [
    "autogroup:nonroot",
    "autogroup:danger-all",
    "autogroup:admin",
    "autogroup:owner",
    "autogroup:shared",
    "autogroup:members",
    "autogroup:network-admin",
    "autogroup:it-admin",
    "autogroup:billing-admin",
    "autogroup:auditor",
];
const AUTOGROUPS: [Autogroup; 4] =
    [Autogroup::Member, Autogroup::Tagged, Autogroup::Own, Autogroup::Internet];

impl Names<'_> {
    /// Errors: a problem without a place, as all of these.
    pub fn source(&self, text: &str) -> Result<Selector, Problem> {
        match self.selector(text)? {
            Selector::Autogroup(Autogroup::Own | Autogroup::Internet) => {
                Err(Problem::error("bad-alias", format!("\"{text}\" cannot be in src"))
                    .cure("It is a destination."))
            }
            selector => Ok(selector),
        }
    }

    /// `alias:ports`. A rule of a `protocol` without ports takes `*` only; one's own nodes need people as `sources`.
    pub fn destination(
        &self,
        text: &str,
        protocol: Option<u8>,
        sources: &[Selector],
    ) -> Result<Destination, Problem> {
        let Some((alias, ports)) = text.rsplit_once(':').filter(|(alias, _)| !is_word_of_alias(alias)) else {
            let problem = Problem::error("no-ports", format!("\"{text}\" does not say which ports"));
            return Err(problem.cure(format!("Write \"{text}:*\" for all, or \"{text}:22\".")));
        };
        let bare = alias.strip_prefix('[').and_then(|alias| alias.strip_suffix(']')).unwrap_or(alias);
        let selector = self.selector(bare)?;
        if selector == Selector::Autogroup(Autogroup::Own) && !sources.iter().all(is_people) {
            let problem = Problem::error("bad-alias", "autogroup:self needs people as sources");
            return Err(problem.cure("Use users, groups, autogroup:member or * in src."));
        }
        let ports = parse_ports(ports)?;
        if protocol.is_some_and(|protocol| !has_ports(protocol)) && ports != [PortRange::ALL] {
            let problem = Problem::error("bad-port", format!("\"{text}\": the rule's protocol has no ports"));
            return Err(problem.cure(format!("Write \"{alias}:*\".")));
        }
        Ok(Destination { selector, ports })
    }

    /// Who may own a tag: users, groups, other tags.
    pub fn owner(&self, text: &str) -> Result<Selector, Problem> {
        match self.selector(text)? {
            owner @ (Selector::User(_)
            | Selector::Group(_)
            | Selector::Tag(_)
            | Selector::Autogroup(Autogroup::Member)) => Ok(owner),
            _ => Err(Problem::error("bad-alias", format!("\"{text}\" cannot own a tag"))
                .cure("Owners are users, groups and tags.")),
        }
    }

    fn selector(&self, text: &str) -> Result<Selector, Problem> {
        if text == "*" {
            return Ok(Selector::Any);
        }
        if text.starts_with("autogroup:") {
            return autogroup(text);
        }
        if text.starts_with("group:") {
            let is_known = self.groups.contains_key(text);
            let names = self.groups.keys().map(String::as_str);
            return if is_known {
                Ok(Selector::Group(text.to_owned()))
            } else {
                Err(unknown("group", text, names))
            };
        }
        if text.starts_with("tag:") {
            let is_known = self.tags.contains(text);
            let names = self.tags.iter().map(String::as_str);
            return if is_known {
                Ok(Selector::Tag(text.to_owned()))
            } else {
                Err(unknown("tag", text, names))
            };
        }
        if let Some(prefix) = self.hosts.get(text) {
            return Ok(Selector::Prefix(*prefix));
        }
        if text.contains('@') {
            return if is_user(text) { Ok(Selector::User(text.to_owned())) } else { Err(not_a_user(text)) };
        }
        if looks_like_address(text) {
            return parse_prefix(text).map(Selector::Prefix);
        }
        Err(unknown("host", text, self.hosts.keys().map(String::as_str)))
    }
}

/// `tag:x` without ports would otherwise be read as the alias `tag` and the port `x`.
fn is_word_of_alias(alias: &str) -> bool {
    ["tag", "group", "autogroup", ""].contains(&alias)
}

fn is_people(selector: &Selector) -> bool {
    match selector {
        Selector::Any | Selector::User(_) | Selector::Group(_) | Selector::Autogroup(Autogroup::Member) => {
            true
        }
        Selector::Prefix(_) | Selector::Tag(_) | Selector::Autogroup(_) => false,
    }
}

fn autogroup(text: &str) -> Result<Selector, Problem> {
    if let Some(group) = AUTOGROUPS.iter().find(|group| group.as_str() == text) {
        return Ok(Selector::Autogroup(*group));
    }
    if PLANNED_AUTOGROUPS.contains(&text) {
        return Err(Problem::error("not-supported", format!("\"{text}\" is not supported yet"))
            .cure("Name the people, tags or hosts instead."));
    }
    Err(unknown("autogroup", text, AUTOGROUPS.iter().map(|group| group.as_str())))
}

fn unknown<'n>(kind: &str, text: &str, names: impl Iterator<Item = &'n str>) -> Problem {
    let code = match kind {
        "group" => "unknown-group",
        "tag" => "unknown-tag",
        "autogroup" => "unknown-autogroup",
        _ => "unknown-host",
    };
    let place = match kind {
        "group" => "groups",
        "tag" => "tagOwners",
        "autogroup" => "the language",
        _ => "hosts",
    };
    let names: Vec<&str> = names.collect();
    let cure = if names.is_empty() { format!("Define it in {place}.") } else { suggest::cure(text, &names) };
    Problem::error(code, format!("there is no {kind} \"{text}\" in {place}")).cure(cure)
}

/// An e-mail address, or a login name with `@` after it.
pub fn is_user(text: &str) -> bool {
    let local = text.split_once('@').map(|(local, domain)| (local, domain.contains('@')));
    local.is_some_and(|(local, more)| !local.is_empty() && !more && !text.contains(char::is_whitespace))
}

fn looks_like_address(text: &str) -> bool {
    let address = text.split_once('/').map_or(text, |(address, _)| address);
    address.contains(':')
        || (address.contains('.') && address.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
}

/// An address, or a prefix without host bits.
pub fn parse_prefix(text: &str) -> Result<IpNet, Problem> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let problem = || Problem::error("bad-address", format!("\"{text}\" is not an address or prefix"));
    let prefix: IpNet =
        text.parse().map_err(|_| problem().cure("Write it as \"100.64.0.2\" or \"10.0.0.0/8\"."))?;
    if prefix.trunc() == prefix {
        return Ok(prefix);
    }
    let cure = format!("Write \"{}\" for the whole, or \"{}\" for the one.", prefix.trunc(), prefix.addr());
    Err(problem().because("It has bits set beyond its length.").cure(cure))
}

/// `*`, or ports and ranges with commas between them.
fn parse_ports(text: &str) -> Result<Vec<PortRange>, Problem> {
    if text == "*" {
        return Ok(vec![PortRange::ALL]);
    }
    text.split(',').map(|part| parse_range(part.trim())).collect()
}

fn parse_range(text: &str) -> Result<PortRange, Problem> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|port| is_number && *port != 0)
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(PortRange { first, last }),
        _ => Err(Problem::error("bad-port", format!("\"{text}\" is not a port or range of ports"))
            .cure("Ports are 22, 8000-8010, lists such as 80,443, or * for all.")),
    }
}
