//! The relay's state: who is connected, which packets wait for whom, who must hear that somebody left.
//!
//! A connection is opened, introduces itself by its node key, exchanges packets and closes. The shell feeds what it reads
//! into the `handle_*` functions, wakes the writers that [`Relay::poll_wake`] names, and each writer takes what is due for
//! its connection by [`Relay::poll_transmit`]. Nothing here grows beyond the constants of this module.

mod connection;
mod queue;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::base::source::Source;
use crate::wire::derp::PeerGoneReason;
use crate::wire::disco;
use crate::wire::key::NodePublic;
use connection::Connection;
use queue::Packet;

/// Open connections, of any state: several households of nodes, and their re-connections after a power cut.
pub const MAX_CONNECTIONS: usize = 1024;

/// Open connections of one source. A router that masks its whole LAN behind one address is one source.
pub const MAX_PER_SOURCE: usize = 128;

/// Connections that have not introduced themselves yet; each may hold one introduction of 256 KiB.
pub const MAX_STRANGERS: usize = 128;

/// Strangers of one source, so that one source cannot lock the others out.
pub const MAX_STRANGERS_PER_SOURCE: usize = 16;

/// Connections of one node key: the current one and what half-open TCP connections its roaming left behind.
pub const MAX_PER_KEY: usize = 4;

/// When strangers are too many, one who was given this long makes room for the next; a client needs one round trip.
pub const STRANGER_TIME: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

/// Why a connection is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error("the relay is at its limit of connections")]
    Total,
    #[error("the source is at its limit of connections")]
    Source,
    #[error("too many connections are still introducing themselves")]
    Strangers,
}

/// Why a packet went nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// Nobody with the destination's key is connected.
    NotHere,
    /// The receiver is slower than the sender; this many of its oldest packets made room.
    Overflow(usize),
    /// The sender has not introduced itself, or is being closed.
    NotIntroduced,
}

/// What a writer should write next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transmit {
    Packet {
        source: NodePublic,
        packet: Bytes,
    },
    PeerGone {
        peer: NodePublic,
        reason: PeerGoneReason,
    },
    Pong([u8; 8]),
    /// Nothing more: end the connection.
    Close,
}

#[derive(Debug, Default)]
pub struct Relay {
    connections: BTreeMap<ConnectionId, Connection>,
    /// The connections of a key, the most recently active last; never an empty list.
    by_key: BTreeMap<NodePublic, Vec<ConnectionId>>,
    /// Connections whose writer has something to do and was not told yet.
    wake: Vec<ConnectionId>,
    opened: u64,
}

impl Relay {
    /// A stranger arrived from `address`.
    pub fn handle_open(&mut self, address: IpAddr, now: Instant) -> Result<ConnectionId, Full> {
        let source = Source::of(address);
        let strangers = |limit_to: Option<Source>| {
            let of_source = |c: &&Connection| limit_to.is_none_or(|source| c.source == Some(source));
            self.connections.values().filter(|c| c.is_stranger()).filter(of_source).count()
        };
        let of_source = self.connections.values().filter(|c| c.source == Some(source)).count();
        if self.connections.len() >= MAX_CONNECTIONS {
            return Err(Full::Total);
        }
        if of_source >= MAX_PER_SOURCE || strangers(Some(source)) >= MAX_STRANGERS_PER_SOURCE {
            return Err(Full::Source);
        }
        if strangers(None) >= MAX_STRANGERS {
            let spent = self.spent_stranger(now).ok_or(Full::Strangers)?;
            self.expel(spent);
        }
        Ok(self.insert(Connection::stranger(source, now)))
    }

    /// A node of this process arrived: no limit applies, and nothing closes it but its own leaving.
    pub fn handle_attach(&mut self, key: NodePublic) -> ConnectionId {
        let id = self.insert(Connection::default());
        self.handle_introduction(id, key);
        id
    }

    /// The connection proved that it holds `key`. The least recently active connection of a key with too many is closed.
    pub fn handle_introduction(&mut self, id: ConnectionId, key: NodePublic) {
        let Some(connection) = self.connections.get_mut(&id).filter(|c| c.is_stranger()) else { return };
        connection.key = Some(key);
        let ids = self.by_key.entry(key).or_default();
        ids.push(id);
        if ids.len() > MAX_PER_KEY {
            let oldest = ids.iter().copied().find(|id| !Self::is_in_process(&self.connections, *id));
            if let Some(oldest) = oldest {
                self.expel(oldest);
            }
        }
    }

