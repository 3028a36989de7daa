//! Control connections now open: how many there may be, and which end when a machine must go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::wire::key::MachinePublic;

/// All connections together: about 60 KiB each, and as much again while they send; a household has some dozens.
const CONNECTIONS_MAX: usize = 4096;

/// Connections that have not shown a known node; far above a reconnect of everybody at once that is being served.
const STRANGERS_MAX: usize = 1024;

/// A stranger who was given this long has to make room for the next; a client needs one round trip.
const STRANGER_TIME: Duration = Duration::from_secs(5);

/// Connections of one machine: clients keep one and open a second while the first dies.
const PER_MACHINE_MAX: usize = 8;

/// The table; clones share it.
#[derive(Clone)]
pub struct Connections {
    table: Arc<Mutex<Table>>,
    open: Gauge,
}

#[derive(Default)]
struct Table {
    next: u64,
    all: BTreeMap<(MachinePublic, u64), Place>,
    /// By number, so the first is the oldest.
    strangers: BTreeMap<u64, Stranger>,
}

struct Place {
    closing: CancellationToken,
    /// It has shown a known node: whoever repeats a handshake that was overheard does not get that far.
    is_proven: bool,
}

struct Stranger {
    machine: MachinePublic,
    since: Instant,
}

/// One connection's place; dropped, it is free again.
pub struct Slot {
    connections: Connections,
    machine: MachinePublic,
    number: u64,
    closing: CancellationToken,
}

impl Connections {
    pub fn new(open: Gauge) -> Self {
        Self { table: Arc::default(), open }
    }

    /// A place for a new connection of `machine`, which is a stranger so far. `None`: all are taken. Where strangers fill
    /// theirs, machines that `is_known` of have a place all the same.
    pub fn open(
        &self,
        machine: MachinePublic,
        now: Instant,
        is_known: impl FnOnce() -> bool,
    ) -> Option<Slot> {
        let mut table = self.lock();
        let is_stranger = table.make_room_for_stranger(now);
        if table.all.len() >= CONNECTIONS_MAX || !(is_stranger || is_known()) {
            return None;
        }
        table.limit_machine(machine);
        let (number, closing) = (table.next, CancellationToken::new());
        table.next += 1;
        table.all.insert((machine, number), Place { closing: closing.clone(), is_proven: false });
        if is_stranger {
            table.strangers.insert(number, Stranger { machine, since: now });
        }
        self.open.inc();
        Some(Slot { connections: self.clone(), machine, number, closing })
    }

    pub fn close_machine(&self, machine: MachinePublic) {
        self.lock().of_machine(machine).for_each(|place| place.closing.cancel());
    }

    pub fn close_all(&self) {
        self.lock().all.values().for_each(|place| place.closing.cancel());
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Every change of the table is one insertion or removal; a panic in between cannot tear it.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// The connection has shown a node the ledger knows.
    pub fn promote(&self) {
        let mut table = self.connections.lock();
        table.strangers.remove(&self.number);
        if let Some(place) = table.all.get_mut(&(self.machine, self.number)) {
            place.is_proven = true;
        }
    }

    pub fn is_stranger(&self) -> bool {
        self.connections.lock().strangers.contains_key(&self.number)
    }

    /// Resolves when the connection has to end.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Ends the connection from elsewhere than its own task.
    pub fn closer(&self) -> CancellationToken {
        self.closing.clone()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.connections.lock();
        table.all.remove(&(self.machine, self.number));
        table.strangers.remove(&self.number);
        self.connections.open.dec();
    }
}

impl Table {
    /// Above the limit the oldest stranger leaves, unless it is so young that it may be a client in a rush of many.
    fn make_room_for_stranger(&mut self, now: Instant) -> bool {
        if self.strangers.len() < STRANGERS_MAX {
            return true;
        }
        let is_spent = |stranger: &Stranger| now.duration_since(stranger.since) >= STRANGER_TIME;
        let Some((&number, oldest)) = self.strangers.iter().next().filter(|(_, oldest)| is_spent(oldest))
        else {
            return false;
        };
        if let Some(place) = self.all.get(&(oldest.machine, number)) {
            place.closing.cancel();
        }
        self.strangers.remove(&number);
        true
    }

