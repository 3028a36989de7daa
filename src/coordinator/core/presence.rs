//! Who is connected: sessions are counted, a node that left is announced late, an ephemeral one that stays away is removed.
//!
//! A client that redials opens its new session before its old one ends, or shortly after. So a node goes offline only when
//! no session was there for [`OFFLINE_GRACE`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::wire::control::NodeId;

/// How long a node without a session is still shown online: longer than a redial takes.
pub const OFFLINE_GRACE: Duration = Duration::from_secs(10);
/// How long an ephemeral node may stay away, as in Headscale.
pub const EPHEMERAL_GRACE: Duration = Duration::from_mins(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresenceEvent {
    Online(NodeId),
    Offline(NodeId),
    /// An ephemeral node stayed away for too long.
    Abandoned(NodeId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deadline {
    Offline,
    Abandoned,
}

/// Bounded by the number of nodes: each has one counter and at most one deadline of each kind.
#[derive(Debug, Default)]
pub struct Presence {
    sessions: BTreeMap<NodeId, usize>,
    shown_online: BTreeSet<NodeId>,
    deadlines: BTreeSet<(Instant, NodeId, Deadline)>,
    due: BTreeMap<(NodeId, Deadline), Instant>,
    events: Vec<PresenceEvent>,
}

impl Presence {
    pub fn handle_opened(&mut self, node: NodeId) {
        *self.sessions.entry(node).or_default() += 1;
        self.cancel(node, Deadline::Offline);
        self.cancel(node, Deadline::Abandoned);
        if self.shown_online.insert(node) {
            self.events.push(PresenceEvent::Online(node));
        }
    }

    pub fn handle_closed(&mut self, node: NodeId, now: Instant) {
        let Some(count) = self.sessions.get_mut(&node) else { return };
        *count -= 1;
        if *count == 0 {
            self.sessions.remove(&node);
            self.schedule(node, Deadline::Offline, now + OFFLINE_GRACE);
        }
    }

    /// An ephemeral node exists. Without a session its time away begins, unless it runs already.
    pub fn handle_ephemeral(&mut self, node: NodeId, now: Instant) {
        if !self.sessions.contains_key(&node) && !self.due.contains_key(&(node, Deadline::Abandoned)) {
            self.schedule(node, Deadline::Abandoned, now + EPHEMERAL_GRACE);
        }
    }

    /// The node is no more. Sessions that still end later are no matter.
    pub fn handle_removed(&mut self, node: NodeId) {
        self.sessions.remove(&node);
        self.shown_online.remove(&node);
        self.cancel(node, Deadline::Offline);
        self.cancel(node, Deadline::Abandoned);
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, node, deadline)) = self.deadlines.first().copied().filter(|(at, ..)| *at <= now) {
            self.deadlines.remove(&(at, node, deadline));
            self.due.remove(&(node, deadline));
            self.events.push(match deadline {
                Deadline::Offline => {
                    self.shown_online.remove(&node);
                    PresenceEvent::Offline(node)
                }
                Deadline::Abandoned => PresenceEvent::Abandoned(node),
            });
        }
    }

    /// When `handle_timeout` is next due: a node goes offline, or an ephemeral one is given up.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, ..)| *at)
    }

    /// What happened since the last call, in order.
    pub fn poll_events(&mut self) -> Vec<PresenceEvent> {
        std::mem::take(&mut self.events)
    }

    #[must_use]
    pub fn session_count(&self, node: NodeId) -> usize {
        self.sessions.get(&node).copied().unwrap_or(0)
    }

    fn schedule(&mut self, node: NodeId, deadline: Deadline, at: Instant) {
        self.cancel(node, deadline);
        self.deadlines.insert((at, node, deadline));
        self.due.insert((node, deadline), at);
    }

    fn cancel(&mut self, node: NodeId, deadline: Deadline) {
        if let Some(at) = self.due.remove(&(node, deadline)) {
            self.deadlines.remove(&(at, node, deadline));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PresenceEvent::{Abandoned, Offline, Online};

    const NODE: NodeId = NodeId(7);

    #[test]
    fn a_redial_within_the_grace_is_not_seen() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        presence.handle_opened(NODE);
        presence.handle_closed(NODE, start);
        presence.handle_opened(NODE);
        presence.handle_timeout(start + OFFLINE_GRACE * 2);
        assert_eq!(presence.poll_events(), [Online(NODE)]);
        assert_eq!(presence.poll_timeout(), None);
    }

    #[test]
    fn the_end_of_an_old_session_does_not_hide_a_newer_one() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        presence.handle_opened(NODE);
        presence.handle_opened(NODE);
        presence.handle_closed(NODE, start);
        assert_eq!(presence.poll_timeout(), None);
        presence.handle_closed(NODE, start);
        assert_eq!(presence.poll_timeout(), Some(start + OFFLINE_GRACE));
        presence.handle_timeout(start + OFFLINE_GRACE);
        assert_eq!(presence.poll_events(), [Online(NODE), Offline(NODE)]);
    }

    #[test]
    fn an_ephemeral_node_is_given_up_only_when_it_stays_away() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        presence.handle_ephemeral(NODE, start);
        presence.handle_opened(NODE);
        assert_eq!(presence.poll_timeout(), None, "a session stops the clock");
        presence.handle_closed(NODE, start);
        presence.handle_timeout(start + OFFLINE_GRACE);
        presence.handle_ephemeral(NODE, start);
        presence.handle_ephemeral(NODE, start + EPHEMERAL_GRACE / 2);
        presence.handle_timeout(start + EPHEMERAL_GRACE);
        assert_eq!(presence.poll_events(), [Online(NODE), Offline(NODE), Abandoned(NODE)]);
    }

    #[test]
    fn a_removed_node_has_no_deadlines_and_late_ends_are_no_matter() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        presence.handle_opened(NODE);
        presence.handle_removed(NODE);
        presence.handle_closed(NODE, start);
        assert_eq!((presence.poll_timeout(), presence.session_count(NODE)), (None, 0));
    }
}
