//! One peer: its keys, session, path, waiting packets and counters; and the table that finds peers by each of their names.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::path::{Path, PathState};
use super::wireguard::{Identity, Session};
use crate::base::rng::SeededRng;
use crate::wire::control::{Node, NodeId};
use crate::wire::disco::DiscoBox;
use crate::wire::key::{DiscoPrivate, DiscoPublic, NodePublic};

/// Packets per peer that wait for a handshake: one round trip of a page load or a game's first second; at most 160 KiB.
pub const MAX_WAITING_PACKETS: usize = 128;

/// Number of a peer inside this process, 24 bits, random: WireGuard messages carry it, and so name their session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerIndex(pub u32);

/// A handshake that packets wait for is begun again this often, before WireGuard's own five seconds are over: what began it
/// is lost when the peer's way to the relay is just being made, after it joined or after we started.
const REPEAT_INTERVAL: Duration = Duration::from_secs(1);
/// ... until WireGuard's own repetition takes over.
const MAX_REPEATS: u8 = 4;

impl PeerIndex {
    const BITS: u32 = 24;

    fn random(rng: &mut SeededRng) -> Self {
        Self(u32::from_le_bytes(rng.bytes()) >> (u32::BITS - Self::BITS))
    }
}

pub struct Peer {
    pub key: NodePublic,
    /// First label of its DNS name.
    pub name: String,
    pub path: Path,
    pub counters: Counters,
    pub last_handshake: Option<Instant>,
    session: Option<Session>,
    waiting: VecDeque<Vec<u8>>,
    repeat: Option<Repeat>,
    disco: Option<Disco>,
    /// The disco key the netmap listed last; the peer itself may have told a newer one.
    listed_disco: DiscoPublic,
}

#[derive(Debug, Clone, Copy)]
struct Repeat {
    due: Instant,
    left: u8,
}

struct Disco {
    key: DiscoPublic,
    sealer: DiscoBox,
}

/// Since the peer came, in bytes of UDP or relay payload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub sent_direct: u64,
    pub sent_relay: u64,
    pub received_direct: u64,
    pub received_relay: u64,
    pub handshakes: u64,
}

/// A peer as the metrics show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerReport {
    pub name: String,
    pub counters: Counters,
    pub last_handshake: Option<Instant>,
    pub path: PathState,
}

impl Peer {
    #[must_use]
    pub fn new(key: NodePublic) -> Self {
        Self {
            key,
            name: String::new(),
            path: Path::default(),
            counters: Counters::default(),
            last_handshake: None,
            session: None,
            waiting: VecDeque::new(),
            repeat: None,
            disco: None,
            listed_disco: DiscoPublic::default(),
        }
    }

    /// Takes over what the netmap says, keys aside.
    pub fn update(&mut self, node: &Node, now: Instant) {
        let label = node.name.split('.').next().unwrap_or_default();
        label.clone_into(&mut self.name);
        // The only relay is our own. Just after a start no peer has told its home again, but many are back at the relay.
        let has_home_relay = true;
        self.path.update_listed(&node.endpoints, has_home_relay, now);
    }

    pub fn session(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }

    /// The session, made on first use.
    pub fn open_session(&mut self, identity: &Identity, index: PeerIndex) -> &mut Session {
        self.session.get_or_insert_with(|| Session::new(identity, &self.key, index))
    }

    /// Keeps a packet until there is a session. True when the oldest had to go for it.
    pub fn wait(&mut self, packet: &[u8]) -> bool {
        let is_full = self.waiting.len() == MAX_WAITING_PACKETS;
        if is_full {
            self.waiting.pop_front();
        }
        self.waiting.push_back(packet.to_vec());
        is_full
    }

    /// A handshake was begun for waiting packets.
    pub fn begin_handshake(&mut self, now: Instant) {
        self.repeat = Some(Repeat { due: now + REPEAT_INTERVAL, left: MAX_REPEATS });
    }

