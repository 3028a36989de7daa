//! Who a rule speaks of, as written: before it is known which nodes that is.

use std::net::IpAddr;

use ipnet::IpNet;

use super::node_set::NodeSet;
use super::span::Span;
use super::{Policy, Subject, is_exit_route, is_in_tailnet, tailnet_ranges};

/// One entry of a rule's sources or destinations. Names are as in the policy: `group:x`, `tag:x`, `name@` or an e-mail.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    Any,
    /// An address, a prefix, or the value of a host's name.
    Prefix(IpNet),
    User(String),
    Group(String),
    Tag(String),
    Autogroup(Autogroup),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Autogroup {
    /// Nodes that belong to a person.
    Member,
    /// Nodes that carry a tag.
    Tagged,
    /// As a destination: the source's own untagged nodes.
    Own,
    /// As a destination: the internet by an exit node.
    Internet,
}

impl Autogroup {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "autogroup:member",
            Self::Tagged => "autogroup:tagged",
            Self::Own => "autogroup:self",
            Self::Internet => "autogroup:internet",
        }
    }
}

impl Selector {
    /// Whether the selector names `subject` itself, not merely an address it has.
    pub(super) fn names(&self, subject: &Subject, policy: &Policy) -> bool {
        match self {
            Self::Any => true,
            Self::User(user) => is_user(subject, user),
            Self::Group(group) => {
                policy.groups.get(group).is_some_and(|users| users.iter().any(|user| is_user(subject, user)))
            }
            Self::Tag(tag) => subject.tags.contains(tag),
            Self::Autogroup(Autogroup::Member) => subject.tags.is_empty(),
            Self::Autogroup(Autogroup::Tagged) => !subject.tags.is_empty(),
            Self::Prefix(_) | Self::Autogroup(Autogroup::Own | Autogroup::Internet) => false,
        }
    }

    /// The nodes it means, of `subjects` in their order: as named, or by an address or route of theirs in a prefix.
    pub(super) fn nodes(&self, subjects: &[Subject], policy: &Policy) -> NodeSet {
        let means = |subject: &Subject| match self {
            Self::Prefix(prefix) => holds_any_of(subject, prefix),
            _ => self.names(subject, policy),
        };
        let positions = subjects.iter().enumerate().filter(|(_, subject)| means(subject));
        positions.map(|(position, _)| position).collect()
    }

    /// The addresses packets from it may carry.
    pub(super) fn spans(&self, subjects: &[Subject], policy: &Policy) -> Vec<Span> {
        match self {
            Self::Prefix(prefix) => vec![Span::Prefix(*prefix)],
            Self::Any => {
                let inner = subjects.iter().flat_map(inner_routes).map(|route| Span::Prefix(*route));
                tailnet_ranges().into_iter().chain(inner).collect()
            }
            _ => {
                let named = subjects.iter().filter(|subject| self.names(subject, policy));
                named.flat_map(Span::of_node).collect()
            }
        }
    }
}

/// Whether packets for some address of `prefix` go to `subject`: its own address or behind a route of it.
///
/// An exit node is meant by any prefix outside the tailnet: that is what it is an exit to.
pub(super) fn receives_any_of(subject: &Subject, prefix: &IpNet) -> bool {
    let is_exit = subject.routes.iter().any(|route| is_exit_route(route) && overlaps(route, prefix));
    holds_any_of(subject, prefix) || (is_exit && leads_out(prefix))
}

/// Whether an exit is a way to `prefix`.
pub(super) fn leads_out(prefix: &IpNet) -> bool {
    !is_in_tailnet(prefix.network())
}

/// Its own addresses and what is behind its routes, exits excepted.
fn held_prefixes(subject: &Subject) -> impl Iterator<Item = IpNet> + '_ {
    let own = [IpAddr::V4(subject.ipv4), IpAddr::V6(subject.ipv6)].map(IpNet::from);
    own.into_iter().chain(inner_routes(subject).copied())
}

/// Its routes, exits excepted.
pub(super) fn inner_routes(subject: &Subject) -> impl Iterator<Item = &IpNet> {
    subject.routes.iter().filter(|route| !is_exit_route(route))
}

fn holds_any_of(subject: &Subject, prefix: &IpNet) -> bool {
    held_prefixes(subject).any(|held| overlaps(&held, prefix))
}

pub(super) fn overlaps(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// A tagged node belongs to nobody. `name@` and `name` are the same login name; case does not matter.
fn is_user(subject: &Subject, user: &str) -> bool {
    let own = subject.user.as_deref().filter(|_| subject.tags.is_empty());
    own.is_some_and(|own| plain(own).eq_ignore_ascii_case(plain(user)))
}

fn plain(login: &str) -> &str {
    login.strip_suffix('@').unwrap_or(login)
}
