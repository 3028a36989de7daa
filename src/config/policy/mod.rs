//! `acl.json` or `policy.hujson`: the policy language of Tailscale and Headscale, as far as `acls` go.

mod alias;
mod protocol;

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::coordinator::core::policy::{Policy, Rule, Selector};

use super::decode::{Decoder, Keys};
use super::document::{Document, Node, Syntax};
use super::problem::Problem;
use alias::Names;
pub use protocol::name as protocol_name;

const ROOT: Keys = Keys {
    of: "the policy",
    known: &["hosts", "groups", "tagOwners", "acls"],
    planned: &[
        "grants",
        "ssh",
        "autoApprovers",
        "nodeAttrs",
        "tests",
        "sshTests",
        "randomizeClientPort",
        "postures",
        "defaultSrcPosture",
        "ipsets",
        "derpMap",
        "disableIPv4",
        "OneCGNATRoute",
    ],
};
const RULE: Keys = Keys {
    of: "a rule of acls",
    known: &["action", "proto", "src", "dst"],
    planned: &["srcPosture", "users", "ports"],
};

/// Parses the policy `text` of the file `name`. Errors: everything that is wrong in it.
pub fn parse(name: &str, text: &str) -> Result<Policy, Vec<Problem>> {
    parse_bytes(name, text.as_bytes()).map(|(policy, _)| policy)
}

/// As [`parse`], and with the warnings.
pub fn parse_bytes(name: &str, bytes: &[u8]) -> Result<(Policy, Vec<Problem>), Vec<Problem>> {
    let (policy, problems) = read(name, bytes);
    if problems.iter().any(Problem::is_error) { Err(problems) } else { Ok((policy, problems)) }
}

/// What could be understood of a policy, and everything that is wrong in it.
pub fn read(name: &str, bytes: &[u8]) -> (Policy, Vec<Problem>) {
    let document = match Document::parse(name, Syntax::CommentedJson, bytes) {
        Ok(document) => document,
        Err(problems) => return (Policy::default(), problems),
    };
    let mut reader = Reader { decoder: Decoder::new(&document) };
    let policy = reader.policy(&document.root);
    (policy, reader.decoder.finish())
}

struct Reader<'d> {
    decoder: Decoder<'d>,
}

impl<'d> Reader<'d> {
    fn policy(&mut self, root: &'d Node) -> Policy {
        let Some(table) = self.decoder.table(root, &ROOT) else { return Policy::default() };
        let hosts = table.value("hosts").map(|node| self.hosts(node)).unwrap_or_default();
        let groups = table.value("groups").map(|node| self.groups(node)).unwrap_or_default();
        let mut tag_owners = BTreeMap::new();
        if let Some(node) = table.value("tagOwners") {
            tag_owners = self.tag_owners(node, &groups);
        }
        let names = Names { hosts: &hosts, groups: &groups, tags: tag_owners.keys().cloned().collect() };
        let rules = table.value("acls").map(|node| self.rules(node, &names));
        Policy { hosts, groups, tag_owners, rules }
    }

    fn hosts(&mut self, node: &'d Node) -> BTreeMap<String, IpNet> {
        let mut hosts: BTreeMap<String, IpNet> = BTreeMap::new();
        for (name, name_at, node) in self.decoder.named(node, "hosts") {
            if let Some(flaw) = host_name_flaw(name) {
                let problem =
                    Problem::error("bad-name", format!("a host cannot be called \"{name}\": {flaw}"));
                let cure = "Write letters, digits and hyphens, as in \"machine-a\".";
                self.decoder.report(name_at, problem.cure(cure));
            }
            let Some(text) = self.decoder.text(node, "a host's address") else { continue };
            let prefix = match alias::parse_prefix(text) {
                Ok(prefix) => prefix,
                Err(problem) => {
                    self.decoder.report(node.at, problem);
                    continue;
                }
            };
            let is_single = prefix.prefix_len() == prefix.max_prefix_len();
            if let Some((other, _)) = hosts.iter().find(|(_, held)| is_single && **held == prefix) {
                let problem = Problem::warning(
                    "same-address",
                    format!("{text} is already the address of \"{other}\""),
                )
                .because(
                    "The address is reserved for one machine, and it will have the name that comes first.",
                )
                .cure("Keep one of the names.");
                self.decoder.report(node.at, problem);
            }
            hosts.insert(name.to_owned(), prefix);
        }
        hosts
    }

    fn groups(&mut self, node: &'d Node) -> BTreeMap<String, Vec<String>> {
        let mut groups = BTreeMap::new();
        for (name, name_at, node) in self.decoder.named(node, "groups") {
            self.check_prefix(name, name_at, "group:");
            let mut members = Vec::new();
            for (text, node) in self.decoder.texts(node, "a group") {
                if text.starts_with("group:") {
                    let problem =
                        Problem::error("nested-group", format!("\"{text}\" cannot be in another group"));
                    self.decoder.report(node.at, problem.cure("List its members here."));
                } else if !alias::is_user(text) {
                    self.decoder.report(node.at, not_a_user(text));
                } else {
                    members.push(text.to_owned());
                }
            }
            groups.insert(name.to_owned(), members);
        }
        groups
    }

