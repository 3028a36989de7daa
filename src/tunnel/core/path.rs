//! Where one peer can be reached, and which of its addresses is best.
//!
//! Addresses come from the netmap, from the peer's call-me-maybe messages and from pings it sends. An address is used alone
//! only while a pong on it is fresh; without such proof packets go by the relay too, and discovery runs. Pure: the caller
//! encrypts and sends what is asked for. The rules and numbers are those of Tailscale's `magicsock`.

mod candidate;
mod score;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::base::rng::SeededRng;
use crate::wire::disco::TxId;
use candidate::Candidate;
pub use candidate::is_usable;
use score::is_better;

/// While a session is active, its best address is pinged this often.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// How long one pong proves a path: two heartbeats and a bit.
pub const TRUST_DURATION: Duration = Duration::from_millis(6500);
/// How long packets go both ways after trust ended: a ping sent since then would have been answered.
const SILENCE_LIMIT: Duration = PING_TIMEOUT;
/// A session without outgoing packets for this long is idle: no more heartbeats.
pub const SESSION_ACTIVE_TIMEOUT: Duration = Duration::from_secs(45);
/// A ping without pong is forgotten after this.
pub const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Least time between two discovery pings to one address, and between two call-me-maybe messages.
pub const DISCOVERY_INTERVAL: Duration = Duration::from_secs(5);
/// A good path is measured against the others this often.
pub const UPGRADE_INTERVAL: Duration = Duration::from_mins(1);
/// ... unless it is as near as this.
pub const GOOD_ENOUGH_LATENCY: Duration = Duration::from_millis(5);
/// Call-me-maybe messages of one peer heeded: each makes us ping every address it lists.
const CALL_ME_MAYBE_INTERVAL: Duration = Duration::from_secs(1);

/// Addresses per peer from the netmap: a laptop with containers and VPNs lists about ten.
const MAX_LISTED: usize = 24;
/// Addresses per peer that its own messages taught us.
const MAX_LEARNT: usize = 16;
/// Pings of one peer that wait for their pong: every address twice.
const MAX_PENDING_PINGS: usize = 2 * (MAX_LISTED + MAX_LEARNT);

/// How one packet travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub direct: Option<SocketAddr>,
    /// By the relay, perhaps besides `direct`.
    pub relay: bool,
    /// [`Path::discover`] is due.
    pub discover: bool,
}

/// A ping to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PingRequest {
    pub to: SocketAddr,
    pub tx_id: TxId,
}

/// What discovery asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    pub pings: Vec<PingRequest>,
    /// Ask the peer, by the relay, to ping us.
    pub call_me_maybe: bool,
}

/// The state of the path as a person would name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathState {
    /// No packet was sent for a while.
    Idle,
    Direct,
    Relay,
}

#[derive(Debug, Default)]
pub struct Path {
    candidates: BTreeMap<SocketAddr, Candidate>,
    best: Option<Best>,
    pending: VecDeque<PendingPing>,
    has_relay: bool,
    last_sent: Option<Instant>,
    next_heartbeat: Option<Instant>,
    last_discovery: Option<Instant>,
    last_call_me_maybe: Option<Instant>,
    /// The peer's last call-me-maybe that was heeded.
    last_called: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Best {
    address: SocketAddr,
    latency: Duration,
    trusted_until: Instant,
}

#[derive(Debug, Clone, Copy)]
struct PendingPing {
    tx_id: TxId,
    to: SocketAddr,
    sent: Instant,
}

impl Path {
    /// Decides about one packet that is sent now.
    pub fn route(&mut self, now: Instant) -> Route {
        self.last_sent = Some(now);
        if self.next_heartbeat.is_none() {
            self.next_heartbeat = Some(now + HEARTBEAT_INTERVAL);
        }
        let direct = self.best.map(|best| best.address);
        if self.is_trusted(now) {
            return Route { direct, relay: false, discover: false };
        }
        let discover = self.last_discovery.is_none_or(|last| now >= last + DISCOVERY_INTERVAL);
        Route { direct, relay: self.has_relay, discover }
    }

