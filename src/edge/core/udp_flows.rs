//! The table of UDP flows of one listener: which client is being carried, which has been silent too long, who has to go when
//! the table is full.
//!
//! A flow is refreshed from both sides. A full table lets go of the flow that has waited longest for its first answer (of
//! which a flood of forged sources makes many), then of one that has been silent for a while; never of one in use.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::base::ceilings::{Admissions, Ceilings, Denied};
use crate::base::slots::{SlotId, Slots};
use crate::base::source::Source;

/// Positions in the order of age are this coarse, so that a busy flow does not move with every datagram.
const REFRESH: Duration = Duration::from_secs(1);
/// An answered flow that has been silent for this long may be evicted: games and calls send many times a second.
const EVICTABLE_AFTER: Duration = Duration::from_secs(10);

/// Whose datagrams belong together: a client's address and the address of ours it speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    pub client: SocketAddr,
    pub local: IpAddr,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlowLimits {
    /// Flows at once.
    pub flows: Ceilings,
    /// A flow without a datagram in either direction for this long ends.
    pub idle: Duration,
}

/// What a client's datagram means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inbound {
    Known(SlotId),
    /// The first of a flow. Others may have had to go: see [`UdpFlows::poll_ended`].
    Begun(SlotId),
    Refused(Denied),
}

/// Why a flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowEnding {
    Idle,
    /// Another needed the place.
    Evicted,
    /// The owner said so.
    Removed,
}

#[derive(Debug)]
pub struct UdpFlows {
    limits: FlowLimits,
    admissions: Admissions,
    ids: HashMap<FlowKey, SlotId>,
    flows: Slots<Flow>,
    /// By age, those without an answer and those with one; a flow moves when it is looked at or `REFRESH` has passed.
    unanswered: BTreeSet<(Instant, SlotId)>,
    answered: BTreeSet<(Instant, SlotId)>,
    ended: VecDeque<(SlotId, FlowEnding)>,
}

#[derive(Debug)]
struct Flow {
    key: FlowKey,
    last: Instant,
    /// Where it stands in the order of age.
    position: Instant,
    answered: bool,
}

impl Default for FlowLimits {
    /// 1,024 flows are 1,024 sockets; all routes together share what descriptors there are (`layer4`). A household plays with a
    /// handful; 64 behind one address leave room for a browser of game servers. A minute is twice the usual interval of
    /// keep-alives.
    fn default() -> Self {
        Self { flows: Ceilings { total: 1024, per_source: 64 }, idle: Duration::from_mins(1) }
    }
}

impl UdpFlows {
    #[must_use]
    pub fn new(limits: FlowLimits) -> Self {
        Self {
            limits,
            admissions: Admissions::new(limits.flows),
            ids: HashMap::new(),
            flows: Slots::new(limits.flows.total),
            unanswered: BTreeSet::new(),
            answered: BTreeSet::new(),
            ended: VecDeque::new(),
        }
    }

    /// A datagram from a client.
    pub fn handle_inbound(&mut self, key: FlowKey, now: Instant) -> Inbound {
        if let Some(&id) = self.ids.get(&key) {
            self.touch(id, now, false);
            return Inbound::Known(id);
        }
        match self.admit(key, now) {
            Ok(id) => Inbound::Begun(id),
            Err(denied) => Inbound::Refused(denied),
        }
    }

    /// A datagram from the upstream of a flow; where it goes, or `None` when the flow is over.
    pub fn handle_reply(&mut self, id: SlotId, now: Instant) -> Option<FlowKey> {
        self.touch(id, now, true);
        self.flows.get(id).map(|flow| flow.key)
    }

    /// Another total, at most the one of the limits; flows beyond it end, those first that `evict` would choose first.
    pub fn set_total(&mut self, total: usize) {
        let total = total.min(self.limits.flows.total);
        self.admissions.set_ceilings(Ceilings { total, ..self.limits.flows });
        while self.len() > total {
            let Some(&(_, victim)) = self.unanswered.first().or_else(|| self.answered.first()) else {
                return;
            };
            self.end(victim, FlowEnding::Evicted);
        }
    }

