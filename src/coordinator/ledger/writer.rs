//! The one task that changes the tailnet.
//!
//! It takes what waits, decides each command in turn, makes all durable mutations of that turn survive with one sync,
//! publishes the new view, and only then answers. When the storage fails, the state goes back to what it was before the turn
//! and every command of it is refused.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, mpsc, watch};

use crate::base::rng::SeededRng;
use crate::base::wall_time::WallTime;
use crate::coordinator::core::change::{Change, Departure, Mutation};
use crate::coordinator::core::join_sheet::JoinSheet;
use crate::coordinator::core::policy::Policy;
use crate::coordinator::core::presence::PresenceEvent;
use crate::coordinator::core::refusal::Refusal;
use crate::coordinator::core::relay_map::RelaySettings;
use crate::coordinator::core::tailnet::{GATEWAY_NODE, Tailnet};
use crate::coordinator::store::{Store, StoreError};
use crate::wire::control::NodeId;

use super::hub::Hub;
use super::journal;
use super::wishes::Wishes;
use super::{BoxedJob, WallClock};

/// Commands decided before one sync: enough to hide the slowness of an SD card when a whole network comes back at once.
const TURN_MAX: usize = 64;
/// The answer that tells a node of its own end is on its way before its connections are closed.
const DEPARTURE_DELAY: Duration = Duration::from_secs(1);
/// How often endpoints and the like are saved, so that peers find each other soon after a restart: seldom, for the card.
const SAVE_INTERVAL: Duration = Duration::from_mins(15);
/// How often to look whether the clock became known or was set, while some key is to end.
const CLOCK_INTERVAL: Duration = Duration::from_secs(30);

/// What a command may look at.
pub struct Turn<'a> {
    pub tailnet: &'a Tailnet,
    pub wall: WallTime,
    pub rng: &'a mut SeededRng,
}

/// A command in the queue.
pub trait Job: Send {
    fn decide(&mut self, turn: &mut Turn<'_>) -> Vec<Mutation>;
    /// Called once, when what was decided is durable and published, or could not be.
    fn answer(self: Box<Self>, outcome: Result<(), Refusal>);
}

pub struct Writer {
    pub tailnet: Tailnet,
    pub store: Arc<Store>,
    pub hub: Arc<Hub>,
    pub wall: WallClock,
    pub rng: SeededRng,
    pub jobs: mpsc::Receiver<BoxedJob>,
    pub wishes: Arc<Mutex<Wishes>>,
    pub departures: broadcast::Sender<Departure>,
    /// `None` while nobody wants it kept.
    pub sheet: watch::Sender<Option<JoinSheet>>,
    pub schedule: Schedule,
}

/// What the writer does at its own time.
pub struct Schedule {
    leaving: VecDeque<(Instant, Departure)>,
    /// Nodes whose reports are newer than the store.
    unsaved: BTreeSet<NodeId>,
    /// Prefixes of API keys whose last use is newer than the store.
    unsaved_keys: BTreeSet<String>,
    keeps_sheet: bool,
    save_at: Instant,
}

impl Schedule {
    pub fn new(now: Instant) -> Self {
        Self {
            leaving: VecDeque::new(),
            unsaved: BTreeSet::new(),
            unsaved_keys: BTreeSet::new(),
            keeps_sheet: false,
            save_at: now + SAVE_INTERVAL,
        }
    }
}

impl Writer {
    /// Runs until the last ledger is dropped.
    pub async fn run(mut self) {
        loop {
            let deadline = self.next_deadline(Instant::now());
            tokio::select! {
                job = self.jobs.recv() => match job {
                    None => break,
                    Some(job) => self.serve(job).await,
                },
                () = self.hub.stir.notified() => {}
                () = tokio::time::sleep_until(deadline.into()) => {}
            }
            self.keep_up(Instant::now()).await;
        }
        self.save_reports().await;
    }

    /// Decides `first` and what waits behind it, stores, publishes, answers.
    async fn serve(&mut self, first: BoxedJob) {
        let mut jobs = vec![first];
        while jobs.len() < TURN_MAX {
            let Ok(job) = self.jobs.try_recv() else { break };
            jobs.push(job);
        }
        let before = self.tailnet.clone();
        let (mut mutations, mut change) = (Vec::new(), Change::default());
        for job in &mut jobs {
            let mut turn = Turn { tailnet: &self.tailnet, wall: (self.wall)(), rng: &mut self.rng };
            for mutation in job.decide(&mut turn) {
                change.merge(self.tailnet.apply(&mutation));
                mutations.push(mutation);
            }
        }
        let outcome = self.commit(before, mutations, change).await;
        for job in jobs {
            job.answer(outcome.clone());
        }
    }

