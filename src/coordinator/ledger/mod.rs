//! The single writer of the tailnet, and what the rest of the process may ask of it.
//!
//! Commands queue for the writer; readers take the newest view and never wait. The README of this room tells how a client's
//! requests pass through here.

mod admin;
mod hub;
mod journal;
mod stream;
mod wishes;
mod writer;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rand_core::RngCore;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::base::rate::{LOG_RATE, Remark};
use crate::base::rng::SeededRng;
use crate::base::wall_time::WallTime;
use crate::coordinator::core::change::Mutation;
use crate::coordinator::core::map_builder;
use crate::coordinator::core::policy::Policy;
use crate::coordinator::core::tailnet::{GATEWAY_NODE, Tailnet};
use crate::coordinator::store::{Store, StoreError};
use crate::wire::control::{MapRequest, MapResponse, NodeId, RegisterRequest, RegisterResponse};
use crate::wire::key::{MachinePublic, NodePublic};

use hub::Hub;
use wishes::Wishes;
use writer::{Job, Schedule, Turn, Writer};

pub use super::core::change::Departure;
pub use super::core::join_sheet::JoinSheet;
pub use super::core::refusal::Refusal;
pub use super::core::relay_map::{Origin, RelaySettings};
pub use super::core::snapshot::Snapshot;
pub use super::core::tailnet::TailnetSettings;
pub use stream::MapStream;

/// Commands that wait for the writer; more callers wait in line before they may queue theirs.
const JOBS_MAX: usize = 256;
/// Departures a slow receiver may lag behind: a whole household deleted at once.
const DEPARTURES_MAX: usize = 1024;

/// Tells the wall-clock time, or that it is not known yet.
pub type WallClock = Arc<dyn Fn() -> WallTime + Send + Sync>;

type BoxedJob = Box<dyn Job>;

/// The tailnet's state and its only way to change. Cheap to clone; the writer ends when the last clone is gone.
#[derive(Clone)]
pub struct Ledger {
    jobs: mpsc::Sender<BoxedJob>,
    hub: Arc<Hub>,
    wishes: Arc<Mutex<Wishes>>,
    departures: broadcast::Sender<Departure>,
    sheet: watch::Receiver<Option<JoinSheet>>,
    wall: WallClock,
    rng: Arc<Mutex<SeededRng>>,
    /// Log lines about machines that were not let in, which any stranger can cause.
    refused: Arc<Mutex<Remark>>,
}

/// The answer to `POST /machine/map`.
pub enum MapAnswer {
    /// Status 200; the client does not read a body.
    Updated,
    /// One message, then the end.
    Once(Box<MapResponse>),
    Stream(MapStream),
}

impl Ledger {
    /// Restores the tailnet from `store` and starts its writer. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The store could not be read, or not written where an edited policy makes nodes move.
    pub fn open(
        store: Arc<Store>,
        policy: Policy,
        settings: TailnetSettings,
        wall: WallClock,
        seed: [u8; 32],
    ) -> Result<Self, StoreError> {
        let tailnet = restore(&store, policy, settings)?;
        let now = Instant::now();
        let hub = Arc::new(Hub::new(Arc::new(tailnet.view().clone()), now));
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let (departures, _) = broadcast::channel(DEPARTURES_MAX);
        let (sheet_sender, sheet) = watch::channel(None);
        let mut rng = SeededRng::new(seed);
        let ledger = Self {
            jobs,
            hub: Arc::clone(&hub),
            wishes: Arc::default(),
            departures: departures.clone(),
            sheet,
            wall: Arc::clone(&wall),
            rng: Arc::new(Mutex::new(SeededRng::new(rng.bytes()))),
            refused: Arc::default(),
        };
        let wishes = Arc::clone(&ledger.wishes);
        let schedule = Schedule::new(now);
        let sheet = sheet_sender;
        let writer =
            Writer { tailnet, store, hub, wall, rng, jobs: queue, wishes, departures, sheet, schedule };
        tokio::spawn(writer.run());
        Ok(ledger)
    }

    /// `POST /machine/register` from the machine that the Noise handshake authenticated.
    ///
    /// # Errors
    /// A refusal of the request as such. A login that fails is an answer whose `error` tells the person why.
    pub async fn register(
        &self,
        machine: MachinePublic,
        request: RegisterRequest,
    ) -> Result<RegisterResponse, Refusal> {
        let answer =
            self.execute(move |turn| turn.tailnet.decide_register(machine, &request, turn.wall)).await?;
        if !answer.error.is_empty() {
            self.log_refused(&answer.error);
        }
        Ok(answer)
    }

    /// `POST /machine/map`.
    ///
    /// # Errors
    /// 404 for a node key that is unknown or another machine's, 400 for a client that is too old.
    pub async fn map(
        &self,
        machine: MachinePublic,
        request: MapRequest,
        origin: Origin,
    ) -> Result<MapAnswer, Refusal> {
        let (is_stream, is_update) = (request.stream, request.omit_peers);
        let node = self.execute(move |turn| turn.tailnet.decide_report(machine, &request)).await?;
        if is_stream {
            self.attach(node, Some(origin)).map(MapAnswer::Stream).ok_or_else(deleted)
        } else if is_update {
            Ok(MapAnswer::Updated)
        } else {
            let message = map_builder::full(&self.snapshot(), node, Some(origin), self.wall_time());
            message.map(|message| MapAnswer::Once(Box::new(message))).ok_or_else(deleted)
        }
    }

