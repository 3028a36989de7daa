//! The client of DHCP (RFC 2131, section 4.4) as a pure state machine: who asks for an address, keeps it, and never gives up.
//!
//! ```text
//!  link down ──link up──▶ Rebooting (a remembered lease) ──silence──▶ Selecting ──offer──▶ Requesting ──ack──▶ Bound
//!                         └─────────── ack ───────────────────────────────────────────────────────────────▶    │
//!  nak, or expiry ──▶ Selecting               Rebinding ◀──silence── Renewing ◀───────────── half the lease ───┘
//! ```

pub mod terms;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rand_core::RngCore;

use crate::base::rng::SeededRng;
use crate::wire::dhcp::{Hardware, Kind, MESSAGE_MAX, Message, Options, code};
use crate::wire::errand::{Lease, LeaseEnd, LeaseReport};

/// Between two messages that nobody answers: twice the last, from this on. RFC 2131 proposes 4 s and at most 64 s; a router
/// that has just started should not be waited for that long, and one frame in 16 s burdens nobody.
const PATIENCE_FIRST: Duration = Duration::from_secs(2);
const PATIENCE_MAX: Duration = Duration::from_secs(16);
/// Added to each wait at random, so that the machines of a house do not ask in step after a power cut.
const JITTER: Duration = Duration::from_secs(1);
/// Tries for the address of the last time, before any is taken: a server that does not know it may keep silent.
const REBOOT_TRIES: u32 = 2;
/// Requests for an offer, before another is looked for.
const REQUEST_TRIES: u32 = 4;
/// After a message that the interface did not take, as for a moment when it has just been switched on.
const UNSENT: Duration = Duration::from_millis(250);
/// Between two attempts to prolong a lease (RFC 2131, section 4.4.5).
const RENEWAL_MIN: Duration = Duration::from_mins(1);
/// How long a refused client holds back at most.
const REFUSED_MAX: Duration = Duration::from_secs(32);

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub hardware: Hardware,
    /// What the router may call the box; empty for none.
    pub host_name: String,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    pub message: Message,
    /// The client's own address when it has one.
    pub source: Ipv4Addr,
    pub destination: Destination,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    Everybody,
    /// The server, by way of whoever its last message came from.
    Server {
        address: Ipv4Addr,
        hardware: Hardware,
    },
}

/// What happens when the time comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Ask,
    Renew,
    Rebind,
    Expire,
}

/// A lease with the moments that follow from it; a lease without end has none.
#[derive(Debug, Clone)]
struct Held {
    lease: Lease,
    since: Instant,
    /// Where the server's acknowledgement came from.
    from: Hardware,
}

#[derive(Debug, Clone)]
enum State {
    /// Without a link.
    Waiting,
    /// For the address of the last time.
    Rebooting(Lease),
    Selecting,
    /// The offer that was taken.
    Requesting(Lease),
    Bound(Held),
    Renewing(Held),
    Rebinding(Held),
}

/// The client. Feed it messages and time; send what it wants sent.
#[derive(Debug)]
pub struct LeaseClient {
    client: Client,
    rng: SeededRng,
    state: State,
    /// The lease to ask for again after the link was away.
    remembered: Option<Lease>,
    transaction: u32,
    /// When this attempt began.
    began: Instant,
    /// Messages of this state so far.
    tries: u32,
    /// Refusals since the last lease.
    refusals: u32,
    /// When the next message is due.
    next: Instant,
    outgoing: Option<Transmit>,
    report: Option<LeaseReport>,
}

impl LeaseClient {
    /// A client that waits for its link; `remembered` is the lease of the last time.
    #[must_use]
    pub fn new(client: Client, remembered: Option<Lease>, rng: SeededRng, now: Instant) -> Self {
        Self {
            client,
            rng,
            state: State::Waiting,
            remembered,
            transaction: 0,
            began: now,
            tries: 0,
            refusals: 0,
            next: now,
            outgoing: None,
            report: None,
        }
    }

    /// The link came or went. Without it nothing is asked; a lease that is held is asked for again when it is back, for the
    /// cable may lead to another network.
    pub fn handle_link(&mut self, up: bool, now: Instant) {
        let is_waiting = matches!(self.state, State::Waiting);
        if up && is_waiting {
            self.begin(now);
        } else if !up && !is_waiting {
            self.outgoing = None;
            self.state = State::Waiting;
        }
    }

