//! The difference between two maps for one viewer: what it was told, and what is.
//!
//! Comparing views instead of replaying events makes a delta right whatever happened in between, and lets any number of
//! changes fold into one message.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::wire::control::{MapResponse, Node, NodeId, PeerChange, UserId};
use crate::wire::key::DiscoPublic;

use super::map_builder::{packet_filters, profiles, seen_by, self_node};
use super::relay_map::{self, Origin};
use super::snapshot::{NodeEntry, Snapshot};

/// Which nodes to compare: those that looked different to the viewer after any step since it was told last, even if it
/// was not to see them just then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Nodes(BTreeSet<NodeId>),
    Everything,
}

impl Scope {
    /// The scope of one step, in which `nodes` changed of those that `viewer` saw before or sees after, itself included.
    ///
    /// Where the step makes the viewer see others than before, it is everything. The two ends of several steps do not tell:
    /// a viewer may become somebody else and then itself again, and of what happened in between it was sent nothing.
    #[must_use]
    pub fn of_step(viewer: NodeId, before: &Snapshot, after: &Snapshot, nodes: BTreeSet<NodeId>) -> Self {
        if nodes.contains(&viewer) && sight(before, viewer) != sight(after, viewer) {
            return Self::Everything;
        }
        Self::Nodes(nodes)
    }

    fn nodes(&self) -> BTreeSet<NodeId> {
        match self {
            Self::Nodes(nodes) => nodes.clone(),
            Self::Everything => BTreeSet::new(),
        }
    }
}

/// One viewer between two moments.
#[derive(Debug)]
pub struct Delta<'a> {
    pub viewer: NodeId,
    pub origin: Option<Origin>,
    pub before: &'a Snapshot,
    pub after: &'a Snapshot,
}

impl Delta<'_> {
    /// The message that leads from `before` to `after`, or `None` when nothing that the viewer may know differs.
    /// `known_users` are those it has profiles of; those sent are added.
    #[must_use]
    pub fn message(&self, scope: &Scope, known_users: &mut BTreeSet<UserId>) -> Option<MapResponse> {
        let is_whole = *scope == Scope::Everything;
        let mut message = MapResponse::default();
        self.add_own(&mut message);
        let candidates = if is_whole { self.candidates() } else { scope.nodes() };
        for node in candidates {
            self.add_peer(node, &mut message);
        }
        self.add_profiles(is_whole, &mut message, known_users);
        (message != MapResponse::default()).then_some(message)
    }

    fn is_viewer_same(&self) -> bool {
        match (self.before.entry(self.viewer), self.after.entry(self.viewer)) {
            (Some(before), Some(after)) => Arc::ptr_eq(before, after),
            _ => false,
        }
    }

    /// Every node of either moment.
    fn candidates(&self) -> BTreeSet<NodeId> {
        let ids = |snapshot: &Snapshot| snapshot.entries().map(|entry| entry.record.id).collect::<Vec<_>>();
        ids(self.before).into_iter().chain(ids(self.after)).collect()
    }

    /// The viewer's own node, filter and relay map.
    fn add_own(&self, message: &mut MapResponse) {
        let own = |snapshot: &Snapshot| {
            snapshot.node(self.viewer).map(|record| without_volatile(self_node(snapshot, record)))
        };
        if !self.is_viewer_same() && own(self.before) != own(self.after) {
            let after = self.after.node(self.viewer);
            message.node = after.map(|record| Box::new(self_node(self.after, record)));
        }
        if !self.is_policy_same() || message.node.is_some() {
            let filters = packet_filters(self.after, self.viewer);
            if filters != packet_filters(self.before, self.viewer) {
                message.packet_filters = Some(filters);
            }
        }
        if !Arc::ptr_eq(&self.before.relay, &self.after.relay) && self.before.relay != self.after.relay {
            message.derp_map = Some(relay_map::derp_map(&self.after.relay, self.origin));
        }
    }

    fn add_peer(&self, node: NodeId, message: &mut MapResponse) {
        let before = shown(self.before, self.viewer, node);
        let after = shown(self.after, self.viewer, node);
        match (before, after) {
            (None, None) => {}
            (Some(_), None) => message.peers_removed.push(node),
            (None, Some(after)) => {
                message.peers_changed.push(seen_by(self.after, self.viewer, after).into_owned());
            }
            (Some(before), Some(after)) if Arc::ptr_eq(before, after) && self.is_policy_same() => {}
            (Some(before), Some(after)) => {
                let before = seen_by(self.before, self.viewer, before);
                let after = seen_by(self.after, self.viewer, after);
                match patch(&before, &after) {
                    Some(change) if change == unchanged(node) => {}
                    Some(change) => message.peers_changed_patch.push(change),
                    None => message.peers_changed.push(after.into_owned()),
                }
            }
        }
    }

    /// The same policy about the same nodes.
    fn is_policy_same(&self) -> bool {
        Arc::ptr_eq(&self.before.compiled, &self.after.compiled)
    }

    /// Profiles of owners the viewer has not heard of, and of known ones whose names changed.
    fn add_profiles(&self, is_whole: bool, message: &mut MapResponse, known: &mut BTreeSet<UserId>) {
        let owners = message.peers_changed.iter().chain(message.node.as_deref()).map(|node| node.user);
        let mut wanted: BTreeSet<UserId> = owners.filter(|user| !known.contains(user)).collect();
        if is_whole && !Arc::ptr_eq(&self.before.users, &self.after.users) {
            let is_renamed = |user: &UserId| self.before.user(*user) != self.after.user(*user);
            wanted.extend(known.iter().copied().filter(is_renamed));
        }
        known.extend(&wanted);
        message.user_profiles = profiles(self.after, wanted);
    }
}

