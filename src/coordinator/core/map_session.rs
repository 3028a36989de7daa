//! One long poll: what its viewer was told, what it must be told next, and when.
//!
//! The writer leaves a [`Batch`] for a viewer at each change that concerns it. A session waits a little for more of them,
//! then compares the view it told last with the newest one. However much happened, what is kept is one [`Scope`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::wall_time::WallTime;
use crate::wire::control::{MapResponse, NodeId, UserId};

use super::map_builder;
use super::map_delta::{Delta, Scope};
use super::relay_map::Origin;
use super::snapshot::Snapshot;

/// A quiet time after which changes are told.
pub const COALESCE_IDLE: Duration = Duration::from_millis(50);
/// Changes are told after this time even when more keep coming.
pub const COALESCE_MAX: Duration = Duration::from_millis(500);
/// Clients give up after 120 s of silence.
pub const KEEP_ALIVE: Duration = Duration::from_secs(50);
/// Spread over sessions, so that they do not all speak in the same second.
pub const KEEP_ALIVE_JITTER_MS: u32 = 9_000;
/// Nodes listed for one viewer before comparing everything is cheaper than a longer list.
pub const NOTED_MAX: usize = 256;

/// Changes that concern one viewer, and a view of the tailnet that holds them all.
#[derive(Debug, Clone)]
pub struct Batch {
    pub scope: Scope,
    pub snapshot: Arc<Snapshot>,
}

/// Why a session wants to be polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Greeting,
    Changes,
    KeepAlive,
}

#[derive(Debug)]
pub struct MapSession {
    viewer: NodeId,
    origin: Option<Origin>,
    /// What the viewer was told last.
    told: Arc<Snapshot>,
    known_users: BTreeSet<UserId>,
    pending: Option<Pending>,
    is_greeted: bool,
    keep_alive: Duration,
    keep_alive_at: Instant,
}

#[derive(Debug)]
struct Pending {
    batch: Batch,
    first: Instant,
    last: Instant,
}

impl Batch {
    #[must_use]
    pub fn new(scope: Scope, snapshot: &Arc<Snapshot>) -> Self {
        Self { scope, snapshot: Arc::clone(snapshot) }
    }

    /// Adds later changes. The list of nodes stays short: beyond [`NOTED_MAX`] it becomes everything.
    pub fn merge(&mut self, later: Self) {
        match (&mut self.scope, later.scope) {
            (Scope::Nodes(nodes), Scope::Nodes(more)) => nodes.extend(more),
            (scope, Scope::Everything) => *scope = Scope::Everything,
            (Scope::Everything, Scope::Nodes(_)) => {}
        }
        if matches!(&self.scope, Scope::Nodes(nodes) if nodes.len() > NOTED_MAX) {
            self.scope = Scope::Everything;
        }
        self.snapshot = later.snapshot;
    }
}

impl MapSession {
    /// `jitter` is a random number that spreads keep-alives.
    #[must_use]
    pub fn new(
        viewer: NodeId,
        origin: Option<Origin>,
        snapshot: Arc<Snapshot>,
        now: Instant,
        jitter: u32,
    ) -> Self {
        let keep_alive = KEEP_ALIVE + Duration::from_millis(u64::from(jitter % KEEP_ALIVE_JITTER_MS));
        Self {
            viewer,
            origin,
            told: snapshot,
            known_users: BTreeSet::new(),
            pending: None,
            is_greeted: false,
            keep_alive,
            keep_alive_at: now + keep_alive,
        }
    }

    #[must_use]
    pub fn viewer(&self) -> NodeId {
        self.viewer
    }

    pub fn handle_batch(&mut self, batch: Batch, now: Instant) {
        match &mut self.pending {
            Some(pending) => {
                pending.batch.merge(batch);
                pending.last = now;
            }
            None => self.pending = Some(Pending { batch, first: now, last: now }),
        }
    }

    /// Lets go of an old view while nothing is pending. `snapshot` must hold no change that concerns the viewer and of
    /// which it has no batch.
    pub fn handle_idle(&mut self, snapshot: Arc<Snapshot>) {
        if self.is_greeted && self.pending.is_none() {
            self.told = snapshot;
        }
    }

    /// When to poll next, and what for.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> (Instant, Reason) {
        if !self.is_greeted {
            return (now, Reason::Greeting);
        }
        let keep_alive = (self.keep_alive_at, Reason::KeepAlive);
        let changes = self.pending.as_ref().map(|pending| (pending.due(), Reason::Changes));
        changes.filter(|(due, _)| *due <= self.keep_alive_at).unwrap_or(keep_alive)
    }

    /// The next message, when one is due.
    pub fn poll_message(&mut self, now: Instant, wall: WallTime) -> Option<MapResponse> {
        let message = if !self.is_greeted {
            self.is_greeted = true;
            self.greet(wall)
        } else if let Some(pending) = self.pending.take_if(|pending| pending.due() <= now) {
            self.tell(pending.batch)
        } else {
            None
        };
        let message = message.or_else(|| (now >= self.keep_alive_at).then(keep_alive))?;
        self.keep_alive_at = now + self.keep_alive;
        Some(message)
    }

    fn greet(&mut self, wall: WallTime) -> Option<MapResponse> {
        if let Some(pending) = self.pending.take() {
            self.told = pending.batch.snapshot;
        }
        let message = map_builder::full(&self.told, self.viewer, self.origin, wall)?;
        self.known_users = message.user_profiles.iter().map(|profile| profile.id).collect();
        Some(message)
    }

    fn tell(&mut self, batch: Batch) -> Option<MapResponse> {
        let before = std::mem::replace(&mut self.told, batch.snapshot);
        let delta = Delta { viewer: self.viewer, origin: self.origin, before: &before, after: &self.told };
        delta.message(&batch.scope, &mut self.known_users)
    }
}

