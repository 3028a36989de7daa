//! One connection: what waits for its writer, and with whom it exchanged packets.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::queue::{Packet, Queue};
use super::{ConnectionId, Transmit};
use crate::base::rate::{Rate, TokenBucket};
use crate::base::source::Source;
use crate::wire::derp::PeerGoneReason;
use crate::wire::key::NodePublic;

/// Peers remembered per connection, to be told when one leaves. A forgotten one costs the client a time-out.
const MAX_PEERS: usize = 512;

/// Notices that wait for a slow writer; the newest are the true ones.
const MAX_NOTICES: usize = 64;

/// Answers to packets for absent nodes, so that a client's path discovery cannot make the relay chatter.
const ABSENCE_RATE: Rate = Rate { interval: Duration::from_secs(1), burst: 3 };

#[derive(Debug, Default)]
pub struct Connection {
    /// Where it came from; `None` for a node of this process.
    pub source: Option<Source>,
    /// When it came; absent for a node of this process.
    pub since: Option<Instant>,
    /// Proven by its introduction.
    pub key: Option<NodePublic>,
    pub pong: Option<[u8; 8]>,
    pub closing: bool,
    notices: VecDeque<(NodePublic, PeerGoneReason)>,
    disco: Queue,
    data: Queue,
    peers: BTreeSet<NodePublic>,
    absence_reports: TokenBucket,
    /// The writer was told to poll and has not yet heard that nothing is left.
    awake: bool,
}

impl Connection {
    pub fn stranger(source: Source, now: Instant) -> Self {
        Self { source: Some(source), since: Some(now), ..Self::default() }
    }

    /// Has not introduced itself, and still may.
    pub fn is_stranger(&self) -> bool {
        self.key.is_none() && !self.closing
    }

    /// How many older packets made room.
    pub fn enqueue(&mut self, packet: Packet, is_disco: bool) -> usize {
        if is_disco { self.disco.push(packet) } else { self.data.push(packet) }
    }

    pub fn notify_gone(&mut self, peer: NodePublic, reason: PeerGoneReason) {
        if self.notices.len() >= MAX_NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back((peer, reason));
    }

    pub fn may_report_absence(&mut self, now: Instant) -> bool {
        self.absence_reports.take(ABSENCE_RATE, now)
    }

    /// Notes that packets were exchanged with `peer`.
    pub fn remember(&mut self, peer: NodePublic) {
        if self.peers.insert(peer) && self.peers.len() > MAX_PEERS {
            self.peers.pop_first();
        }
    }

    /// Whether packets had been exchanged with `peer`.
    pub fn forget(&mut self, peer: NodePublic) -> bool {
        self.peers.remove(&peer)
    }

    /// `id`, unless the writer is already polling.
    pub fn wake(&mut self, id: ConnectionId) -> Option<ConnectionId> {
        (!std::mem::replace(&mut self.awake, true)).then_some(id)
    }

    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let next = self.next_transmit();
        self.awake = next.is_some();
        next
    }

    fn next_transmit(&mut self) -> Option<Transmit> {
        if self.closing {
            return Some(Transmit::Close);
        }
        if let Some(data) = self.pong.take() {
            return Some(Transmit::Pong(data));
        }
        if let Some((peer, reason)) = self.notices.pop_front() {
            return Some(Transmit::PeerGone { peer, reason });
        }
        let Packet { source, packet } = self.disco.pop().or_else(|| self.data.pop())?;
        Some(Transmit::Packet { source, packet })
    }
}