    fn tag_owners(
        &mut self,
        node: &'d Node,
        groups: &BTreeMap<String, Vec<String>>,
    ) -> BTreeMap<String, Vec<Selector>> {
        let entries = self.decoder.named(node, "tagOwners");
        let tags = entries.iter().map(|(name, _, _)| (*name).to_owned()).collect();
        let hosts = BTreeMap::new();
        let names = Names { hosts: &hosts, groups, tags };
        let mut owners = BTreeMap::new();
        for (name, name_at, node) in entries {
            self.check_prefix(name, name_at, "tag:");
            let mut list = Vec::new();
            for (text, node) in self.decoder.texts(node, "the owners of a tag") {
                match names.owner(text) {
                    Ok(owner) => list.push(owner),
                    Err(problem) => self.decoder.report(node.at, problem),
                }
            }
            owners.insert(name.to_owned(), list);
        }
        owners
    }

    fn check_prefix(&mut self, name: &str, at: usize, prefix: &str) {
        if name.strip_prefix(prefix).is_none_or(str::is_empty) {
            let bare = name.trim_start_matches(prefix);
            let problem =
                Problem::error("bad-name", format!("\"{name}\" must begin with \"{prefix}\" and a name"));
            self.decoder.report(at, problem.cure(format!("Write \"{prefix}{bare}\".")));
        }
    }

    fn rules(&mut self, node: &'d Node, names: &Names<'_>) -> Vec<Rule> {
        let rules = self.decoder.list(node, "acls");
        rules.iter().filter_map(|node| self.rule(node, names)).collect()
    }

    fn rule(&mut self, node: &'d Node, names: &Names<'_>) -> Option<Rule> {
        let table = self.decoder.table(node, &RULE)?;
        match table.value("action") {
            Some(action) => self.check_action(action),
            None => self.missing(node, "action", "\"action\": \"accept\""),
        }
        let mut protocol = None;
        if let Some(node) = table.value("proto") {
            protocol = self.protocol(node);
        }
        let mut sources = Vec::new();
        match table.value("src") {
            Some(src) => sources = self.aliases(src, "src", |text| names.source(text)),
            None => self.missing(node, "src", "\"src\": [\"*\"]"),
        }
        let mut destinations = Vec::new();
        match table.value("dst") {
            Some(dst) => {
                destinations = self.aliases(dst, "dst", |text| names.destination(text, protocol, &sources));
            }
            None => self.missing(node, "dst", "\"dst\": [\"machine-a:22\"]"),
        }
        Some(Rule { protocols: protocol.into_iter().collect(), sources, destinations })
    }

    fn check_action(&mut self, node: &'d Node) {
        if let Some(action) = self.decoder.text(node, "action")
            && action != "accept"
        {
            let problem = Problem::error("bad-choice", format!("action cannot be \"{action}\""))
                .because("Everything that no rule accepts is refused, so there is nothing else to say.")
                .cure("Write \"accept\".");
            self.decoder.report(node.at, problem);
        }
    }

    fn protocol(&mut self, node: &'d Node) -> Option<u8> {
        let text = self.decoder.text(node, "proto")?;
        protocol::parse(text).map_err(|problem| self.decoder.report(node.at, problem)).ok().flatten()
    }

    fn aliases<T>(
        &mut self,
        node: &'d Node,
        what: &str,
        read: impl Fn(&str) -> Result<T, Problem>,
    ) -> Vec<T> {
        let mut found = Vec::new();
        for (text, node) in self.decoder.texts(node, what) {
            match read(text) {
                Ok(alias) => found.push(alias),
                Err(problem) => self.decoder.report(node.at, problem),
            }
        }
        found
    }

    fn missing(&mut self, at: &Node, key: &str, example: &str) {
        let problem = Problem::error("missing-key", format!("this rule has no \"{key}\""));
        self.decoder.report(at.at, problem.cure(format!("Add {example}.")));
    }
}

/// The names of hosts share their place with the other kinds of alias.
fn host_name_flaw(name: &str) -> Option<&'static str> {
    let is_taken = ["group:", "tag:", "autogroup:"].iter().any(|prefix| name.starts_with(prefix));
    if is_taken || name.contains(['@', ':', '*', '/']) || name.contains(char::is_whitespace) {
        return Some("it would be taken for another kind of alias");
    }
    if name.parse::<std::net::IpAddr>().is_ok() {
        return Some("it is an address");
    }
    name.is_empty().then_some("it is empty")
}

fn not_a_user(text: &str) -> Problem {
    Problem::error("bad-user", format!("\"{text}\" is not a user"))
        .because("A user is an e-mail address, or a login name with @ after it.")
        .cure(format!("Write \"{text}@\"."))
}
