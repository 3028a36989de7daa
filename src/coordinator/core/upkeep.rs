//! What changes without a request: nodes come and go, keys end, the gateway moves.

use std::net::SocketAddr;

use crate::base::wall_time::WallTime;

use super::change::Mutation;
use super::node_record::NodeRecord;
use super::presence::PresenceEvent;
use super::tailnet::{GATEWAY_NODE, Tailnet};

impl Tailnet {
    /// What follows from a node's coming or going.
    #[must_use]
    pub fn decide_presence(&self, event: PresenceEvent, wall: WallTime) -> Option<Mutation> {
        let (node, online) = match event {
            PresenceEvent::Online(node) => (self.view.node(node)?, true),
            PresenceEvent::Offline(node) => (self.view.node(node)?, false),
            PresenceEvent::Abandoned(node) => {
                return self
                    .view
                    .node(node)
                    .filter(|node| node.ephemeral)
                    .map(|node| Mutation::NodeRemoved(node.id));
            }
        };
        if node.id == GATEWAY_NODE || node.online == online {
            return None;
        }
        let last_seen = if online { node.last_seen } else { wall.known().or(node.last_seen) };
        Some(Mutation::Observed(Box::new(NodeRecord { online, last_seen, ..node.clone() })))
    }

    /// Marks the nodes whose keys ended by now. The marks need not be stored: after a start they are found again.
    #[must_use]
    pub fn decide_ended_keys(&self, wall: WallTime) -> Vec<Mutation> {
        let Some(now) = wall.known() else { return Vec::new() };
        let ended = self.ended_by(now).filter_map(|node| self.view.node(node));
        ended.map(|node| Mutation::Observed(Box::new(NodeRecord { expired: true, ..node.clone() }))).collect()
    }

    /// Where the gateway's own node can be reached now.
    #[must_use]
    pub fn decide_gateway_endpoints(&self, endpoints: Vec<SocketAddr>) -> Option<Mutation> {
        let gateway = self.view.node(GATEWAY_NODE).filter(|gateway| gateway.endpoints != endpoints)?;
        Some(Mutation::Observed(Box::new(NodeRecord { endpoints, ..gateway.clone() })))
    }
}
