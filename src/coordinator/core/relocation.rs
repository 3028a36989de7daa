//! Who must move so that the policy's hosts have their addresses and names to themselves.
//!
//! An address carries the rights that the policy gives to its host. So when a policy sets aside what some node has already,
//! that node leaves, and the node bound to the host follows the host to its new address.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::wire::control::NodeId;

use super::change::{Issued, Mutation};
use super::node_record::{NodeOrigin, NodeRecord};
use super::tailnet::Tailnet;

impl Tailnet {
    /// The moves that make the reservations of the policy in force true; none when they are. They are durable: a node keeps
    /// the address it was given here.
    #[must_use]
    pub fn decide_moves(&self) -> Vec<Mutation> {
        let nodes = || self.view.entries().map(|entry| &entry.record).filter(|node| !is_gateway(node));
        let bearers = self.bearers(nodes().collect());
        let mut draft = self.clone();
        let mut mutations = Vec::new();
        for before in nodes() {
            let own = self.own_address(before).filter(|own| bearers.get(own) == Some(&before.id));
            let Some(after) = draft.relocated(before, own) else { continue };
            if own.is_none() && after.ipv4 != before.ipv4 {
                draft.apply(&Mutation::Issued(Issued { address: after.ipv4, ..draft.issued }));
            }
            let relocation = Mutation::Node(Box::new(after));
            draft.apply(&relocation);
            mutations.push(relocation);
        }
        mutations.extend((draft.issued != self.issued).then_some(Mutation::Issued(draft.issued)));
        mutations
    }

    /// Which node each reserved address belongs to: who has it already comes before who was bound to the host once.
    fn bearers(&self, mut nodes: Vec<&NodeRecord>) -> BTreeMap<Ipv4Addr, NodeId> {
        nodes.sort_by_key(|node| (self.own_address(node) != Some(node.ipv4), node.id));
        let mut bearers = BTreeMap::new();
        for node in nodes {
            self.own_address(node).map(|own| bearers.entry(own).or_insert(node.id));
        }
        bearers
    }

    /// The node as it must be, where that differs; `own` is the reserved address that is its to have.
    fn relocated(&self, before: &NodeRecord, own: Option<Ipv4Addr>) -> Option<NodeRecord> {
        let mut after = before.clone();
        match own {
            Some(own) => after.ipv4 = own,
            // A pool of four million without a free address leaves nothing to move to.
            None if self.reservations.holds_address(before.ipv4) => after.ipv4 = self.free_address().ok()?,
            None => {}
        }
        if self.reservations.holds_label(&before.name) && !self.is_own_label(before) {
            after.name = self.free_name(&before.hostinfo.hostname, before.id);
        }
        (after != *before).then_some(after)
    }

    /// What the policy sets aside for the host that the node is bound to.
    fn own_address(&self, node: &NodeRecord) -> Option<Ipv4Addr> {
        node.host.as_deref().and_then(|host| self.reservations.address(host))
    }

    fn is_own_label(&self, node: &NodeRecord) -> bool {
        let is_host = self.own_address(node).is_some();
        is_host && node.host.as_deref().is_some_and(|host| self.host_label(host) == node.name)
    }
}

