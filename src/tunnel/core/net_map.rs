//! The netmap: what the coordinator told this node, kept by applying full and delta messages in order.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::wire::control::{FilterRule, MapResponse, Node, NodeId, PeerChange};

/// Deletes the named filters of earlier messages when it is the name of one.
const ALL_FILTERS: &str = "*";

#[derive(Debug, Default)]
pub struct NetMap {
    own: Node,
    peers: BTreeMap<NodeId, Node>,
    filters: BTreeMap<String, Vec<FilterRule>>,
}

/// What one message changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Peers that are new, changed or gone.
    pub peers: BTreeSet<NodeId>,
    /// Some peer's addresses, routes or existence: the routing table is to be made anew.
    pub routes: bool,
    /// Rules, own addresses, or capabilities that rules may name: the packet filter is to be made anew.
    pub filter: bool,
}

impl NetMap {
    /// Applies one message. A non-empty `peers` is the complete list, and the other peer members then mean nothing.
    pub fn apply(&mut self, response: MapResponse) -> Changes {
        let mut changes = Changes::default();
        if let Some(own) = response.node {
            changes.filter = true;
            self.own = *own;
        }
        if response.peers.is_empty() {
            for id in response.peers_removed {
                self.remove(id, &mut changes);
            }
            for node in response.peers_changed {
                self.insert(node, &mut changes);
            }
            for patch in response.peers_changed_patch {
                self.patch(patch, &mut changes);
            }
        } else {
            self.replace(response.peers, &mut changes);
        }
        if let Some(filters) = response.packet_filters {
            changes.filter = true;
            self.apply_filters(filters);
        }
        changes
    }

    #[must_use]
    pub fn peer(&self, id: NodeId) -> Option<&Node> {
        self.peers.get(&id)
    }

    pub fn peers(&self) -> impl Iterator<Item = &Node> {
        self.peers.values()
    }

    /// Addresses of this node and the routes it serves.
    pub fn own_prefixes(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.own.addresses.iter().chain(&self.own.allowed_ips).copied()
    }

    /// The rules of all named filters, in the order of their names.
    pub fn filter_rules(&self) -> impl Iterator<Item = &FilterRule> {
        self.filters.values().flatten()
    }

    /// Addresses of the peers that hold a node capability.
    pub fn holders<'a>(&'a self, capability: &'a str) -> impl Iterator<Item = IpAddr> + 'a {
        self.peers()
            .filter(move |node| node.cap_map.contains_key(capability))
            .flat_map(|node| node.addresses.iter().map(IpNet::addr))
    }

    fn replace(&mut self, peers: Vec<Node>, changes: &mut Changes) {
        let kept: BTreeSet<NodeId> = peers.iter().map(|node| node.id).collect();
        let gone: Vec<NodeId> = self.peers.keys().filter(|id| !kept.contains(id)).copied().collect();
        for id in gone {
            self.remove(id, changes);
        }
        for node in peers {
            self.insert(node, changes);
        }
    }

    fn remove(&mut self, id: NodeId, changes: &mut Changes) {
        if let Some(node) = self.peers.remove(&id) {
            changes.peers.insert(id);
            changes.routes = true;
            changes.filter |= !node.cap_map.is_empty();
        }
    }

    fn insert(&mut self, node: Node, changes: &mut Changes) {
        let id = node.id;
        let old = self.peers.insert(id, node);
        let (old, new) = (old.as_ref(), &self.peers[&id]);
        if old == Some(new) {
            return;
        }
        changes.peers.insert(id);
        changes.routes |= old.is_none_or(|old| {
            old.key != new.key || old.allowed_ips != new.allowed_ips || old.expired != new.expired
        });
        let no_caps = BTreeMap::new();
        changes.filter |= old.map_or(&no_caps, |old| &old.cap_map) != &new.cap_map;
    }

    fn patch(&mut self, patch: PeerChange, changes: &mut Changes) {
        let Some(old) = self.peers.get(&patch.node_id) else { return };
        let mut node = old.clone();
        apply_patch(&mut node, patch);
        self.insert(node, changes);
    }

    fn apply_filters(&mut self, mut filters: BTreeMap<String, Vec<FilterRule>>) {
        if filters.remove(ALL_FILTERS).is_some() {
            self.filters.clear();
        }
        self.filters.extend(filters);
    }
}