    /// What happens without a command: wishes of the process, coming and going, ends of keys, saving.
    async fn keep_up(&mut self, now: Instant) {
        let wishes = std::mem::take(&mut *self.wishes.lock().unwrap_or_else(PoisonError::into_inner));
        let (abandoned, moved): (Vec<_>, Vec<_>) = self
            .hub
            .poll_presence(now)
            .into_iter()
            .partition(|event| matches!(event, PresenceEvent::Abandoned(_)));
        let mut change = match wishes.policy {
            Some(policy) => self.adopt(policy).await,
            None => Change::default(),
        };
        change.merge(self.grant(wishes.relay, wishes.gateway_endpoints));
        for event in moved {
            tracing::info!(?event, "a node came or went");
            let mutation = self.tailnet.decide_presence(event, (self.wall)());
            change.merge(self.observe(mutation));
        }
        let ended = self.tailnet.decide_ended_keys((self.wall)());
        if !ended.is_empty() {
            tracing::info!(count = ended.len(), "keys of nodes ended by time");
        }
        change.merge(self.observe(ended));
        if !change.is_empty() {
            self.publish(change);
        }
        self.remove(&abandoned).await;
        self.schedule.keeps_sheet |= wishes.keep_sheet;
        self.keep_keys().await;
        self.send_departures(now);
        if now >= self.schedule.save_at || wishes.save.is_some() {
            self.save_reports().await;
        }
        // Nobody waits any more where the other end is gone.
        wishes.save.map(|done| done.send(()));
    }

    /// Puts a policy in force, also when the moves that follow from it cannot be stored now: who may reach what is not to
    /// wait for the storage, and a start finds the same nodes to move.
    async fn adopt(&mut self, policy: Policy) -> Change {
        let before = self.tailnet.clone();
        let mutations = before.decide_policy(policy.clone());
        journal::record_moves(&mutations, &before, &policy);
        let stored: Vec<_> = mutations.iter().filter(|mutation| mutation.is_durable()).cloned().collect();
        let change = self.observe(mutations);
        for mutation in &stored {
            journal::record(mutation, &before);
        }
        if !stored.is_empty() {
            let moved: Vec<_> = change.nodes.iter().copied().filter(|node| *node != GATEWAY_NODE).collect();
            if let Err(error) = blocking(&self.store, move |store| store.append(&stored)).await {
                tracing::error!(%error, "the moves of a new policy are not stored; they are tried again with the reports");
                self.schedule.unsaved.extend(moved);
            }
        }
        change
    }

    fn grant(&mut self, relay: Option<RelaySettings>, gateway_endpoints: Option<Vec<SocketAddr>>) -> Change {
        let mut change = self.observe(relay.map(|relay| Mutation::Relay(Arc::new(relay))));
        let moved = gateway_endpoints.and_then(|list| self.tailnet.decide_gateway_endpoints(list));
        change.merge(self.observe(moved));
        change
    }

    /// Applies mutations that are not stored.
    fn observe(&mut self, mutations: impl IntoIterator<Item = Mutation>) -> Change {
        let mut change = Change::default();
        for mutation in mutations {
            self.note_unsaved(&mutation);
            change.merge(self.tailnet.apply(&mutation));
        }
        change
    }

    /// Removes ephemeral nodes that stayed away.
    async fn remove(&mut self, abandoned: &[PresenceEvent]) {
        let before = self.tailnet.clone();
        let decide = |event: &PresenceEvent| self.tailnet.decide_presence(*event, WallTime::Unknown);
        let mutations: Vec<_> = abandoned.iter().filter_map(decide).collect();
        let mut change = Change::default();
        for mutation in &mutations {
            change.merge(self.tailnet.apply(mutation));
        }
        if self.commit(before, mutations, change).await.is_err() {
            self.hub.watch_ephemeral(Instant::now());
        }
    }

