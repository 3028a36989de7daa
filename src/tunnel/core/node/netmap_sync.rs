//! From netmap to tables: peers, routes and filter follow what the coordinator says.

use std::time::Instant;

use super::Node;
use crate::tunnel::core::drops::DropReason;
use crate::tunnel::core::peer::{Peer, PeerIndex};
use crate::tunnel::core::router::Router;
use crate::tunnel::core::wireguard::MIN_ROOM;
use crate::wire::control::{self, MapResponse, NodeId};

impl Node {
    pub(super) fn sync_net_map(&mut self, response: MapResponse, now: Instant) {
        let changes = self.net_map.apply(response);
        for id in &changes.peers {
            self.sync_peer(*id, now);
        }
        if changes.routes {
            self.rebuild_routes();
        }
        if changes.filter {
            self.filter.update(&self.net_map);
        }
    }

    /// A new node key is a new peer: session, path and waiting packets of the old one go.
    fn sync_peer(&mut self, id: NodeId, now: Instant) {
        let node = self.net_map.peer(id).filter(|node| is_reachable(node) && node.key != self.own_key);
        let index = self.peers.with_id(id);
        let has_same_key = index
            .and_then(|index| self.peers.get(index))
            .is_some_and(|peer| node.is_some_and(|node| node.key == peer.key));
        if !has_same_key && let Some(mut gone) = self.peers.remove(id) {
            let lost = gone.drop_waiting() as u64;
            self.drops.add(DropReason::HandshakeExpired, lost);
            tracing::debug!(peer = gone.name, "peer gone");
        }
        let Some(node) = node else { return };
        let index = match index.filter(|_| has_same_key) {
            Some(index) => index,
            None => self.peers.insert(id, Peer::new(node.key), &mut self.rng),
        };
        let is_reborn = self.peers.list_disco(index, node.disco_key, &self.disco_key);
        if let Some(peer) = self.peers.get_mut(index) {
            peer.update(node, now);
        }
        if is_reborn {
            self.renew_session(index, now);
        }
    }

    /// A new disco key means that the peer's process began anew, and so forgot the session. Waiting for WireGuard to notice
    /// would cost its 15 seconds.
    fn renew_session(&mut self, index: PeerIndex, now: Instant) {
        let Some(session) = self.peers.get_mut(index).and_then(Peer::session) else { return };
        let message = self.transmits.reserve(MIN_ROOM).and_then(|room| session.renew(room));
        if let Some(length) = message {
            self.dispatch(index, length, now);
        }
    }

    fn rebuild_routes(&mut self) {
        let mut router = Router::default();
        for node in self.net_map.peers() {
            let Some(index) = self.peers.with_id(node.id) else { continue };
            // An exit is a way for those who chose it. This node chooses none, so nobody may speak for all addresses.
            for prefix in node.allowed_ips.iter().filter(|prefix| prefix.prefix_len() > 0) {
                router.insert(*prefix, index);
            }
        }
        self.router = router;
    }
}

/// Nothing is sent to, or taken from, a node whose key has expired.
fn is_reachable(node: &control::Node) -> bool {
    !node.expired && !node.key.is_zero()
}