/// What of a node decides whom it sees under one policy; users' names are the policy's matter.
type Sight<'a> = (bool, Option<UserId>, &'a [String], Ipv4Addr, Vec<IpNet>);

fn sight(snapshot: &Snapshot, viewer: NodeId) -> Option<Sight<'_>> {
    let record = snapshot.node(viewer)?;
    Some((record.expired, record.user, &record.tags, record.ipv4, record.routes()))
}

fn shown(snapshot: &Snapshot, viewer: NodeId, node: NodeId) -> Option<&Arc<NodeEntry>> {
    snapshot.entry(node).filter(|_| snapshot.shows(viewer, node))
}

/// A node does not need to be told what it told itself.
fn without_volatile(node: Node) -> Node {
    let told = Node { endpoints: Vec::new(), last_seen: None, online: None, ..node };
    Node { home_derp: 0, legacy_derp: String::new(), disco_key: DiscoPublic::default(), ..told }
}

fn unchanged(node: NodeId) -> PeerChange {
    PeerChange { node_id: node, ..PeerChange::default() }
}

/// The cheap form of a change, or `None` when it cannot carry all of it.
fn patch(before: &Node, after: &Node) -> Option<PeerChange> {
    let mut result = before.clone();
    let mut change = unchanged(after.id);
    if before.endpoints != after.endpoints {
        result.endpoints.clone_from(&after.endpoints);
        change.endpoints = Some(after.endpoints.clone());
    }
    if before.home_derp != after.home_derp && after.home_derp != 0 {
        result.home_derp = after.home_derp;
        result.legacy_derp.clone_from(&after.legacy_derp);
        change.derp_region = Some(after.home_derp);
    }
    if before.disco_key != after.disco_key && !after.disco_key.is_zero() {
        result.disco_key = after.disco_key;
        change.disco_key = Some(after.disco_key);
    }
    if before.online != after.online {
        result.online = after.online;
        result.last_seen = None;
        change.online = after.online;
    }
    if result.last_seen != after.last_seen && after.last_seen.is_some() {
        result.last_seen = after.last_seen;
        change.last_seen = after.last_seen;
    }
    (result == *after).then_some(change)
}