    /// The connection wrote a packet for `destination`. `Ok`: it waits in a queue.
    pub fn handle_packet(
        &mut self,
        id: ConnectionId,
        destination: NodePublic,
        packet: Bytes,
        now: Instant,
    ) -> Result<(), DropReason> {
        let source = self.handle_activity(id).ok_or(DropReason::NotIntroduced)?;
        let is_disco = disco::is_disco(&packet);
        let Some(receiver) = self.active(destination) else {
            if is_disco {
                self.report_absence(id, destination, now);
            }
            return Err(DropReason::NotHere);
        };
        if let Some(sender) = self.connections.get_mut(&id) {
            sender.remember(destination);
        }
        let connection = self.connections.get_mut(&receiver).ok_or(DropReason::NotHere)?;
        connection.remember(source);
        let displaced = connection.enqueue(Packet { source, packet }, is_disco);
        self.wake.extend(connection.wake(receiver));
        if displaced == 0 { Ok(()) } else { Err(DropReason::Overflow(displaced)) }
    }

    /// The connection wrote a ping; the answer to an older one that still waits is replaced.
    pub fn handle_ping(&mut self, id: ConnectionId, data: [u8; 8]) {
        self.handle_activity(id);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.pong = Some(data);
        self.wake.extend(connection.wake(id));
    }

    /// The connection wrote something: packets for its key go to it from now on. Its key, once introduced.
    pub fn handle_activity(&mut self, id: ConnectionId) -> Option<NodePublic> {
        let key = self.connections.get(&id)?.key?;
        let ids = self.by_key.get_mut(&key)?;
        if ids.last() != Some(&id) {
            let position = ids.iter().position(|other| *other == id)?;
            ids[position..].rotate_left(1);
        }
        Some(key)
    }

    /// The connection ended. Whoever exchanged packets with a node that has no other connection hears of it.
    pub fn handle_close(&mut self, id: ConnectionId) {
        let closed = self.connections.remove(&id);
        let Some(key) = closed.and_then(|connection| connection.key) else { return };
        self.forget_connection_of(key, id);
    }

    /// The node may no longer be here: its connections close.
    pub fn handle_departure(&mut self, key: NodePublic) {
        for id in self.by_key.get(&key).cloned().unwrap_or_default() {
            if !Self::is_in_process(&self.connections, id) {
                self.expel(id);
            }
        }
    }

    /// A connection whose writer should poll for transmits.
    pub fn poll_wake(&mut self) -> Option<ConnectionId> {
        self.wake.pop()
    }

    /// What the connection's writer should write next. `None`: nothing until the next wake.
    pub fn poll_transmit(&mut self, id: ConnectionId) -> Option<Transmit> {
        self.connections.get_mut(&id).map_or(Some(Transmit::Close), Connection::poll_transmit)
    }

    /// Whether the connection has ended or is to end.
    #[must_use]
    pub fn is_closing(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_none_or(|connection| connection.closing)
    }

    /// Connections of any state.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    fn spent_stranger(&self, now: Instant) -> Option<ConnectionId> {
        let (id, oldest) = self.connections.iter().find(|(_, connection)| connection.is_stranger())?;
        let is_spent = now.saturating_duration_since(oldest.since?) >= STRANGER_TIME;
        is_spent.then_some(*id)
    }

    fn insert(&mut self, connection: Connection) -> ConnectionId {
        let id = ConnectionId(self.opened);
        self.opened += 1;
        self.connections.insert(id, connection);
        id
    }

    fn active(&self, key: NodePublic) -> Option<ConnectionId> {
        self.by_key.get(&key)?.last().copied()
    }

    fn is_in_process(connections: &BTreeMap<ConnectionId, Connection>, id: ConnectionId) -> bool {
        connections.get(&id).is_some_and(|connection| connection.source.is_none())
    }

    /// Takes the connection out of the routing table at once; the writer ends it.
    fn expel(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.closing = true;
        self.wake.extend(connection.wake(id));
        if let Some(key) = connection.key {
            self.forget_connection_of(key, id);
        }
    }

    fn forget_connection_of(&mut self, key: NodePublic, id: ConnectionId) {
        let Some(ids) = self.by_key.get_mut(&key) else { return };
        ids.retain(|other| *other != id);
        if !ids.is_empty() {
            return;
        }
        self.by_key.remove(&key);
        for (id, connection) in &mut self.connections {
            if connection.forget(key) {
                connection.notify_gone(key, PeerGoneReason::Disconnected);
                self.wake.extend(connection.wake(*id));
            }
        }
    }

    fn report_absence(&mut self, id: ConnectionId, absent: NodePublic, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.may_report_absence(now) {
            connection.notify_gone(absent, PeerGoneReason::NotHere);
            self.wake.extend(connection.wake(id));
        }
    }
}

#[cfg(test)]
mod tests;
