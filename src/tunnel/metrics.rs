//! Counters of the tunnel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::core::drops::{DropReason, Drops};
use super::core::path::PathState;
use super::core::peer::{Counters, PeerReport};

/// The tunnel's metric families. Cheap to clone; all clones count into the same families.
#[derive(Debug, Clone, Default)]
pub struct TunnelMetrics {
    bytes: Family<BytesLabels, Counter>,
    handshakes: Family<PeerLabels, Counter>,
    handshake_age: Family<PeerLabels, Gauge>,
    path: Family<PathLabels, Gauge>,
    drops: Family<DropLabels, Counter>,
    peers: Gauge,
    seen: Arc<Mutex<Seen>>,
}

/// What was counted at the last update: counters of the core are totals, those of the registry take differences.
#[derive(Debug, Default)]
struct Seen {
    peers: BTreeMap<String, Counters>,
    drops: Drops,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabels {
    peer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BytesLabels {
    peer: String,
    /// `sent` or `received`.
    direction: &'static str,
    /// `direct` or `relay`.
    path: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PathLabels {
    peer: String,
    path: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DropLabels {
    reason: &'static str,
}

const PATH_STATES: [(PathState, &str); 3] =
    [(PathState::Idle, "idle"), (PathState::Direct, "direct"), (PathState::Relay, "relay")];

impl TunnelMetrics {
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "genkan_tunnel_bytes",
            "Bytes of WireGuard messages by peer, direction and path",
            metrics.bytes.clone(),
        );
        registry.register(
            "genkan_tunnel_handshakes",
            "Completed WireGuard handshakes by peer",
            metrics.handshakes.clone(),
        );
        registry.register(
            "genkan_tunnel_last_handshake_age_seconds",
            "Time since the last WireGuard handshake by peer",
            metrics.handshake_age.clone(),
        );
        registry.register(
            "genkan_tunnel_path",
            "1 for the path that a peer's packets take now",
            metrics.path.clone(),
        );
        registry.register("genkan_tunnel_drops", "Packets dropped by reason", metrics.drops.clone());
        registry.register("genkan_tunnel_peers", "Peers in the netmap", metrics.peers.clone());
        metrics
    }

    /// Brings the registry up to what the state machine counts.
    pub(super) fn update(&self, reports: impl Iterator<Item = PeerReport>, drops: &Drops, now: Instant) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut present = BTreeSet::new();
        for report in reports {
            let before = seen.peers.insert(report.name.clone(), report.counters).unwrap_or_default();
            self.update_peer(&report, &before, now);
            present.insert(report.name);
        }
        self.peers.set(i64::try_from(present.len()).unwrap_or(i64::MAX));
        seen.peers.retain(|peer, _| {
            let stays = present.contains(peer);
            if !stays {
                self.forget_peer(peer);
            }
            stays
        });
        for reason in DropReason::ALL {
            let new = drops.of(reason).saturating_sub(seen.drops.of(reason));
            self.drops.get_or_create(&DropLabels { reason: reason.label() }).inc_by(new);
        }
        seen.drops = drops.clone();
    }

    fn update_peer(&self, report: &PeerReport, before: &Counters, now: Instant) {
        let (peer, counters) = (&report.name, &report.counters);
        for (direction, path, total, old) in [
            ("sent", "direct", counters.sent_direct, before.sent_direct),
            ("sent", "relay", counters.sent_relay, before.sent_relay),
            ("received", "direct", counters.received_direct, before.received_direct),
            ("received", "relay", counters.received_relay, before.received_relay),
        ] {
            // A node that came back with a new key counts from zero again.
            let new = total.checked_sub(old).unwrap_or(total);
            self.bytes.get_or_create(&BytesLabels { peer: peer.clone(), direction, path }).inc_by(new);
        }
        let labels = PeerLabels { peer: peer.clone() };
        let handshakes = counters.handshakes.checked_sub(before.handshakes).unwrap_or(counters.handshakes);
        self.handshakes.get_or_create(&labels).inc_by(handshakes);
        if let Some(last) = report.last_handshake {
            let age = now.saturating_duration_since(last).as_secs();
            self.handshake_age.get_or_create(&labels).set(i64::try_from(age).unwrap_or(i64::MAX));
        }
        for (state, path) in PATH_STATES {
            let is_current = i64::from(report.path == state);
            self.path.get_or_create(&PathLabels { peer: peer.clone(), path }).set(is_current);
        }
    }

    fn forget_peer(&self, peer: &str) {
        let labels = PeerLabels { peer: peer.to_owned() };
        self.handshakes.remove(&labels);
        self.handshake_age.remove(&labels);
        for (_, path) in PATH_STATES {
            self.path.remove(&PathLabels { peer: peer.to_owned(), path });
        }
        for direction in ["sent", "received"] {
            for path in ["direct", "relay"] {
                self.bytes.remove(&BytesLabels { peer: peer.to_owned(), direction, path });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(sent_direct: u64) -> PeerReport {
        PeerReport {
            name: "machine-a".to_owned(),
            counters: Counters { sent_direct, handshakes: 1, ..Counters::default() },
            last_handshake: None,
            path: PathState::Direct,
        }
    }

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).expect("a string takes all");
        text
    }

    #[test]
    fn totals_become_counters_and_peers_that_go_take_their_series_along() {
        let mut registry = Registry::default();
        let metrics = TunnelMetrics::new(&mut registry);
        let mut drops = Drops::default();
        drops.count(DropReason::NoRoute);
        let now = Instant::now();
        for total in [100, 150, 30] {
            metrics.update([report(total)].into_iter(), &drops, now);
        }
        let shown = text(&registry);
        let bytes = r#"genkan_tunnel_bytes_total{peer="machine-a",direction="sent",path="direct"} 180"#;
        assert!(shown.contains(bytes), "{shown}");
        assert!(shown.contains(r#"genkan_tunnel_drops_total{reason="no_route"} 1"#), "{shown}");
        assert!(shown.contains(r#"genkan_tunnel_path{peer="machine-a",path="direct"} 1"#), "{shown}");
        metrics.update(std::iter::empty(), &drops, now);
        assert!(!text(&registry).contains("machine-a"));
    }
}