    /// Whether the handshake that packets wait for is to be begun once more now; counts as done.
    pub fn take_repeat(&mut self, now: Instant) -> bool {
        let pending = self.repeat.take().filter(|repeat| repeat.left > 0 && !self.waiting.is_empty());
        let Some(repeat) = pending else { return false };
        let is_due = now >= repeat.due;
        self.repeat =
            Some(if is_due { Repeat { due: now + REPEAT_INTERVAL, left: repeat.left - 1 } } else { repeat });
        is_due
    }

    pub fn next_waiting(&mut self) -> Option<Vec<u8>> {
        self.waiting.pop_front()
    }

    /// Forgets the waiting packets; how many they were.
    pub fn drop_waiting(&mut self) -> usize {
        let count = self.waiting.len();
        self.waiting.clear();
        count
    }

    /// Makes disco packets to this peer and opens its own; `None` while it has no usable disco key.
    #[must_use]
    pub fn disco_box(&self) -> Option<&DiscoBox> {
        self.disco.as_ref().map(|disco| &disco.sealer)
    }

    /// Whether something will have to be done for this peer without a packet asking for it.
    #[must_use]
    pub fn has_timers(&self) -> bool {
        self.path.poll_timeout().is_some() || self.session.as_ref().is_some_and(Session::has_timers)
    }

    #[must_use]
    pub fn report(&self, now: Instant) -> PeerReport {
        PeerReport {
            name: self.name.clone(),
            counters: self.counters,
            last_handshake: self.last_handshake,
            path: self.path.state(now),
        }
    }

    fn disco_key(&self) -> Option<DiscoPublic> {
        self.disco.as_ref().map(|disco| disco.key)
    }
}

/// Where a message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Udp(SocketAddr),
    /// The relay, which vouches for the sender's key.
    Relay(NodePublic),
}

/// The peers, and the names by which messages and the netmap call them.
#[derive(Default)]
pub struct PeerTable {
    peers: BTreeMap<PeerIndex, Peer>,
    by_id: BTreeMap<NodeId, PeerIndex>,
    by_key: BTreeMap<NodePublic, PeerIndex>,
    /// Several nodes may share one disco key: two profiles of one client.
    by_disco: BTreeMap<DiscoPublic, Vec<PeerIndex>>,
}

impl PeerTable {
    #[must_use]
    pub fn get(&self, index: PeerIndex) -> Option<&Peer> {
        self.peers.get(&index)
    }

    pub fn get_mut(&mut self, index: PeerIndex) -> Option<&mut Peer> {
        self.peers.get_mut(&index)
    }

    pub fn iter(&self) -> impl Iterator<Item = (PeerIndex, &Peer)> {
        self.peers.iter().map(|(index, peer)| (*index, peer))
    }

    pub fn for_each(&mut self, change: impl FnMut(&mut Peer)) {
        self.peers.values_mut().for_each(change);
    }

    #[must_use]
    pub fn with_id(&self, id: NodeId) -> Option<PeerIndex> {
        self.by_id.get(&id).copied()
    }

    #[must_use]
    pub fn with_key(&self, key: &NodePublic) -> Option<PeerIndex> {
        self.by_key.get(key).copied()
    }

    #[must_use]
    pub fn with_disco(&self, key: &DiscoPublic) -> &[PeerIndex] {
        self.by_disco.get(key).map_or(&[], Vec::as_slice)
    }

    /// Adds a peer under a fresh random index. A peer that had the same key under another id is gone.
    pub fn insert(&mut self, id: NodeId, peer: Peer, rng: &mut SeededRng) -> PeerIndex {
        if let Some(other) = self.id_of(&peer.key) {
            self.remove(other);
        }
        let mut index = PeerIndex::random(rng);
        while self.peers.contains_key(&index) {
            index = PeerIndex::random(rng);
        }
        self.by_id.insert(id, index);
        self.by_key.insert(peer.key, index);
        self.peers.insert(index, peer);
        index
    }

    pub fn remove(&mut self, id: NodeId) -> Option<Peer> {
        let index = self.by_id.remove(&id)?;
        self.forget_disco(index);
        let peer = self.peers.remove(&index)?;
        self.by_key.remove(&peer.key);
        Some(peer)
    }