    /// Closes connections of `machine` until there is room for one more: the oldest, unproven ones first.
    fn limit_machine(&mut self, machine: MachinePublic) {
        let mut open: Vec<_> =
            self.of_machine(machine).filter(|place| !place.closing.is_cancelled()).collect();
        let surplus = (open.len() + 1).saturating_sub(PER_MACHINE_MAX);
        open.sort_by_key(|place| place.is_proven);
        open.into_iter().take(surplus).for_each(|place| place.closing.cancel());
    }

    fn of_machine(&self, machine: MachinePublic) -> impl Iterator<Item = &Place> {
        self.all.range((machine, 0)..=(machine, u64::MAX)).map(|(_, place)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(number: usize) -> MachinePublic {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        MachinePublic::from_bytes(bytes)
    }

    fn open(connections: &Connections, number: usize, now: Instant) -> Option<Slot> {
        connections.open(machine(number), now, || false)
    }

    fn is_closing(slot: &Slot) -> bool {
        slot.closing.is_cancelled()
    }

    #[test]
    fn a_departed_machine_loses_its_connections_and_no_other() {
        let connections = Connections::new(Gauge::default());
        let now = Instant::now();
        let slots: Vec<_> = [1, 1, 2].map(|number| open(&connections, number, now)).into();
        connections.close_machine(machine(1));
        let closing: Vec<_> = slots.iter().flatten().map(is_closing).collect();
        assert_eq!(closing, [true, true, false]);
    }

    #[test]
    fn one_machine_replaces_its_own_oldest_connection() {
        let connections = Connections::new(Gauge::default());
        let now = Instant::now();
        let slots: Vec<_> = (0..PER_MACHINE_MAX + 2).filter_map(|_| open(&connections, 1, now)).collect();
        let closing = slots.iter().filter(|slot| is_closing(slot)).count();
        assert_eq!(closing, 2);
        assert!(is_closing(&slots[0]) && is_closing(&slots[1]));
    }

    #[test]
    fn handshakes_that_prove_nothing_do_not_displace_one_that_did() {
        let connections = Connections::new(Gauge::default());
        let now = Instant::now();
        let own = open(&connections, 1, now).expect("the first");
        own.promote();
        let repeated: Vec<_> = (0..2 * PER_MACHINE_MAX).filter_map(|_| open(&connections, 1, now)).collect();
        assert!(!is_closing(&own));
        let open_still = repeated.iter().filter(|slot| !is_closing(slot)).count();
        assert_eq!(open_still, PER_MACHINE_MAX - 1);
    }

    #[test]
    fn strangers_cannot_keep_known_machines_out() {
        let connections = Connections::new(Gauge::default());
        let start = Instant::now();
        let known = open(&connections, 0, start).expect("the first");
        known.promote();
        let strangers: Vec<_> =
            (1..=STRANGERS_MAX).filter_map(|number| open(&connections, number, start)).collect();
        assert_eq!(strangers.len(), STRANGERS_MAX);
        assert!(open(&connections, 5000, start).is_none(), "the others have just come");
        let returning = connections.open(machine(0), start, || true).expect("it is known");
        assert!(!returning.is_stranger() && strangers.iter().all(|stranger| !is_closing(stranger)));
        let newcomer = open(&connections, 5000, start + STRANGER_TIME);
        assert!(newcomer.is_some() && is_closing(&strangers[0]) && !is_closing(&strangers[1]));
        assert!(!is_closing(&known));
    }

    #[test]
    fn a_dropped_slot_is_free_again() {
        let gauge = Gauge::default();
        let connections = Connections::new(gauge.clone());
        let slot = open(&connections, 1, Instant::now());
        assert_eq!(gauge.get(), 1);
        drop(slot);
        assert_eq!(gauge.get(), 0);
        let table = connections.lock();
        assert!(table.all.is_empty() && table.strangers.is_empty());
    }
}
