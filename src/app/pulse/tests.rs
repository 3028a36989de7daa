use std::io;
use std::sync::{Mutex, PoisonError};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::*;
use crate::base::rng::SeededRng;
use crate::base::wall_time::WallTime;
use crate::coordinator::core::policy::Policy;
use crate::coordinator::core::relay_map::RelaySettings;
use crate::coordinator::core::tailnet::TailnetSettings;
use crate::wire::key::DiscoPrivate;

const HURRY: Pace = Pace {
    look: Duration::from_millis(20),
    ask_ledger: Duration::from_millis(20),
    ask_store: Duration::from_millis(20),
    patience: Duration::from_millis(400),
    start: Duration::ZERO,
};

fn seen(area: &'static str, name: &str, still: u64) -> Seen {
    Seen { area, name: name.into(), still: Duration::from_secs(still) }
}

#[test]
fn one_loop_that_stands_still_makes_its_area_stuck_and_no_other() {
    let mut all = vec![
        seen(COORDINATOR, "writer", 0),
        seen(driver::LOOPS, "tunnel", 12),
        seen(edge::LOOPS, "one", 0),
        seen(edge::LOOPS, "two", 13),
        seen(STORE, "store", 0),
    ];
    let patience = Pace::default().patience;
    let pulse = judge(&all, patience, true);
    assert_eq!(pulse.beat, Beat { coordinator: true, tunnel: true, edge: false, store: true });
    assert_eq!(pulse.stuck, ["two"]);
    all.remove(1);
    let pulse = judge(&all, patience, true);
    assert_eq!(pulse.beat, Beat { coordinator: true, tunnel: false, edge: false, store: true });
    assert_eq!(pulse.stuck, ["two", "tunnel"]);
    assert_eq!(judge(&[], patience, false), Pulse::default(), "not stuck yet, nor turning");
}

/// Storage that hangs while somebody holds the gate, as a card does that has died.
#[derive(Debug)]
struct Gated {
    memory: InMemoryBackend,
    gate: Arc<Mutex<()>>,
}

impl StorageBackend for Gated {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.memory.write(offset, data)
    }
}

fn open(store: Arc<Store>) -> Ledger {
    let mut rng = SeededRng::new([1; 32]);
    let identity = store.identity(&mut rng).expect("made at first use");
    let settings = TailnetSettings {
        base_domain: "tail.example".into(),
        gateway_node: identity.gateway_node.public(),
        gateway_machine: identity.gateway_machine.public(),
        gateway_disco: DiscoPrivate::generate(&mut rng).public(),
        relay: RelaySettings {
            host_name: "door.example".into(),
            certificate_pin: None,
            lan: None,
            lan_address: None,
            derp_port: 443,
            stun_port: 3478,
        },
    };
    Ledger::open(store, Policy::default(), settings, Arc::new(|| WallTime::Unknown), [2; 32])
        .expect("an empty store")
}

async fn wait_for(pulse: &mut watch::Receiver<Pulse>, beat: Beat) -> Vec<String> {
    let found = pulse.wait_for(|pulse| pulse.beat == beat);
    let found = tokio::time::timeout(Duration::from_secs(20), found).await;
    found.expect("it comes to that").expect("somebody looks").stuck.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_that_hangs_makes_the_store_and_the_writer_stuck_until_it_goes_on() {
    let gate = Arc::new(Mutex::new(()));
    let backend = Gated { memory: InMemoryBackend::new(), gate: Arc::clone(&gate) };
    let store = Arc::new(Store::open_backend(backend).expect("memory"));
    let ledger = open(store.clone());
    let loops = RollCall::default();
    let (sender, mut pulse) = watch::channel(Pulse::default());
    tokio::spawn(ask_ledger(ledger.clone(), loops.clone(), HURRY));
    tokio::spawn(ask_store(store, loops.clone(), HURRY));
    tokio::spawn(watch(loops, sender, HURRY));
    let well = Beat { coordinator: true, store: true, ..Beat::default() };
    assert_eq!(wait_for(&mut pulse, well).await, [driver::LOOPS, edge::LOOPS], "neither was begun");

    let (close, held) = std::sync::mpsc::channel::<()>();
    let (closed, wait) = std::sync::mpsc::channel();
    let holder = std::thread::spawn(move || {
        let _held = gate.lock().unwrap_or_else(PoisonError::into_inner);
        closed.send(()).expect("waited for");
        held.recv().ok();
    });
    wait.recv().expect("closed");
    let request =
        crate::coordinator::core::admin_view::UserRequest { name: "anna".into(), ..Default::default() };
    let change = tokio::spawn(async move { ledger.create_user(request).await });
    let stuck = wait_for(&mut pulse, Beat::default()).await;
    assert_eq!(stuck, ["coordinator's writer", "store", driver::LOOPS, edge::LOOPS]);

    drop(close);
    holder.join().expect("no panic");
    change.await.expect("no panic").expect("stored after all");
    wait_for(&mut pulse, well).await;
}