    /// The present view.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.hub.latest()
    }

    /// Replaces the policy. Viewers get the difference; no connection is touched.
    pub fn set_policy(&self, policy: Policy) {
        self.wish(|wishes| wishes.policy = Some(policy));
    }

    /// Replaces what clients are told about the relay.
    pub fn set_relay(&self, relay: RelaySettings) {
        self.wish(|wishes| wishes.relay = Some(relay));
    }

    /// The netmap of the gateway's own node.
    ///
    /// # Panics
    /// Never: the gateway's own node is made at start and cannot be deleted.
    #[must_use]
    pub fn attach_gateway(&self) -> MapStream {
        self.attach(GATEWAY_NODE, None).expect("the gateway's own node always exists")
    }

    /// Where the gateway's own node can be reached by UDP.
    pub fn update_gateway(&self, endpoints: Vec<SocketAddr>) {
        self.wish(|wishes| wishes.gateway_endpoints = Some(endpoints));
    }

    /// A key for every host of the policy that has not joined, kept from the first call on; `None` until it is made.
    #[must_use]
    pub fn join_sheet(&self) -> watch::Receiver<Option<JoinSheet>> {
        self.wish(|wishes| wishes.keep_sheet = true);
        self.sheet.clone()
    }

    /// Whether the relay may serve `node`: known, and not expired.
    #[must_use]
    pub fn admits(&self, node: NodePublic) -> bool {
        let wall = self.wall_time();
        self.snapshot().node_by_key(node).is_some_and(|record| !record.is_expired(wall))
    }

    /// Nodes whose connections are to be closed.
    #[must_use]
    pub fn departures(&self) -> broadcast::Receiver<Departure> {
        self.departures.subscribe()
    }

    /// Saves what nodes last reported of themselves, for a start soon after. For an orderly stop.
    pub async fn save(&self) {
        let (done, saved) = oneshot::channel();
        self.wish(|wishes| wishes.save = Some(done));
        // The end without a word is a newer wish to save, or the writer's own end: nothing to wait for either way.
        let _ = saved.await;
    }

    /// Whether the writer takes commands from its queue and answers them.
    pub async fn is_turning(&self) -> bool {
        self.execute(|_| Ok(((), Vec::new()))).await.is_ok()
    }

    /// The wall clock this ledger judges expiry by.
    #[must_use]
    pub fn wall_time(&self) -> WallTime {
        (self.wall)()
    }

    fn log_refused(&self, reason: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unsaid) = refused.say(LOG_RATE, Instant::now()) {
            tracing::info!(reason, unsaid, "a machine was not let in");
        }
    }

    fn attach(&self, node: NodeId, origin: Option<Origin>) -> Option<MapStream> {
        let jitter = self.rng.lock().unwrap_or_else(PoisonError::into_inner).next_u32();
        MapStream::open(&self.hub, node, origin, Arc::clone(&self.wall), jitter)
    }

    fn wish(&self, express: impl FnOnce(&mut Wishes)) {
        express(&mut self.wishes.lock().unwrap_or_else(PoisonError::into_inner));
        self.hub.stir.notify_one();
    }

    /// Queues a command and waits until what it decided is durable and visible.
    async fn execute<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&mut Turn<'_>) -> Result<(T, Vec<Mutation>), Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        let command = Command { decide: Some(decide), result: None, reply };
        self.jobs.send(Box::new(command)).await.map_err(|_| stopping())?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }
}

/// A command and who waits for its answer.
struct Command<T, F> {
    decide: Option<F>,
    result: Option<Result<T, Refusal>>,
    reply: oneshot::Sender<Result<T, Refusal>>,
}

impl<T, F> Job for Command<T, F>
where
    T: Send,
    F: FnOnce(&mut Turn<'_>) -> Result<(T, Vec<Mutation>), Refusal> + Send,
{
    fn decide(&mut self, turn: &mut Turn<'_>) -> Vec<Mutation> {
        let Some(decide) = self.decide.take() else { return Vec::new() };
        let (result, mutations) = match decide(turn) {
            Ok((value, mutations)) => (Ok(value), mutations),
            Err(refusal) => (Err(refusal), Vec::new()),
        };
        self.result = Some(result);
        mutations
    }

    fn answer(self: Box<Self>, outcome: Result<(), Refusal>) {
        let result = self.result.unwrap_or_else(|| Err(stopping()));
        // The asker may have gone away; what was decided stands.
        let _ = self.reply.send(outcome.and(result));
    }
}

/// The stored tailnet under a policy that may have been edited since.
fn restore(store: &Store, policy: Policy, settings: TailnetSettings) -> Result<Tailnet, StoreError> {
    let stored = store.load()?;
    let tailnet = Tailnet::restore(settings.clone(), policy.clone(), &stored);
    let moves = tailnet.decide_moves();
    if moves.is_empty() {
        return Ok(tailnet);
    }
    journal::record_moves(&moves, &tailnet, &policy);
    store.append(&moves)?;
    Ok(Tailnet::restore(settings, policy, &store.load()?))
}

fn stopping() -> Refusal {
    Refusal::unavailable("the coordinator is stopping; try again in a minute")
}

fn deleted() -> Refusal {
    Refusal::not_found("this node was deleted")
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
