//! A coordinator in memory.

use std::sync::Arc;

use genkan::base::rng::SeededRng;
use genkan::base::wall_time::{UnixTime, WallTime};
use genkan::coordinator::core::admin_view::{KeyRequest, UserRequest};
use genkan::coordinator::core::policy::Policy;
use genkan::coordinator::ledger::{Ledger, Origin, RelaySettings, TailnetSettings};
use genkan::coordinator::metrics::ControlMetrics;
use genkan::coordinator::relay_server::{RelayMetrics, RelayServer};
use genkan::coordinator::server::Server;
use genkan::coordinator::store::Store;
use genkan::wire::key::{DiscoPrivate, MachinePublic, NodePrivate};
use prometheus_client::registry::Registry;
use redb::backends::InMemoryBackend;
use serde_json::{Value, json};

pub struct House {
    pub server: Server,
    pub ledger: Ledger,
    key: MachinePublic,
}

impl House {
    pub fn new() -> Self {
        let mut rng = SeededRng::new([1; 32]);
        let store = Store::open_backend(InMemoryBackend::new()).expect("memory");
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
        let wall = Arc::new(|| WallTime::Known(UnixTime(1_800_000_000)));
        let ledger = Ledger::open(Arc::new(store), Policy::default(), settings, wall, [2; 32])
            .expect("an empty store");
        let mut registry = Registry::default();
        let relay = RelayServer::new(identity.relay, Arc::new(|_| true), RelayMetrics::new(&mut registry));
        let key = identity.noise.public();
        let metrics = ControlMetrics::new(&mut registry);
        let server = Server::new(ledger.clone(), identity.noise, relay, metrics, [3; 32]);
        Self { server, ledger, key }
    }

    pub fn key(&self) -> MachinePublic {
        self.key
    }

    pub fn origin() -> Origin {
        Origin {
            peer: "192.168.1.20:50000".parse().expect("an address"),
            local: "192.168.1.2:8080".parse().expect("an address"),
        }
    }

    /// A registration with a fresh pre-auth key.
    pub async fn register_request(&self, node: &NodePrivate) -> Value {
        let user =
            self.ledger.create_user(UserRequest { name: "anna".into(), ..UserRequest::default() }).await;
        let user = user.expect("a new user").id;
        let key = self.ledger.create_key(KeyRequest { user: Some(user), ..KeyRequest::default() }).await;
        json!({"Version": 142, "NodeKey": node.public(), "Hostinfo": {"Hostname": "machine"},
            "Auth": {"AuthKey": key.expect("a new key").key}})
    }
}