    /// Pings every address that was not pinged lately, and asks the peer to do the same.
    pub fn discover(&mut self, now: Instant, rng: &mut SeededRng) -> Discovery {
        let pings = self.ping_candidates(now, rng);
        let asked = self.last_call_me_maybe.is_some_and(|last| now < last + DISCOVERY_INTERVAL);
        let call_me_maybe = self.has_relay && !asked;
        if call_me_maybe {
            self.last_call_me_maybe = Some(now);
        }
        Discovery { pings, call_me_maybe }
    }

    /// Pings every address that was not pinged lately.
    pub fn ping_candidates(&mut self, now: Instant, rng: &mut SeededRng) -> Vec<PingRequest> {
        self.last_discovery = Some(now);
        let due = self.candidates.iter().filter(|(_, candidate)| candidate.is_due(now));
        let due: Vec<_> = due.map(|(address, _)| *address).collect();
        due.into_iter().map(|to| self.ping(to, now, rng)).collect()
    }

    /// The addresses that the netmap lists for the peer, and whether it has a home relay.
    pub fn update_listed(&mut self, endpoints: &[SocketAddr], has_home_relay: bool, now: Instant) {
        self.has_relay |= has_home_relay;
        for candidate in self.candidates.values_mut() {
            candidate.is_listed = false;
        }
        for endpoint in endpoints.iter().filter(|endpoint| is_usable(**endpoint)).take(MAX_LISTED) {
            self.candidates.entry(*endpoint).or_default().is_listed = true;
        }
        self.forget_unheard(now);
        self.trim_learnt(MAX_LEARNT);
    }

    /// The peer has a new disco key: it began anew, and so do we, with the addresses of the netmap.
    pub fn reset(&mut self) {
        let listed = self.candidates.iter().filter(|(_, candidate)| candidate.is_listed);
        let candidates =
            listed.map(|(address, _)| (*address, Candidate { is_listed: true, ..Candidate::default() }));
        *self = Self { candidates: candidates.collect(), has_relay: self.has_relay, ..Self::default() };
    }

    /// Something of the peer came by the relay: it can be reached there.
    pub fn handle_relay(&mut self) {
        self.has_relay = true;
    }

    /// The peer pinged from `source`: a new candidate. True when that address should be pinged in turn.
    pub fn handle_ping(&mut self, source: SocketAddr, now: Instant) -> bool {
        if !is_usable(source) {
            return false;
        }
        self.learn(source, now);
        !self.is_trusted(now) && self.candidates.get(&source).is_some_and(|candidate| candidate.is_due(now))
    }

    /// The peer asks to be reached at `endpoints`: all addresses may be pinged at once. False when it asks too often.
    pub fn handle_call_me_maybe(&mut self, endpoints: &[SocketAddr], now: Instant) -> bool {
        if self.last_called.is_some_and(|last| now < last + CALL_ME_MAYBE_INTERVAL) {
            return false;
        }
        self.last_called = Some(now);
        for endpoint in endpoints.iter().filter(|endpoint| is_usable(**endpoint)).take(MAX_LEARNT) {
            self.learn(*endpoint, now);
        }
        for candidate in self.candidates.values_mut() {
            candidate.last_ping = None;
        }
        true
    }

    /// One ping to `to`, outside of discovery.
    pub fn ping(&mut self, to: SocketAddr, now: Instant, rng: &mut SeededRng) -> PingRequest {
        let tx_id = TxId(rng.bytes());
        if let Some(candidate) = self.candidates.get_mut(&to) {
            candidate.last_ping = Some(now);
        }
        if self.pending.len() == MAX_PENDING_PINGS {
            self.pending.pop_front();
        }
        self.pending.push_back(PendingPing { tx_id, to, sent: now });
        PingRequest { to, tx_id }
    }

    /// Takes a pong; the round-trip time, or `None` when no ping to that address asked for it.
    pub fn handle_pong(&mut self, tx_id: TxId, source: SocketAddr, now: Instant) -> Option<Duration> {
        let position = self.pending.iter().position(|ping| ping.tx_id == tx_id && ping.to == source)?;
        let latency = now.saturating_duration_since(self.pending.remove(position)?.sent);
        let candidate = self.candidates.get_mut(&source)?;
        candidate.last_heard = Some(now);
        let proven = Best { address: source, latency, trusted_until: now + TRUST_DURATION };
        let takes_over = match &self.best {
            None => true,
            Some(best) if best.address == source => true,
            Some(best) => {
                now >= best.trusted_until || is_better((source, latency), (best.address, best.latency))
            }
        };
        if takes_over {
            self.best = Some(proven);
        }
        Some(latency)
    }

