//! Where readers meet the writer: the newest view, and a mailbox for each session.
//!
//! A view and the news that come with it are handed out under one lock. So a session that holds no news of a node may rely
//! on its view of that node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::coordinator::core::change::Change;
use crate::coordinator::core::map_delta::Scope;
use crate::coordinator::core::map_session::{Batch, MapSession};
use crate::coordinator::core::presence::{Presence, PresenceEvent};
use crate::coordinator::core::snapshot::Snapshot;
use crate::wire::control::NodeId;

/// Sessions of one node at a time. A client needs one, two while it redials; the oldest beyond this ends.
const SESSIONS_MAX: usize = 8;

#[derive(Debug)]
pub struct Hub {
    state: Mutex<State>,
    /// Somebody came or went: the writer should look.
    pub stir: Notify,
}

#[derive(Debug)]
struct State {
    latest: Arc<Snapshot>,
    mailboxes: BTreeMap<NodeId, Vec<Arc<Mailbox>>>,
    presence: Presence,
}

/// News for one session, folded into one batch until it looks.
#[derive(Debug, Default)]
pub struct Mailbox {
    letters: Mutex<Letters>,
    pub arrival: Notify,
}

#[derive(Debug, Default)]
struct Letters {
    batch: Option<Batch>,
    is_ended: bool,
}

/// What a session finds in its mailbox.
#[derive(Debug)]
pub enum Mail {
    None,
    News(Batch),
    /// The node is gone, or has too many sessions.
    End,
}

impl Hub {
    pub fn new(snapshot: Arc<Snapshot>, now: Instant) -> Self {
        let state = State { latest: snapshot, mailboxes: BTreeMap::new(), presence: Presence::default() };
        let hub = Self { state: Mutex::new(state), stir: Notify::new() };
        hub.watch_ephemeral(now);
        hub
    }

    /// Begins the time away of every ephemeral node that is away.
    pub fn watch_ephemeral(&self, now: Instant) {
        let mut state = self.state();
        let snapshot = Arc::clone(&state.latest);
        for entry in snapshot.entries().filter(|entry| entry.record.ephemeral) {
            state.presence.handle_ephemeral(entry.record.id, now);
        }
    }

    pub fn latest(&self) -> Arc<Snapshot> {
        Arc::clone(&self.state().latest)
    }

    /// Opens a session of a node that exists.
    pub fn attach(&self, viewer: NodeId) -> Option<(Arc<Mailbox>, Arc<Snapshot>)> {
        let mut state = self.state();
        state.latest.node(viewer)?;
        let mailbox = Arc::new(Mailbox::default());
        let own = state.mailboxes.entry(viewer).or_default();
        if own.len() >= SESSIONS_MAX {
            own.remove(0).end();
        }
        own.push(Arc::clone(&mailbox));
        state.presence.handle_opened(viewer);
        self.stir.notify_one();
        Some((mailbox, Arc::clone(&state.latest)))
    }

    pub fn detach(&self, viewer: NodeId, mailbox: &Arc<Mailbox>, now: Instant) {
        let mut state = self.state();
        if let Some(own) = state.mailboxes.get_mut(&viewer) {
            own.retain(|other| !Arc::ptr_eq(other, mailbox));
            if own.is_empty() {
                state.mailboxes.remove(&viewer);
            }
        }
        state.presence.handle_closed(viewer, now);
        self.stir.notify_one();
    }

    /// Lets a session without news take the newest view.
    pub fn refresh(&self, session: &mut MapSession, mailbox: &Mailbox) {
        let state = self.state();
        if mailbox.is_empty() {
            session.handle_idle(Arc::clone(&state.latest));
        }
    }

    /// Makes `snapshot` the newest view and tells everybody concerned.
    pub fn publish(&self, snapshot: &Arc<Snapshot>, change: &Change, now: Instant) {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.latest, Arc::clone(snapshot));
        if change.everything {
            let all = state.mailboxes.values().flatten();
            all.for_each(|mailbox| mailbox.put(Batch::new(Scope::Everything, snapshot)));
        } else {
            state.tell(&before, snapshot, &change.nodes);
        }
        for node in &change.removed {
            state.mailboxes.remove(node).into_iter().flatten().for_each(|mailbox| mailbox.end());
            state.presence.handle_removed(*node);
        }
        for node in change.nodes.iter().filter_map(|node| snapshot.node(*node)) {
            if node.ephemeral && !node.online {
                state.presence.handle_ephemeral(node.id, now);
            }
        }
    }

    pub fn poll_presence(&self, now: Instant) -> Vec<PresenceEvent> {
        let mut state = self.state();
        state.presence.handle_timeout(now);
        state.presence.poll_events()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.state().presence.poll_timeout()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Puts each node into the mailboxes of those who saw it or see it now, and its own.
    fn tell(&self, before: &Snapshot, after: &Arc<Snapshot>, nodes: &BTreeSet<NodeId>) {
        let mut news: BTreeMap<NodeId, BTreeSet<NodeId>> = BTreeMap::new();
        for node in nodes {
            let viewers = before.viewers_of(*node).chain(after.viewers_of(*node)).chain([*node]);
            for viewer in viewers.filter(|viewer| self.mailboxes.contains_key(viewer)) {
                news.entry(viewer).or_default().insert(*node);
            }
        }
        for (viewer, nodes) in news {
            let scope = Scope::of_step(viewer, before, after, nodes);
            for mailbox in self.mailboxes.get(&viewer).into_iter().flatten() {
                mailbox.put(Batch::new(scope.clone(), after));
            }
        }
    }
}

impl Mailbox {
    pub fn take(&self) -> Mail {
        let mut letters = self.letters();
        if letters.is_ended {
            return Mail::End;
        }
        letters.batch.take().map_or(Mail::None, Mail::News)
    }

    fn put(&self, batch: Batch) {
        let mut letters = self.letters();
        match &mut letters.batch {
            Some(earlier) => earlier.merge(batch),
            None => letters.batch = Some(batch),
        }
        self.arrival.notify_one();
    }

    fn end(&self) {
        self.letters().is_ended = true;
        self.arrival.notify_one();
    }

    fn is_empty(&self) -> bool {
        self.letters().batch.is_none()
    }

    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