    /// A message arrived from `from`. Whatever is not an answer to the last question is passed over.
    pub fn handle_message(&mut self, message: &Message, from: Hardware, now: Instant) {
        let is_ours = message.is_reply
            && message.transaction == self.transaction
            && message.hardware == self.client.hardware;
        if !is_ours {
            return;
        }
        match message.kind {
            Kind::Offer => self.handle_offer(message, now),
            Kind::Ack => self.handle_ack(message, from, now),
            Kind::Nak => self.handle_nak(message, now),
            _ => {}
        }
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.poll_timeout() {
            Some((at, due)) if at <= now => self.act(due, now),
            _ => {}
        }
    }

    /// The next moment at which something is due, and what.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Due)> {
        match &self.state {
            State::Waiting => None,
            State::Rebooting(_) | State::Selecting | State::Requesting(_) => Some((self.next, Due::Ask)),
            State::Bound(held) => held.renewal().map(|at| (at, Due::Renew)),
            State::Renewing(held) => {
                held.rebinding().map(|at| earlier(self.next, Due::Renew, at, Due::Rebind))
            }
            State::Rebinding(held) => {
                held.expiry().map(|at| earlier(self.next, Due::Rebind, at, Due::Expire))
            }
        }
    }

    /// The message to send now.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outgoing.take()
    }

    /// The message that was just given could not be sent: it is made again in a moment, and does not count.
    pub fn handle_unsent(&mut self, now: Instant) {
        self.tries = self.tries.saturating_sub(1);
        self.next = now + UNSENT;
    }

    /// What became of the address.
    pub fn poll_report(&mut self) -> Option<LeaseReport> {
        self.report.take()
    }

    fn begin(&mut self, now: Instant) {
        let state = self.remembered.clone().map_or(State::Selecting, State::Rebooting);
        // A moment at random, so that a house does not ask in step; RFC 2131 proposes ten seconds, an owner less.
        let start = now + self.jitter(JITTER / 4);
        self.enter(state, start);
        self.began = now;
    }

    /// A new exchange of messages, which begins at `at`.
    fn enter(&mut self, state: State, at: Instant) {
        self.state = state;
        self.transaction = self.rng.next_u32();
        self.began = at;
        self.tries = 0;
        self.next = at;
    }

    fn handle_offer(&mut self, message: &Message, now: Instant) {
        let State::Selecting = self.state else { return };
        let Some(lease) = terms::read(message) else { return };
        self.state = State::Requesting(lease);
        self.tries = 0;
        self.ask(now);
    }

    fn handle_ack(&mut self, message: &Message, from: Hardware, now: Instant) {
        let is_awaited = match &self.state {
            State::Requesting(offer) => message.options.server == Some(offer.server),
            State::Rebooting(_) | State::Renewing(_) | State::Rebinding(_) => true,
            State::Waiting | State::Selecting | State::Bound(_) => false,
        };
        let Some(lease) = terms::read(message).filter(|_| is_awaited) else { return };
        self.refusals = 0;
        self.remembered = Some(lease.clone());
        self.report = Some(LeaseReport::Bound(lease.clone()));
        self.outgoing = None;
        self.state = State::Bound(Held { lease, since: now, from });
    }

    fn handle_nak(&mut self, message: &Message, now: Instant) {
        match &self.state {
            State::Requesting(offer) if message.options.server != Some(offer.server) => return,
            State::Waiting | State::Selecting | State::Bound(_) => return,
            // The address may be set on the interface from before the link was away.
            _ => self.report = Some(LeaseReport::Lost(LeaseEnd::Refused)),
        }
        self.remembered = None;
        let wait =
            if self.refusals == 0 { Duration::ZERO } else { Duration::from_secs(1 << self.refusals.min(5)) };
        self.refusals = self.refusals.saturating_add(1);
        self.outgoing = None;
        self.enter(State::Selecting, now + wait.min(REFUSED_MAX));
    }

    fn act(&mut self, due: Due, now: Instant) {
        match (due, self.state.clone()) {
            (Due::Ask, _) => self.ask(now),
            (Due::Renew, State::Bound(held)) => {
                self.enter(State::Renewing(held), now);
                self.prolong(now);
            }
            (Due::Rebind, State::Renewing(held)) => {
                self.enter(State::Rebinding(held), now);
                self.prolong(now);
            }
            (Due::Renew | Due::Rebind, _) => self.prolong(now),
            (Due::Expire, _) => {
                self.report = Some(LeaseReport::Lost(LeaseEnd::Expired));
                self.remembered = None;
                self.enter(State::Selecting, now);
                self.ask(now);
            }
        }
    }

    /// The next message on the way to an address, or the next state when this one has asked often enough.
    fn ask(&mut self, now: Instant) {
        let tries_max = match self.state {
            State::Rebooting(_) => REBOOT_TRIES,
            State::Requesting(_) => REQUEST_TRIES,
            _ => u32::MAX,
        };
        if self.tries >= tries_max {
            self.enter(State::Selecting, now);
        }
        let requested = match &self.state {
            State::Rebooting(lease) | State::Requesting(lease) => Some(lease.address.addr()),
            _ => None,
        };
        let server = if let State::Requesting(offer) = &self.state { Some(offer.server) } else { None };
        let kind = if requested.is_some() { Kind::Request } else { Kind::Discover };
        let options = Options { requested, server, ..self.wishes() };
        self.send(kind, Ipv4Addr::UNSPECIFIED, options, Destination::Everybody, now);
        let doubled = PATIENCE_FIRST.saturating_mul(1 << self.tries.min(8)).min(PATIENCE_MAX);
        self.tries = self.tries.saturating_add(1);
        self.next = now + doubled + self.jitter(JITTER);
    }

    /// Asks for more of the lease that is held: its server first, then anybody.
    fn prolong(&mut self, now: Instant) {
        let (held, destination, end) = match &self.state {
            State::Renewing(held) => {
                let to = Destination::Server { address: held.lease.server, hardware: held.from };
                (held, to, held.rebinding())
            }
            State::Rebinding(held) => (held, Destination::Everybody, held.expiry()),
            _ => return,
        };
        let address = held.lease.address.addr();
        self.send(Kind::Request, address, self.wishes(), destination, now);
        let left = end.map_or(Duration::ZERO, |end| end.saturating_duration_since(now));
        self.next = now + (left / 2).max(RENEWAL_MIN);
    }

    fn send(
        &mut self,
        kind: Kind,
        client: Ipv4Addr,
        options: Options,
        destination: Destination,
        now: Instant,
    ) {
        let waited = now.saturating_duration_since(self.began).as_secs();
        let message = Message {
            is_reply: false,
            kind,
            transaction: self.transaction,
            seconds: u16::try_from(waited).unwrap_or(u16::MAX),
            wants_broadcast: false,
            client,
            given: Ipv4Addr::UNSPECIFIED,
            hardware: self.client.hardware,
            options,
        };
        self.outgoing = Some(Transmit { message, source: client, destination });
    }

    fn wishes(&self) -> Options {
        let mut client_id = vec![1];
        client_id.extend(self.client.hardware);
        let host_name = (!self.client.host_name.is_empty()).then(|| self.client.host_name.clone());
        Options {
            client_id: Some(client_id),
            host_name,
            vendor_class: Some("genkan".into()),
            size_max: u16::try_from(MESSAGE_MAX).ok(),
            wanted: WANTED.to_vec(),
            ..Options::default()
        }
    }

    fn jitter(&mut self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX).max(1);
        Duration::from_nanos(self.rng.next_u64() % nanos)
    }
}

/// Routes before routers, as RFC 3442 asks.
const WANTED: [u8; 11] = [
    code::MASK,
    code::ROUTES,
    code::ROUTERS,
    code::DNS,
    code::DOMAIN,
    code::MTU,
    code::BROADCAST,
    code::TIME_SERVERS,
    code::LEASE,
    code::RENEWAL,
    code::REBINDING,
];

impl Held {
    fn renewal(&self) -> Option<Instant> {
        self.after(self.lease.renew_after)
    }

    fn rebinding(&self) -> Option<Instant> {
        self.after(self.lease.rebind_after)
    }

    fn expiry(&self) -> Option<Instant> {
        self.after(self.lease.seconds)
    }

    fn after(&self, seconds: u32) -> Option<Instant> {
        let is_endless = self.lease.seconds == terms::FOREVER;
        if is_endless { None } else { self.since.checked_add(Duration::from_secs(seconds.into())) }
    }
}

fn earlier(first: Instant, due: Due, second: Instant, then: Due) -> (Instant, Due) {
    if first < second { (first, due) } else { (second, then) }
}

#[cfg(test)]
mod tests;