    /// The kernel cannot send to `address`: no pong will come from there before something changes.
    pub fn handle_unreachable(&mut self, address: SocketAddr, now: Instant) {
        if let Some(best) = self.best.as_mut().filter(|best| best.address == address) {
            best.trusted_until = best.trusted_until.min(now);
        }
    }

    /// Heartbeats and expiry; what is to be sent.
    pub fn handle_timeout(&mut self, now: Instant, rng: &mut SeededRng) -> Discovery {
        self.pending.retain(|ping| now < ping.sent + PING_TIMEOUT);
        if self.next_heartbeat.is_none_or(|due| now < due) {
            return Discovery::default();
        }
        self.forget_unheard(now);
        if !self.is_active(now) {
            self.next_heartbeat = None;
            return Discovery::default();
        }
        self.abandon_silent_best(now);
        self.next_heartbeat = Some(now + HEARTBEAT_INTERVAL);
        let heartbeat = self.best.map(|best| self.ping(best.address, now, rng));
        let mut discovery =
            if self.wants_discovery(now) { self.discover(now, rng) } else { Discovery::default() };
        discovery.pings.extend(heartbeat);
        discovery
    }

    /// When [`Path::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_heartbeat
    }

    #[must_use]
    pub fn state(&self, now: Instant) -> PathState {
        if !self.is_active(now) {
            PathState::Idle
        } else if self.is_trusted(now) {
            PathState::Direct
        } else {
            PathState::Relay
        }
    }

    fn is_trusted(&self, now: Instant) -> bool {
        self.best.is_some_and(|best| now < best.trusted_until)
    }

    fn is_active(&self, now: Instant) -> bool {
        self.last_sent.is_some_and(|last| now < last + SESSION_ACTIVE_TIMEOUT)
    }

    /// Stops sending to a best address that has stopped answering: until then each packet goes there and by the relay.
    fn abandon_silent_best(&mut self, now: Instant) {
        let is_silent = |best: &Best| now >= best.trusted_until + SILENCE_LIMIT;
        if self.has_relay && self.best.as_ref().is_some_and(is_silent) {
            self.best = None;
        }
    }

    fn wants_discovery(&self, now: Instant) -> bool {
        match self.best {
            Some(best) if now < best.trusted_until => {
                best.latency > GOOD_ENOUGH_LATENCY
                    && self.last_discovery.is_none_or(|last| now >= last + UPGRADE_INTERVAL)
            }
            _ => true,
        }
    }

    fn learn(&mut self, address: SocketAddr, now: Instant) {
        if !self.candidates.contains_key(&address) {
            self.trim_learnt(MAX_LEARNT - 1);
        }
        self.candidates.entry(address).or_default().last_heard = Some(now);
    }

    /// Forgets learnt addresses beyond `limit`, those not heard of for longest first; never the best one.
    fn trim_learnt(&mut self, limit: usize) {
        let best = self.best.map(|best| best.address);
        let learnt = self.candidates.iter().filter(|(_, candidate)| !candidate.is_listed);
        let mut oldest: Vec<_> =
            learnt.map(|(address, candidate)| (candidate.last_heard, *address)).collect();
        let excess = oldest.len().saturating_sub(limit);
        oldest.sort_unstable();
        for (_, address) in oldest.into_iter().filter(|(_, address)| Some(*address) != best).take(excess) {
            self.candidates.remove(&address);
        }
    }

    fn forget_unheard(&mut self, now: Instant) {
        self.candidates.retain(|_, candidate| candidate.is_listed || candidate.was_heard(now));
        if self.best.is_some_and(|best| !self.candidates.contains_key(&best.address)) {
            self.best = None;
        }
    }
}

#[cfg(test)]
mod tests;