fn is_gateway(node: &NodeRecord) -> bool {
    node.origin == NodeOrigin::Gateway
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::coordinator::core::auth_key::KeyId;
    use crate::coordinator::core::policy::Policy;
    use crate::coordinator::core::tailnet::GATEWAY_NODE;
    use crate::coordinator::core::test_support::{client, house_policy, settings};
    use crate::wire::control::Hostinfo;

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(100, 64, 0, last)
    }

    fn policy(hosts: &[(&str, u8)]) -> Policy {
        let host =
            |(name, last): &(&str, u8)| ((*name).to_owned(), ipnet::Ipv4Net::from(address(*last)).into());
        Policy { hosts: hosts.iter().map(host).collect(), ..Policy::default() }
    }

    /// A house in which node `id` has the address of that number and is called `name`, bound to a host or not.
    fn house(nodes: &[(u8, &str, Option<&str>)]) -> Tailnet {
        let mut tailnet = Tailnet::new(settings(), house_policy());
        for (id, name, host) in nodes {
            let record = NodeRecord {
                id: NodeId((*id).into()),
                machine: client(*id).machine,
                node_key: client(*id).node,
                name: (*name).to_owned(),
                host: host.map(str::to_owned),
                ipv4: address(*id),
                origin: NodeOrigin::AuthKey(KeyId(1)),
                hostinfo: Arc::new(Hostinfo { hostname: (*name).to_owned(), ..Hostinfo::default() }),
                ..tailnet.view().node(GATEWAY_NODE).expect("always there").clone()
            };
            tailnet.apply(&Mutation::Node(Box::new(record)));
        }
        tailnet.settle();
        tailnet
    }

    /// Puts `policy` in force; address and name of each node after that.
    fn adopt(tailnet: &mut Tailnet, policy: Policy) -> Vec<(Ipv4Addr, String)> {
        for mutation in tailnet.decide_policy(policy) {
            tailnet.apply(&mutation);
        }
        assert_eq!(tailnet.decide_moves(), [], "once is enough");
        let others = tailnet.view().entries().map(|entry| &entry.record).skip(1);
        others.map(|node| (node.ipv4, node.name.clone())).collect()
    }

    #[test]
    fn who_has_the_address_or_name_of_a_new_host_gives_it_up() {
        let mut tailnet = house(&[(7, "laptop", None), (8, "nas", None), (9, "phone", None)]);
        let moves = tailnet.decide_policy(policy(&[("nas", 7), ("tv", 2), ("radio", 3)]));
        assert!(moves.iter().filter(|one| matches!(one, Mutation::Node(_))).all(Mutation::is_durable));
        let found = adopt(&mut tailnet, policy(&[("nas", 7), ("tv", 2), ("radio", 3)]));
        let expected = [(address(4), "laptop"), (address(8), "nas-1"), (address(9), "phone")];
        assert_eq!(found, expected.map(|(address, name)| (address, name.to_owned())));
        assert_eq!(tailnet.issued.address, address(4), "the search goes on behind it");
    }

    #[test]
    fn the_nodes_of_hosts_follow_them_also_when_they_trade_places() {
        let nodes = [(2, "machine-a", Some("machine-a")), (3, "machine-b", Some("machine-b"))];
        let mut tailnet = house(&[nodes[0], nodes[1], (9, "phone", None)]);
        let found = adopt(&mut tailnet, policy(&[("machine-a", 3), ("machine-b", 2)]));
        assert_eq!((found[0].0, found[1].0), (address(3), address(2)));
        let found = adopt(&mut tailnet, policy(&[("machine-a", 9), ("machine-b", 2)]));
        let expected = [(address(9), "machine-a"), (address(2), "machine-b"), (address(3), "phone")];
        assert_eq!(found, expected.map(|(address, name)| (address, name.to_owned())));
    }

    #[test]
    fn the_node_of_a_host_that_is_no_more_is_like_any_other() {
        let mut tailnet = house(&[(2, "machine-a", Some("machine-a"))]);
        assert_eq!(adopt(&mut tailnet, policy(&[("tv", 5)])), [(address(2), "machine-a".to_owned())]);
        let found = adopt(&mut tailnet, policy(&[("tv", 2)]));
        assert!(found[0].0 != address(2), "{found:?}");
        assert_eq!(adopt(&mut tailnet, house_policy())[0].0, address(2), "and has it back with the host");
    }

    #[test]
    fn one_address_with_two_names_stays_with_whoever_has_it() {
        let nodes = [(2, "machine-a", Some("machine-a")), (3, "machine-b", Some("machine-b"))];
        let found = adopt(&mut house(&nodes), policy(&[("machine-a", 3), ("machine-b", 3)]));
        assert_eq!((found[0].0, found[1].0), (address(2), address(3)));
    }
}