fn apply_patch(node: &mut Node, patch: PeerChange) {
    node.home_derp = patch.derp_region.unwrap_or(node.home_derp);
    node.cap = patch.cap.unwrap_or(node.cap);
    node.key = patch.key.unwrap_or(node.key);
    node.disco_key = patch.disco_key.unwrap_or(node.disco_key);
    if let Some(endpoints) = patch.endpoints {
        node.endpoints = endpoints;
    }
    node.online = patch.online.or(node.online);
    node.last_seen = patch.last_seen.or(node.last_seen);
    node.key_expiry = patch.key_expiry.or(node.key_expiry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::key::{DiscoPublic, NodePublic};

    fn node(id: i64, key: u8) -> Node {
        let address = format!("100.64.0.{id}/32").parse().expect("literal prefix");
        Node {
            id: NodeId(id),
            key: NodePublic::from_bytes([key; 32]),
            addresses: vec![address],
            allowed_ips: vec![address],
            ..Node::default()
        }
    }

    fn ids(net_map: &NetMap) -> Vec<i64> {
        net_map.peers().map(|node| node.id.0).collect()
    }

    fn full() -> NetMap {
        let mut net_map = NetMap::default();
        let peers = vec![node(2, 2), node(3, 3)];
        net_map.apply(MapResponse { peers, ..MapResponse::default() });
        net_map
    }

    #[test]
    fn a_full_list_replaces_and_an_absent_one_changes_nothing() {
        let mut net_map = full();
        let nothing = net_map.apply(MapResponse { keep_alive: true, ..MapResponse::default() });
        assert_eq!(nothing, Changes::default());
        let peers = vec![node(3, 3), node(4, 4)];
        let changes = net_map.apply(MapResponse { peers, ..MapResponse::default() });
        assert_eq!(ids(&net_map), [3, 4]);
        assert_eq!(changes.peers, BTreeSet::from([NodeId(2), NodeId(4)]), "3 is as it was");
        assert!(changes.routes);
    }

    #[test]
    fn deltas_remove_insert_and_patch_in_this_order() {
        let mut net_map = full();
        let patch = PeerChange {
            node_id: NodeId(4),
            disco_key: Some(DiscoPublic::from_bytes([9; 32])),
            endpoints: Some(vec!["192.0.2.1:1".parse().expect("literal")]),
            ..PeerChange::default()
        };
        let unknown = PeerChange { node_id: NodeId(99), ..PeerChange::default() };
        net_map.apply(MapResponse {
            peers_removed: vec![NodeId(2), NodeId(98)],
            peers_changed: vec![node(4, 4)],
            peers_changed_patch: vec![patch, unknown],
            ..MapResponse::default()
        });
        assert_eq!(ids(&net_map), [3, 4]);
        let patched = net_map.peer(NodeId(4)).expect("was inserted");
        assert_eq!(patched.disco_key, DiscoPublic::from_bytes([9; 32]));
        assert_eq!(patched.endpoints.len(), 1);
    }

    #[test]
    fn endpoints_alone_leave_routes_and_filter_as_they_are() {
        let mut net_map = full();
        let patch = PeerChange {
            node_id: NodeId(2),
            endpoints: Some(vec![]),
            derp_region: Some(999),
            ..PeerChange::default()
        };
        let changes =
            net_map.apply(MapResponse { peers_changed_patch: vec![patch], ..MapResponse::default() });
        assert_eq!(changes, Changes { peers: BTreeSet::from([NodeId(2)]), ..Changes::default() });
    }

    #[test]
    fn filters_are_replaced_by_name_and_cleared_by_a_star() {
        let mut net_map = NetMap::default();
        let mut apply = |names: &[&str]| {
            let filters = names.iter().map(|name| ((*name).to_owned(), vec![FilterRule::default()]));
            let packet_filters = Some(filters.collect());
            let changes = net_map.apply(MapResponse { packet_filters, ..MapResponse::default() });
            assert!(changes.filter);
            net_map.filter_rules().count()
        };
        assert_eq!(apply(&["base"]), 1);
        assert_eq!(apply(&["extra"]), 2);
        assert_eq!(apply(&["*", "base"]), 1);
    }
}