    /// Ends a flow; unknown ones change nothing.
    pub fn remove(&mut self, id: SlotId) {
        self.end(id, FlowEnding::Removed);
    }

    /// The next flow that is over, each once; the owner closes its socket.
    pub fn poll_ended(&mut self) -> Option<(SlotId, FlowEnding)> {
        self.ended.pop_front()
    }

    /// When a flow may have been silent too long; there is no other deadline.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, FlowEnding)> {
        let oldest = [&self.unanswered, &self.answered].into_iter().filter_map(BTreeSet::first);
        let (at, _) = oldest.min()?;
        Some((at.checked_add(self.limits.idle)?, FlowEnding::Idle))
    }

    /// Ends what has been silent too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((deadline, _)) = self.poll_timeout()
            && deadline <= now
        {
            let oldest = [&self.unanswered, &self.answered].into_iter().filter_map(BTreeSet::first);
            let Some(&(_, id)) = oldest.min() else { return };
            let last = self.flows.get(id).map(|flow| flow.last);
            if last.and_then(|last| last.checked_add(self.limits.idle)).is_some_and(|end| end > now) {
                self.reposition(id);
            } else {
                self.end(id, FlowEnding::Idle);
            }
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn admit(&mut self, key: FlowKey, now: Instant) -> Result<SlotId, Denied> {
        let source = Source::of(key.client.ip());
        // First, so that a source at its own ceiling evicts nobody.
        self.admissions.check_source(source)?;
        if self.admissions.admit(source).is_err() {
            self.evict(now)?;
            self.admissions.admit(source)?;
        }
        let flow = Flow { key, last: now, position: now, answered: false };
        let Ok(id) = self.flows.insert(flow) else {
            self.admissions.release(source);
            return Err(Denied::Full);
        };
        self.ids.insert(key, id);
        self.unanswered.insert((now, id));
        Ok(id)
    }

    /// Makes room for one.
    fn evict(&mut self, now: Instant) -> Result<(), Denied> {
        let (_, victim) = match self.unanswered.first() {
            Some(&oldest) => oldest,
            None => self
                .oldest_answered()
                .filter(|(at, _)| now.saturating_duration_since(*at) >= EVICTABLE_AFTER)
                .ok_or(Denied::Full)?,
        };
        self.end(victim, FlowEnding::Evicted);
        Ok(())
    }

    /// Its position may be older than its last datagram, but by less than `REFRESH`.
    fn oldest_answered(&self) -> Option<(Instant, SlotId)> {
        let &(_, id) = self.answered.first()?;
        self.flows.get(id).map(|flow| (flow.last, id))
    }

    fn touch(&mut self, id: SlotId, now: Instant, answered: bool) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        flow.last = now;
        let promoted = answered && !flow.answered;
        if promoted {
            self.unanswered.remove(&(flow.position, id));
            self.answered.insert((flow.position, id));
            flow.answered = true;
        }
        if now.saturating_duration_since(flow.position) >= REFRESH {
            self.reposition(id);
        }
    }

    fn reposition(&mut self, id: SlotId) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        let order = if flow.answered { &mut self.answered } else { &mut self.unanswered };
        order.remove(&(flow.position, id));
        flow.position = flow.last;
        order.insert((flow.position, id));
    }

    fn end(&mut self, id: SlotId, ending: FlowEnding) {
        let Some(flow) = self.flows.remove(id) else { return };
        let order = if flow.answered { &mut self.answered } else { &mut self.unanswered };
        order.remove(&(flow.position, id));
        self.ids.remove(&flow.key);
        self.admissions.release(Source::of(flow.key.client.ip()));
        self.ended.push_back((id, ending));
    }
}

impl FlowEnding {
    /// As counters name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Evicted => "evicted",
            Self::Removed => "removed",
        }
    }
}

#[cfg(test)]
mod tests;
