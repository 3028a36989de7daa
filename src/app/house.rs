//! The house as its owner sees it: all rooms in one value, for the status page and for PID 1.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use crate::base::condition::shown;
use crate::base::wall_time::WallTime;
use crate::config::model::{Model, Ports};
use crate::coordinator::core::node_record::NodeRecord;
use crate::coordinator::core::tailnet::GATEWAY_NODE;
use crate::coordinator::ledger::Ledger;
use crate::edge::EdgeView;
use crate::health::Health;
use crate::web::status::{Level, Node, Source, State, Status, Update};
use crate::wire::supervision::BoxStatus;

use super::lan::Lan;
use super::services::{self, Judge};

/// Reads the rooms when asked; holds nothing of them.
pub struct House {
    pub health: Health,
    pub ledger: Ledger,
    pub edge: EdgeView,
    pub wall: watch::Receiver<WallTime>,
    name: Option<String>,
    base_domain: String,
    lan: watch::Receiver<Option<Lan>>,
    ports: Ports,
    started: Instant,
    told: Mutex<Told>,
}

/// What PID 1 told last.
#[derive(Default)]
struct Told {
    machine: Option<BoxStatus>,
    update: Option<Update>,
}

impl House {
    pub fn new(
        model: &Model,
        lan: watch::Receiver<Option<Lan>>,
        (health, ledger, edge): (Health, Ledger, EdgeView),
        wall: watch::Receiver<WallTime>,
    ) -> Self {
        Self {
            health,
            ledger,
            edge,
            wall,
            name: model.name.clone(),
            base_domain: model.base_domain.clone(),
            lan,
            ports: model.ports,
            started: Instant::now(),
            told: Mutex::default(),
        }
    }

    /// PID 1 says how the box is.
    pub fn set_machine(&self, machine: BoxStatus) {
        self.told().machine = Some(machine);
    }

    /// PID 1 says how far an update is.
    pub fn set_update(&self, text: String, done: bool, failed: bool) {
        self.told().update = Some(Update { text, done, failed });
    }

    pub fn has_name(&self) -> bool {
        self.name.is_some()
    }

    /// What PID 1 told is replaced whole, so a panic elsewhere does not spoil it.
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for House {
    fn status(&self) -> Status {
        let (now, wall, snapshot) = (Instant::now(), *self.wall.borrow(), self.ledger.snapshot());
        let own = self.health.visible(now);
        let (machine, update) = {
            let told = self.told();
            (told.machine.clone(), told.update.clone())
        };
        let all: Vec<_> =
            machine.iter().flat_map(|machine| &machine.conditions).chain(&own).cloned().collect();
        let judge = Judge { snapshot: &snapshot, wall, conditions: &own };
        let join_url = self.lan.borrow().map(|lan| format!("http://{}:{}", lan.address, self.ports.control));
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: self.name.clone(),
            base_domain: self.base_domain.clone(),
            join_url,
            time: wall.known(),
            running_seconds: now.saturating_duration_since(self.started).as_secs(),
            addresses: self.lan.borrow().iter().map(|lan| lan.address.to_string()).collect(),
            conditions: shown(&all),
            nodes: snapshot.entries().map(|entry| node(&entry.record, wall)).collect(),
            listeners: services::listeners(&self.edge.config(), &judge)
                .into_iter()
                .chain(services::own(self.ports, &judge))
                .collect(),
            certificates: self
                .edge
                .certificates()
                .iter()
                .map(|view| services::certificate(view, wall))
                .collect(),
            machine,
            update,
        }
    }
}

fn node(record: &NodeRecord, wall: WallTime) -> Node {
    let is_gateway = record.id == GATEWAY_NODE;
    let (level, text) = match (is_gateway, record.is_expired(wall), record.online) {
        (true, ..) => (Level::Good, "this entrance"),
        (_, true, _) => (Level::Bad, "its key is over"),
        (_, _, true) => (Level::Good, "online"),
        (_, _, false) => (Level::Quiet, "offline"),
    };
    Node {
        name: record.name.clone(),
        addresses: vec![record.ipv4.to_string()],
        online: record.online || is_gateway,
        last_seen: record.last_seen.filter(|_| !is_gateway),
        state: State::new(level, text),
    }
}
