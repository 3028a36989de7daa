//! Who is called what: names are free, set aside by the policy, or taken away when the policy gives them to somebody.

use std::sync::Arc;

use crate::wire::control::NodeId;

use super::change::Mutation;
use super::node_name;
use super::node_record::NodeRecord;
use super::policy::Policy;
use super::reservation::Reservations;
use super::tailnet::{GATEWAY_NODE, Tailnet};

impl Tailnet {
    /// Puts a new policy in force. The gateway takes the name it has there; whoever had that name gets another. Whoever has
    /// the address or name of a host without being that host's node moves, by mutations that are durable.
    #[must_use]
    pub fn decide_policy(&self, policy: Policy) -> Vec<Mutation> {
        let reservations = Reservations::of(&policy);
        let label = reservations.gateway_label();
        let mut mutations = vec![Mutation::Policy(Arc::new(policy))];
        if let Some(gateway) = self.view.node(GATEWAY_NODE).filter(|gateway| gateway.name != label) {
            let renamed = NodeRecord { name: label.to_owned(), ..gateway.clone() };
            let records = self.displaced_by(label, GATEWAY_NODE, &reservations).into_iter().chain([renamed]);
            mutations.extend(records.map(|record| Mutation::Observed(Box::new(record))));
        }
        let mut draft = self.clone();
        for mutation in &mutations {
            draft.apply(mutation);
        }
        mutations.extend(draft.decide_moves());
        mutations
    }

    /// A name for a node that calls itself `hostname`: nobody else's, and not set aside by the policy.
    pub(super) fn free_name(&self, hostname: &str, node: NodeId) -> String {
        self.free_name_under(hostname, node, &self.reservations)
    }

    /// The name of the node that is bound to `host`.
    pub(super) fn host_label(&self, host: &str) -> String {
        node_name::make_unique(&node_name::clean(host), &self.view.settings.base_domain, |_| false)
    }

    /// The node other than `heir` that must give `label` up, with its new name.
    pub(super) fn displaced_by(
        &self,
        label: &str,
        heir: NodeId,
        reservations: &Reservations,
    ) -> Option<NodeRecord> {
        let holder = self.names.get(label).filter(|holder| **holder != heir)?;
        let node = self.view.node(*holder)?;
        let name = self.free_name_under(&node.hostinfo.hostname, node.id, reservations);
        Some(NodeRecord { name, ..node.clone() })
    }

    fn free_name_under(&self, hostname: &str, node: NodeId, reservations: &Reservations) -> String {
        let is_taken = |label: &str| {
            self.names.get(label).is_some_and(|holder| *holder != node) || reservations.holds_label(label)
        };
        node_name::make_unique(&node_name::clean(hostname), &self.view.settings.base_domain, is_taken)
    }
}