    /// The disco key as the netmap lists it; ignored when the netmap only repeats itself. True when the peer has a new one.
    pub fn list_disco(&mut self, index: PeerIndex, key: DiscoPublic, own: &DiscoPrivate) -> bool {
        let Some(peer) = self.peers.get_mut(&index) else { return false };
        if peer.listed_disco == key {
            return false;
        }
        peer.listed_disco = key;
        self.set_disco(index, key, own)
    }

    /// Gives a peer a disco key. A new one resets its path: the peer began anew.
    pub fn set_disco(&mut self, index: PeerIndex, key: DiscoPublic, own: &DiscoPrivate) -> bool {
        let Some(peer) = self.peers.get(&index) else { return false };
        if peer.disco_key() == Some(key) {
            return false;
        }
        self.forget_disco(index);
        let sealer = DiscoBox::new(own, &key);
        if sealer.is_some() {
            self.by_disco.entry(key).or_default().push(index);
        }
        if let Some(peer) = self.peers.get_mut(&index) {
            peer.disco = sealer.map(|sealer| Disco { key, sealer });
            peer.path.reset();
        }
        true
    }

    fn forget_disco(&mut self, index: PeerIndex) {
        let Some(key) = self.peers.get(&index).and_then(Peer::disco_key) else { return };
        if let Some(sharers) = self.by_disco.get_mut(&key) {
            sharers.retain(|sharer| *sharer != index);
            if sharers.is_empty() {
                self.by_disco.remove(&key);
            }
        }
    }

    fn id_of(&self, key: &NodePublic) -> Option<NodeId> {
        let index = self.with_key(key)?;
        self.by_id.iter().find(|(_, other)| **other == index).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_found_by_each_name_until_it_goes() {
        let mut rng = SeededRng::new([1; 32]);
        let own = DiscoPrivate::generate(&mut rng);
        let disco = DiscoPrivate::generate(&mut rng).public();
        let keys = [1, 2].map(|byte| NodePublic::from_bytes([byte; 32]));
        let mut table = PeerTable::default();
        let indices =
            [(0, keys[0]), (1, keys[1])].map(|(id, key)| table.insert(NodeId(id), Peer::new(key), &mut rng));
        for index in indices {
            table.list_disco(index, disco, &own);
            assert!(index.0 < 1 << PeerIndex::BITS);
        }
        assert_eq!(table.with_key(&keys[1]), Some(indices[1]));
        assert_eq!(table.with_disco(&disco), indices);
        table.remove(NodeId(0));
        assert_eq!(table.with_disco(&disco), &indices[1..]);
        table.remove(NodeId(1));
        assert!(table.by_disco.is_empty() && table.by_key.is_empty() && table.peers.is_empty());
    }

    #[test]
    fn a_peer_that_has_not_told_its_home_is_looked_for_at_the_relay() {
        let mut peer = Peer::new(NodePublic::from_bytes([1; 32]));
        let now = Instant::now();
        peer.update(&Node::default(), now);
        assert!(peer.path.route(now).relay);
    }

    #[test]
    fn a_key_under_a_new_id_replaces_the_old_peer() {
        let mut rng = SeededRng::new([1; 32]);
        let key = NodePublic::from_bytes([1; 32]);
        let mut table = PeerTable::default();
        table.insert(NodeId(1), Peer::new(key), &mut rng);
        let index = table.insert(NodeId(2), Peer::new(key), &mut rng);
        assert_eq!((table.with_id(NodeId(1)), table.with_key(&key)), (None, Some(index)));
    }

    #[test]
    fn the_oldest_waiting_packet_goes_first() {
        let mut peer = Peer::new(NodePublic::default());
        let dropped = (0u8..).take(MAX_WAITING_PACKETS + 1).filter(|first| peer.wait(&[*first])).count();
        assert_eq!(dropped, 1);
        assert_eq!(peer.next_waiting(), Some(vec![1]));
        assert_eq!(peer.drop_waiting(), MAX_WAITING_PACKETS - 1);
    }
}
