//! Which upstreams do not answer: every dial of every layer is noted here, and a silent one is told to the owner until a dial succeeds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use crate::base::wall_time::{UnixTime, WallTime};
use crate::health::Health;
use crate::health::catalogue::{NODE_EXPIRED, NODE_MISSING, NODE_OFFLINE, UPSTREAM_SILENT};

/// Upstreams remembered as silent; a household has a handful.
const SILENT_MAX: usize = 256;

/// Clones share it; the default tells nobody.
#[derive(Debug, Clone, Default)]
pub struct Reach(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    health: Health,
    wall: watch::Receiver<WallTime>,
    /// By label: since when, if the time was known.
    silent: Mutex<BTreeMap<String, Option<UnixTime>>>,
}

impl Reach {
    /// Tells `health`, with times of `wall`.
    #[must_use]
    pub fn telling(health: Health, wall: watch::Receiver<WallTime>) -> Self {
        Self(Some(Arc::new(Inner { health, wall, silent: Mutex::default() })))
    }

    /// A dial of `upstream` (`host:port`) succeeded, or failed with `reason`.
    pub fn note(&self, upstream: &str, failure: Option<&str>, now: Instant) {
        let Some(inner) = &self.0 else { return };
        // The map is right after every statement, so a panic elsewhere does not spoil it.
        let mut silent = inner.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(reason) = failure else {
            if silent.remove(upstream).is_some() {
                inner.health.clear_about(UPSTREAM_SILENT.code, upstream);
            }
            return;
        };
        if silent.len() >= SILENT_MAX && !silent.contains_key(upstream) {
            return;
        }
        let since = *silent.entry(upstream.to_owned()).or_insert_with(|| inner.wall.borrow().known());
        let since = since.map(|since| format!(", since {}", since.to_minute())).unwrap_or_default();
        let condition = UPSTREAM_SILENT
            .condition(format!("the service at {upstream} does not answer"))
            .about(upstream)
            .because(format!("The last attempt to connect {reason}{since}."))
            .cure("Check that the machine is on, that its service runs, and that the policy and its firewall let this box in.");
        let causes = causes(upstream);
        let causes: Vec<&str> = causes.iter().map(String::as_str).collect();
        inner.health.set(condition.follows_from(&causes), now);
    }
}

/// What explains the silence of `host:port`: no tunnel, or a machine that is not there.
fn causes(upstream: &str) -> Vec<String> {
    let host = upstream.rsplit_once(':').map_or(upstream, |(host, _)| host);
    let machine = [NODE_OFFLINE, NODE_EXPIRED, NODE_MISSING].map(|kind| format!("{}/{host}", kind.code));
    let always = UPSTREAM_SILENT.follows_from.iter().map(|&code| code.to_owned());
    always.chain(machine).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_silent_upstream_is_told_until_it_answers_or_nobody_asks_any_more() {
        let (health, now) = (Health::default(), Instant::now());
        let (wall, receiver) = watch::channel(WallTime::Known(UnixTime(1_800_000_000)));
        let reach = Reach::telling(health.clone(), receiver);
        reach.note("100.64.0.2:22", Some("timed out"), now);
        assert!(health.visible(now).is_empty(), "one lost packet is a blip");
        wall.send_replace(WallTime::Known(UnixTime(1_800_000_060)));
        let later = now + Duration::from_mins(1);
        reach.note("100.64.0.2:22", Some("was refused"), later);
        let told = health.visible(later).remove(0);
        assert_eq!(told.why, "The last attempt to connect was refused, since 2027-01-15 08:00 UTC.");
        assert!(health.visible(later + Duration::from_mins(11)).is_empty());
        reach.note("100.64.0.2:22", None, later);
        assert!(health.visible(later).is_empty());
        for number in 0..SILENT_MAX * 2 {
            reach.note(&format!("host-{number}:1"), Some("failed"), now);
        }
        Reach::default().note("x:1", Some("failed"), now);
    }
}
