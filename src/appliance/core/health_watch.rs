//! Whether a new version does what the old one did.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::wire::supervision::Beat;

/// How the box is at one moment. The default is a box of which nothing is known: all it asks of a new version is to be ready and
/// to beat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// The worker raised every room.
    pub ready: bool,
    /// What made a turn lately.
    pub beat: Beat,
    /// Codes of the errors that hold.
    pub errors: BTreeSet<String>,
    /// Nodes of the tailnet that are connected.
    pub nodes: BTreeSet<String>,
    /// What listens, as `tcp/443`.
    pub listeners: BTreeSet<String>,
}

impl Health {
    /// What `now` lacks of what `self` had, for people; empty when it does as well.
    ///
    /// Ready and the four beats are asked for in any case. Errors that held before may hold on. Of the connected nodes half must
    /// be back, one at least: a phone may leave the house meanwhile.
    #[must_use]
    pub fn missing_in(&self, now: &Self) -> Vec<String> {
        let mut missing = Vec::new();
        let Beat { coordinator, tunnel, edge, store } = now.beat;
        let loops = [
            (now.ready, "the worker is not ready"),
            (coordinator, "the coordinator stands still"),
            (tunnel, "the tunnel stands still"),
            (edge, "the edge stands still"),
            (store, "the store stands still"),
        ];
        missing.extend(loops.into_iter().filter(|(fine, _)| !fine).map(|(_, text)| text.to_owned()));
        missing.extend(now.errors.difference(&self.errors).map(|code| format!("{code} is new")));
        missing.extend(
            self.listeners.difference(&now.listeners).map(|name| format!("nothing listens on {name}")),
        );
        let (had, back) = (self.nodes.len(), self.nodes.intersection(&now.nodes).count());
        if back < had.div_ceil(2) {
            missing.push(format!("{back} of {had} nodes are connected again"));
        }
        missing
    }
}

/// How long a new version may take, and how long it must then hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From the start of the watch.
    pub within: Duration,
    pub hold: Duration,
}

impl Default for Patience {
    /// Ten minutes: nodes come back within a few, a clock or a certificate may take longer. Half a minute: several beats.
    fn default() -> Self {
        Self { within: Duration::from_mins(10), hold: Duration::from_secs(30) }
    }
}

/// How a watch stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Waiting,
    Held,
    /// What was still missing.
    Lost(String),
}

/// Waits for a health that is as good as the one before, without a gap.
#[derive(Debug)]
pub struct HealthWatch {
    before: Health,
    deadline: Instant,
    hold: Duration,
    whole_since: Option<Instant>,
    missing: Vec<String>,
}

/// How many faults a verdict names.
const NAMED_MAX: usize = 5;

impl HealthWatch {
    #[must_use]
    pub fn new(before: Health, patience: Patience, now: Instant) -> Self {
        let missing = vec!["the worker has not said how it is".into()];
        Self { before, deadline: now + patience.within, hold: patience.hold, whole_since: None, missing }
    }

    pub fn handle_health(&mut self, now: Instant, health: &Health) {
        self.missing = self.before.missing_in(health);
        self.whole_since = self.missing.is_empty().then(|| self.whole_since.unwrap_or(now));
    }

    /// At the deadline a health that has become whole still gets its time to hold.
    #[must_use]
    pub fn poll(&self, now: Instant) -> Verdict {
        match self.whole_since {
            Some(since) if now >= since + self.hold => Verdict::Held,
            None if now >= self.deadline => Verdict::Lost(self.text()),
            Some(_) | None => Verdict::Waiting,
        }
    }

    /// When the verdict may change by itself.
    #[must_use]
    pub fn poll_timeout(&self) -> (Instant, &'static str) {
        match self.whole_since {
            Some(since) => (since + self.hold, "the new version has held"),
            None => (self.deadline, "the new version has had its time"),
        }
    }

    fn text(&self) -> String {
        let named = self.missing.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
        match self.missing.len().saturating_sub(NAMED_MAX) {
            0 => named,
            more => format!("{named} and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is changed, and what is then missing.
    type Case = (fn(&mut Health), &'static str);

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn well() -> Health {
        Health {
            ready: true,
            beat: Beat { coordinator: true, tunnel: true, edge: true, store: true },
            errors: names(&["PUB-01"]),
            nodes: names(&["laptop", "machine-a", "phone"]),
            listeners: names(&["tcp/443", "udp/3478"]),
        }
    }

    #[test]
    fn each_class_that_was_fine_must_be_fine_again() {
        assert_eq!(well().missing_in(&well()), Vec::<String>::new());
        let changes: [Case; 5] = [
            (|health| health.ready = false, "the worker is not ready"),
            (|health| health.beat.store = false, "the store stands still"),
            (|health| health.errors.extend(names(&["DATA-02"])), "DATA-02 is new"),
            (|health| health.listeners.clear(), "nothing listens on tcp/443"),
            (|health| health.nodes = names(&["phone", "new"]), "1 of 3 nodes are connected again"),
        ];
        for (change, expected) in changes {
            let mut now = well();
            change(&mut now);
            assert_eq!(well().missing_in(&now).first().map(String::as_str), Some(expected));
        }
    }

    #[test]
    fn an_error_that_held_may_go_and_a_phone_may_leave() {
        let mut now = well();
        now.errors.clear();
        now.nodes.remove("phone");
        assert!(well().missing_in(&now).is_empty());
        now.beat.edge = false;
        assert_eq!(Health::default().missing_in(&now), ["the edge stands still"]);
    }

    #[test]
    fn health_counts_after_it_has_held_without_a_gap() {
        let start = Instant::now();
        let second = |n| start + Duration::from_secs(n);
        let mut watch = HealthWatch::new(well(), Patience::default(), start);
        watch.handle_health(second(10), &well());
        assert_eq!(watch.poll(second(39)), Verdict::Waiting);
        watch.handle_health(second(39), &Health::default());
        watch.handle_health(second(590), &well());
        assert_eq!(watch.poll(second(610)), Verdict::Waiting, "past the deadline, but not yet held");
        assert_eq!(watch.poll_timeout().0, second(620));
        assert_eq!(watch.poll(second(620)), Verdict::Held);
    }

    #[test]
    fn a_worker_that_says_nothing_is_lost_at_the_deadline() {
        let start = Instant::now();
        let watch = HealthWatch::new(Health::default(), Patience::default(), start);
        let (deadline, _) = watch.poll_timeout();
        assert_eq!(watch.poll(deadline), Verdict::Lost("the worker has not said how it is".into()));
    }
}
