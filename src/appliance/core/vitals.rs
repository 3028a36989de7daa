//! What the worker last said, as the health that an update is measured by.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::health_watch::Health;
use crate::base::condition::{Condition, Severity};
use crate::wire::supervision::{Beat, FromWorker};

/// A loop that has not made a turn for so long stands still.
const PULSE: Duration = Duration::from_secs(15);

/// Most names kept of each kind; a worker that says more is cut short.
const NAMES_MAX: usize = 1024;

/// Fed with every message of the worker, and with what PID 1 finds itself.
#[derive(Debug, Default)]
pub struct Vitals {
    ready: bool,
    coordinator: Option<Instant>,
    tunnel: Option<Instant>,
    edge: Option<Instant>,
    store: Option<Instant>,
    worker_errors: BTreeSet<String>,
    own_errors: BTreeSet<String>,
    nodes: BTreeSet<String>,
    listeners: BTreeSet<String>,
}

impl Vitals {
    pub fn handle_message(&mut self, now: Instant, message: &FromWorker) {
        match message {
            FromWorker::Beat(beat) => self.handle_beat(now, *beat),
            FromWorker::Ready => self.ready = true,
            FromWorker::Conditions(conditions) => self.worker_errors = errors(conditions),
            FromWorker::Up { nodes, listeners } => {
                self.nodes = nodes.iter().take(NAMES_MAX).cloned().collect();
                self.listeners = listeners.iter().take(NAMES_MAX).cloned().collect();
            }
            FromWorker::Summary(_)
            | FromWorker::JoinSheet(_)
            | FromWorker::ApiKeySheet(_)
            | FromWorker::Update { .. }
            | FromWorker::Reboot => {}
        }
    }

    /// All conditions that PID 1 knows of itself.
    pub fn handle_own(&mut self, conditions: &[Condition]) {
        self.own_errors = errors(conditions);
    }

    /// The worker has ended; nothing it said holds any more.
    pub fn handle_worker_gone(&mut self) {
        let own_errors = std::mem::take(&mut self.own_errors);
        *self = Self { own_errors, ..Self::default() };
    }

    #[must_use]
    pub fn health(&self, now: Instant) -> Health {
        let lately =
            |turn: Option<Instant>| turn.is_some_and(|turn| now.saturating_duration_since(turn) < PULSE);
        Health {
            ready: self.ready,
            beat: Beat {
                coordinator: lately(self.coordinator),
                tunnel: lately(self.tunnel),
                edge: lately(self.edge),
                store: lately(self.store),
            },
            errors: self.worker_errors.union(&self.own_errors).cloned().collect(),
            nodes: self.nodes.clone(),
            listeners: self.listeners.clone(),
        }
    }

    fn handle_beat(&mut self, now: Instant, beat: Beat) {
        let turns = [
            (beat.coordinator, &mut self.coordinator),
            (beat.tunnel, &mut self.tunnel),
            (beat.edge, &mut self.edge),
            (beat.store, &mut self.store),
        ];
        for (_, turn) in turns.into_iter().filter(|(turned, _)| *turned) {
            *turn = Some(now);
        }
    }
}

fn errors(conditions: &[Condition]) -> BTreeSet<String> {
    let errors = conditions.iter().filter(|condition| condition.severity == Severity::Error);
    errors.take(NAMES_MAX).map(|condition| condition.code.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_last_for_a_while_and_end_with_the_worker() {
        let start = Instant::now();
        let mut vitals = Vitals::default();
        let whole = Beat { coordinator: true, tunnel: true, edge: true, store: true };
        vitals.handle_message(start, &FromWorker::Ready);
        vitals.handle_message(start, &FromWorker::Beat(whole));
        let later = start + Duration::from_secs(14);
        vitals.handle_message(later, &FromWorker::Beat(Beat { tunnel: true, ..Beat::default() }));
        assert_eq!(vitals.health(later).beat, whole);
        let only_tunnel = Beat { tunnel: true, ..Beat::default() };
        assert_eq!(vitals.health(later + Duration::from_secs(1)).beat, only_tunnel);
        vitals.handle_worker_gone();
        assert_eq!(vitals.health(later), Health::default());
    }

    #[test]
    fn errors_of_both_sides_count_and_warnings_do_not() {
        let now = Instant::now();
        let mut vitals = Vitals::default();
        let conditions = vec![
            Condition::new("PUB-01", Severity::Error, "x"),
            Condition::new("PUB-02", Severity::Warning, "x"),
        ];
        vitals.handle_message(now, &FromWorker::Conditions(conditions));
        vitals.handle_own(&[Condition::new("DATA-01", Severity::Error, "x")]);
        let codes: Vec<_> = vitals.health(now).errors.into_iter().collect();
        assert_eq!(codes, ["DATA-01", "PUB-01"]);
    }
}
