//! Conditions that no room learns of by itself: looked for every two seconds in what the rooms show.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::base::condition::Condition;
use crate::coordinator::core::tailnet::GATEWAY_NODE;
use crate::edge::core::route::{EdgeConfig, HttpHandler};
use crate::health::catalogue::{
    Kind, NO_CLOCK, NO_NAME, NOBODY_JOINED, NODE_EXPIRED, NODE_MISSING, NODE_OFFLINE,
};
use crate::web::status::Source;

use super::house::House;
use super::standing;

/// A machine that is gone is told within seconds, and nobody waits for it.
const INTERVAL: Duration = Duration::from_secs(2);

/// Between two tellings.
const BREATH: Duration = Duration::from_millis(200);

/// Looks until dropped.
pub async fn watch(house: Arc<House>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        look(&house, Instant::now());
    }
}

/// Hands on what PID 1 is to know, whenever it changes. Runs until dropped, or until nobody takes it.
pub async fn publish(
    house: Arc<House>,
    conditions: watch::Sender<Vec<Condition>>,
    summary: watch::Sender<Vec<String>>,
) {
    let mut changes = house.health.watch();
    while !(conditions.is_closed() && summary.is_closed()) {
        let now = Instant::now();
        changes.mark_unchanged();
        replace(&conditions, house.health.visible(now));
        replace(&summary, house.status().summary());
        let latest = now + INTERVAL;
        let due = house.health.poll_timeout(now).map_or(latest, |at| at.min(latest));
        tokio::select! {
            // Health lives as long as the house. What changes many times at once is told once.
            _ = changes.changed() => tokio::time::sleep(BREATH).await,
            () = tokio::time::sleep_until(due.into()) => {}
        }
    }
}

fn replace<T: PartialEq>(sender: &watch::Sender<T>, value: T) {
    sender.send_if_modified(|held| {
        let is_news = *held != value;
        *held = value;
        is_news
    });
}

fn look(house: &House, now: Instant) {
    let wall = *house.wall.borrow();
    let snapshot = house.ledger.snapshot();
    let is_alone = snapshot.entries().all(|entry| entry.record.id == GATEWAY_NODE);
    tell(house, &NO_CLOCK, wall.known().is_none(), now, || {
        ("the time is not known yet", "No certificate is ordered and nothing expires until it is.", "")
    });
    tell(house, &NO_NAME, !house.has_name(), now, || {
        (
            "the entrance has no public name",
            "Machines outside the house cannot join.",
            "Write `name` under [coordinator] in genkan.toml; machines in the house need none.",
        )
    });
    tell(house, &NOBODY_JOINED, is_alone, now, || {
        (
            "no machine has joined yet",
            "",
            "Make a key with `genkan preauthkeys create` and run `tailscale up` with it on the machine; on the card JOIN.txt has the lines.",
        )
    });
    let hosts = hosts(&house.edge.config());
    let conditions: Vec<_> =
        hosts.iter().filter_map(|host| standing::of(host, &snapshot, wall).condition(host)).collect();
    for kind in [NODE_OFFLINE, NODE_EXPIRED, NODE_MISSING] {
        let of_kind = conditions.iter().filter(|condition| condition.code == kind.code);
        let about: Vec<String> = of_kind.map(|condition| condition.about.clone()).collect();
        house.health.keep_only(kind.code, &about);
    }
    for condition in conditions {
        house.health.set(condition, now);
    }
}

fn tell(
    house: &House,
    kind: &Kind,
    holds: bool,
    now: Instant,
    words: impl FnOnce() -> (&'static str, &'static str, &'static str),
) {
    if holds {
        let (what, why, cure) = words();
        house.health.set(kind.condition(what).because(why).cure(cure), now);
    } else {
        house.health.clear(kind.code);
    }
}

/// The hosts that anything leads to.
fn hosts(config: &EdgeConfig) -> BTreeSet<String> {
    let sites = config.http_servers.iter().flat_map(|server| &server.routes).flat_map(|route| {
        let HttpHandler::ReverseProxy { upstreams } = &route.handler;
        upstreams
    });
    let services = config.layer4_servers.iter().flat_map(|server| &server.upstreams);
    sites.chain(services).map(|upstream| upstream.host.clone()).collect()
}