impl Pending {
    fn due(&self) -> Instant {
        (self.last + COALESCE_IDLE).min(self.first + COALESCE_MAX)
    }
}

/// Nothing else may be in this message: clients remember its bytes.
fn keep_alive() -> MapResponse {
    MapResponse { keep_alive: true, ..MapResponse::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::wall_time::UnixTime;
    use crate::coordinator::core::change::Mutation;
    use crate::coordinator::core::node_record::NodeRecord;
    use crate::coordinator::core::tailnet::{GATEWAY_NODE, Tailnet};
    use crate::coordinator::core::test_support::{house_policy, settings};

    fn greeted(now: Instant, jitter: u32) -> (Tailnet, MapSession) {
        let tailnet = Tailnet::new(settings(), house_policy());
        let view = Arc::new(tailnet.view().clone());
        let mut session = MapSession::new(GATEWAY_NODE, None, view, now, jitter);
        assert_eq!(session.poll_timeout(now), (now, Reason::Greeting));
        assert!(session.poll_message(now, WallTime::Unknown).is_some_and(|first| first.node.is_some()));
        (tailnet, session)
    }

    /// A change to the viewer itself: the next name.
    fn rename(tailnet: &mut Tailnet, name: &str) -> Batch {
        let gateway = tailnet.view().node(GATEWAY_NODE).expect("always").clone();
        tailnet.apply(&Mutation::Observed(Box::new(NodeRecord { name: name.into(), ..gateway })));
        tailnet.settle();
        Batch::new(Scope::Nodes([GATEWAY_NODE].into()), &Arc::new(tailnet.view().clone()))
    }

    #[test]
    fn changes_close_together_are_one_message() {
        let start = Instant::now();
        let (mut tailnet, mut session) = greeted(start, 0);
        session.handle_batch(rename(&mut tailnet, "a"), start);
        let later = start + COALESCE_IDLE / 2;
        session.handle_batch(rename(&mut tailnet, "b"), later);
        assert_eq!(session.poll_message(start + COALESCE_IDLE, WallTime::Unknown), None);
        let due = later + COALESCE_IDLE;
        assert_eq!(session.poll_timeout(later), (due, Reason::Changes));
        let message = session.poll_message(due, WallTime::Unknown).expect("due");
        assert_eq!(message.node.map(|node| node.name), Some("b.home.example.".into()));
        assert_eq!(session.poll_message(due, WallTime::Unknown), None);
    }

    #[test]
    fn a_constant_stream_of_changes_is_told_all_the_same() {
        let start = Instant::now();
        let (mut tailnet, mut session) = greeted(start, 0);
        let mut now = start;
        while now < start + COALESCE_MAX {
            session.handle_batch(rename(&mut tailnet, "a"), now);
            now += COALESCE_IDLE / 2;
        }
        assert_eq!(session.poll_timeout(now).0, start + COALESCE_MAX);
    }

    #[test]
    fn silence_is_broken_by_keep_alives_spread_over_sessions() {
        let start = Instant::now();
        let (_, mut session) = greeted(start, 8_999);
        let (at, reason) = session.poll_timeout(start);
        assert_eq!((at, reason), (start + Duration::from_millis(58_999), Reason::KeepAlive));
        let wall = WallTime::Known(UnixTime(1_800_000_000));
        assert_eq!(session.poll_message(at, wall), Some(keep_alive()));
        assert_eq!(session.poll_message(at, wall), None);
        let (_, other) = greeted(start, 9_000);
        assert_eq!(other.poll_timeout(start).0, start + KEEP_ALIVE);
    }

    #[test]
    fn too_many_nodes_become_everything() {
        let tailnet = Tailnet::new(settings(), house_policy());
        let view = Arc::new(tailnet.view().clone());
        let mut batch = Batch::new(Scope::Nodes(BTreeSet::new()), &view);
        for number in 0..=i64::try_from(NOTED_MAX).expect("small") {
            assert!(matches!(batch.scope, Scope::Nodes(_)), "at {number}");
            batch.merge(Batch::new(Scope::Nodes([NodeId(number)].into()), &view));
        }
        assert_eq!(batch.scope, Scope::Everything);
        batch.merge(Batch::new(Scope::Nodes([NodeId(1)].into()), &view));
        assert_eq!(batch.scope, Scope::Everything);
    }

    #[test]
    fn a_change_that_is_taken_back_is_not_told() {
        let start = Instant::now();
        let (mut tailnet, mut session) = greeted(start, 0);
        session.handle_batch(rename(&mut tailnet, "a"), start);
        session.handle_batch(rename(&mut tailnet, "raspberry-pi"), start);
        assert_eq!(session.poll_message(start + COALESCE_IDLE, WallTime::Unknown), None);
        assert_eq!(session.poll_timeout(start).1, Reason::KeepAlive);
    }
}
