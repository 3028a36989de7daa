//! Whether coordinator, tunnel, edge and store still make turns.
//!
//! Tunnel and edge count the turns of their own loops. The coordinator's writer is asked through its queue, the store by a small read on a thread
//! that may block. Once a second somebody looks who stands still.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::base::roll_call::{RollCall, Seen};
use crate::coordinator::ledger::Ledger;
use crate::coordinator::store::Store;
use crate::edge;
use crate::tunnel::driver;
use crate::wire::supervision::Beat;

/// The areas of the two that are asked.
const COORDINATOR: &str = "coordinator";
const STORE: &str = "store";

/// How often is asked and looked, and how long is waited. Tests are in more of a hurry.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub look: Duration,
    pub ask_ledger: Duration,
    pub ask_store: Duration,
    /// A loop that has made no turn for so long is stuck; several times the longest of the others.
    pub patience: Duration,
    /// For the rooms to be raised; a loop that was never begun is stuck only after it.
    pub start: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(1),
            ask_ledger: Duration::from_secs(2),
            ask_store: Duration::from_secs(4),
            patience: Duration::from_secs(12),
            start: Duration::from_mins(1),
        }
    }
}

/// How the house does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pulse {
    pub beat: Beat,
    /// Names of the loops that make no turns; of an area without any loop the area's.
    pub stuck: Vec<String>,
}

/// Asks the writer again and again.
pub async fn ask_ledger(ledger: Ledger, loops: RollCall, pace: Pace) {
    let turns = loops.join(COORDINATOR, "coordinator's writer");
    loop {
        if ledger.is_turning().await {
            turns.count();
        }
        sleep(pace.ask_ledger).await;
    }
}

/// Asks the store again and again, one question at a time.
pub async fn ask_store(store: Arc<Store>, loops: RollCall, pace: Pace) {
    let turns = loops.join(STORE, "store");
    loop {
        let store = Arc::clone(&store);
        match tokio::task::spawn_blocking(move || store.check()).await {
            Ok(Ok(())) => turns.count(),
            Ok(Err(error)) => tracing::debug!(%error, "the store does not answer"),
            Err(_) => return,
        }
        sleep(pace.ask_store).await;
    }
}

/// Looks again and again, and publishes what it saw.
pub async fn watch(loops: RollCall, pulse: watch::Sender<Pulse>, pace: Pace) {
    let (mut observer, begun) = (loops.observer(), Instant::now());
    let mut ticks = interval(pace.look);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let is_raised = now.saturating_duration_since(begun) >= pace.start;
        let now = judge(&observer.look(now), pace.patience, is_raised);
        let before = pulse.send_replace(now.clone());
        match (before.stuck == now.stuck, now.stuck.as_slice()) {
            (true, _) => {}
            (false, []) => tracing::info!("every loop turns"),
            (false, stuck) => tracing::warn!(stuck = stuck.join(", "), "loops stand still"),
        }
    }
}

fn judge(seen: &[Seen], patience: Duration, is_raised: bool) -> Pulse {
    let mut stuck: Vec<String> =
        seen.iter().filter(|one| one.still > patience).map(|one| one.name.clone()).collect();
    let mut turns = |area: &str| {
        let mut all = seen.iter().filter(|one| one.area == area).peekable();
        if all.peek().is_none() {
            stuck.extend(is_raised.then(|| area.to_owned()));
            return false;
        }
        all.all(|one| one.still <= patience)
    };
    let beat = Beat {
        coordinator: turns(COORDINATOR),
        tunnel: turns(driver::LOOPS),
        edge: turns(edge::LOOPS),
        store: turns(STORE),
    };
    Pulse { beat, stuck }
}

#[cfg(test)]
mod tests;