    /// Gives keys their ends as soon as the clock is known, and each host of the policy its line of the sheet.
    async fn keep_keys(&mut self) {
        let wall = (self.wall)();
        let mut mutations = self.tailnet.decide_card_key_ends(wall);
        if self.schedule.keeps_sheet {
            mutations.extend(self.tailnet.decide_join_lines(wall, &mut self.rng));
        }
        let before = self.tailnet.clone();
        let mut change = Change::default();
        for mutation in &mutations {
            change.merge(self.tailnet.apply(mutation));
        }
        // What the storage refuses is tried again at the next turn; the sheet stays as it was.
        let is_stored = self.commit(before, mutations, change).await.is_ok();
        if self.schedule.keeps_sheet && is_stored {
            let sheet = Some(self.tailnet.join_sheet());
            self.sheet.send_if_modified(|shown| {
                let is_new = *shown != sheet;
                if is_new {
                    *shown = sheet;
                }
                is_new
            });
        }
    }

    /// Stores what was applied already, then publishes it.
    async fn commit(
        &mut self,
        before: Tailnet,
        mutations: Vec<Mutation>,
        change: Change,
    ) -> Result<(), Refusal> {
        if mutations.iter().any(Mutation::is_durable) {
            let stored = mutations.clone();
            if let Err(error) = blocking(&self.store, move |store| store.append(&stored)).await {
                tracing::error!(%error, "the change is not stored");
                self.tailnet = before;
                return Err(Refusal::unavailable(
                    "the change could not be stored; the coordinator's log says why",
                ));
            }
        }
        for mutation in &mutations {
            journal::record(mutation, &before);
            self.note_unsaved(mutation);
        }
        if !mutations.is_empty() {
            self.publish(change);
        }
        Ok(())
    }

    fn publish(&mut self, mut change: Change) {
        change.merge(self.tailnet.settle());
        let now = Instant::now();
        self.hub.publish(&Arc::new(self.tailnet.view().clone()), &change, now);
        let leaving = change.departures.into_iter().map(|departure| (now + DEPARTURE_DELAY, departure));
        self.schedule.leaving.extend(leaving);
    }

    fn note_unsaved(&mut self, mutation: &Mutation) {
        match mutation {
            Mutation::Observed(record) if record.id != GATEWAY_NODE => {
                self.schedule.unsaved.insert(record.id);
            }
            Mutation::Node(record) => {
                self.schedule.unsaved.remove(&record.id);
            }
            Mutation::ApiKeySeen(key) => {
                self.schedule.unsaved_keys.insert(key.prefix.clone());
            }
            _ => {}
        }
    }

    fn send_departures(&mut self, now: Instant) {
        while let Some((_, departure)) = self.schedule.leaving.pop_front_if(|(at, _)| *at <= now) {
            // Without a receiver there is no connection to close.
            let _ = self.departures.send(departure);
        }
    }

    async fn save_reports(&mut self) {
        self.schedule.save_at = Instant::now() + SAVE_INTERVAL;
        let unsaved = std::mem::take(&mut self.schedule.unsaved);
        let records = unsaved.iter().filter_map(|node| self.tailnet.view().node(*node));
        let reports = records.map(|record| Mutation::Observed(Box::new(record.clone())));
        let unsaved_keys = std::mem::take(&mut self.schedule.unsaved_keys);
        let keys = unsaved_keys.iter().filter_map(|prefix| self.tailnet.view().api_keys().get(prefix));
        let reports: Vec<_> = reports.chain(keys.cloned().map(Mutation::ApiKeySeen)).collect();
        if !reports.is_empty()
            && let Err(error) = blocking(&self.store, move |store| store.save_reports(&reports)).await
        {
            tracing::warn!(%error, "reports of nodes and uses of keys are not saved");
        }
    }

    fn next_deadline(&self, now: Instant) -> Instant {
        let leaving = self.schedule.leaving.front().map(|(at, _)| *at);
        let end = self.tailnet.next_expiry().map(|end| {
            let remaining =
                (self.wall)().known().map(|wall| end.0.saturating_sub(wall.0).max(0).unsigned_abs());
            now + remaining.map_or(CLOCK_INTERVAL, |seconds| CLOCK_INTERVAL.min(Duration::from_secs(seconds)))
        });
        let keys = self.schedule.keeps_sheet.then(|| now + CLOCK_INTERVAL);
        let own = [self.hub.poll_timeout(), leaving, end, keys];
        own.into_iter().flatten().fold(self.schedule.save_at, Instant::min)
    }
}

/// A sync can take long on an SD card: it waits on a thread of its own.
async fn blocking(
    store: &Arc<Store>,
    work: impl FnOnce(&Store) -> Result<(), StoreError> + Send + 'static,
) -> Result<(), StoreError> {
    let store = Arc::clone(store);
    match tokio::task::spawn_blocking(move || work(&store)).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::interrupted(&error.to_string())),
    }
}
