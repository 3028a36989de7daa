//! A coordinator with its admin interface on a socket and over TLS, and commands as a person types them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use clap::Parser;
use genkan::base::secret::Secret;
use genkan::base::wall_time::{UnixTime, WallTime};
use genkan::cli::{AdminCommand, CliError, Destination};
use genkan::config;
use genkan::coordinator::admin_api::{self, AdminApi, Certificate, PolicySource, UpdateDesk, UpdateSeam};
use genkan::coordinator::core::relay_map::RelaySettings;
use genkan::coordinator::core::tailnet::TailnetSettings;
use genkan::coordinator::ledger::Ledger;
use genkan::coordinator::store::Store;
use genkan::wire::key::{DiscoPublic, MachinePublic, NodePublic};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub const POLICY: &str = r#"{ "hosts": { "machine-a": "100.64.0.2" }, "acls": [] }"#;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: AdminCommand,
}

pub struct Coordinator {
    pub state: TempDir,
    pub store: Arc<Store>,
    pub ledger: Ledger,
    pub policy_file: Arc<Mutex<Option<PathBuf>>>,
    /// Where it answers over TLS.
    pub address: SocketAddr,
    /// Seconds since 1970.
    pub clock: Arc<AtomicI64>,
    _stop: tokio_util::sync::DropGuard,
}

impl Coordinator {
    pub async fn start() -> Self {
        let store = Store::open_backend(redb::backends::InMemoryBackend::new()).expect("memory");
        Self::start_with(Arc::new(store), None).await
    }

    /// As the card's worker when there is a `seam`.
    pub async fn start_with(store: Arc<Store>, seam: Option<UpdateSeam>) -> Self {
        let state = TempDir::new().expect("a temporary directory");
        let clock = Arc::new(AtomicI64::new(1_795_305_600));
        let read = Arc::clone(&clock);
        let wall = Arc::new(move || WallTime::Known(UnixTime(read.load(Ordering::Relaxed))));
        let policy = config::policy::parse("acl.json", POLICY).expect("a valid policy");
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("the kernel has randomness");
        let ledger = Ledger::open(store.clone(), policy, settings(), wall, seed).expect("a good store");
        let policy_file = Arc::new(Mutex::new(None));
        let source = policy_source(policy_file.clone());
        let certificate = Certificate::open(&store).expect("a good store");
        let updates = UpdateDesk::new(state.path(), seam);
        let api = AdminApi::new(ledger.clone(), store.clone(), source, certificate.pin(), updates);
        let stop = CancellationToken::new();
        let socket = admin_api::bind(state.path()).expect("a new socket");
        let listener = TcpListener::bind("[::]:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(admin_api::serve(socket, api.clone(), stop.clone()));
        tokio::spawn(admin_api::serve_tls(listener, api, certificate, stop.clone()));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self { state, store, ledger, policy_file, address, clock, _stop: stop.drop_guard() }
    }

    pub fn here(&self) -> Destination {
        Destination::here(self.state.path())
    }

    /// By TLS with `key`.
    pub fn there(&self, key: &str) -> Destination {
        Destination {
            address: Some(self.address.to_string()),
            api_key: Some(Secret::new(key.to_owned())),
            ..Destination::here("/nonexistent")
        }
    }

    pub async fn answer(&self, line: &str) -> Result<(Value, String), CliError> {
        answer(&self.here(), line).await
    }

    pub async fn json(&self, line: &str) -> Value {
        self.answer(line).await.unwrap_or_else(|error| panic!("{line}: {error}")).0
    }

    /// The sentence of a refusal.
    pub async fn refusal(&self, line: &str) -> String {
        match self.answer(line).await {
            Err(CliError::Refused(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.state.path().join(name);
        std::fs::write(&path, text).expect("a temporary file");
        path
    }
}

pub async fn answer(destination: &Destination, line: &str) -> Result<(Value, String), CliError> {
    let words = std::iter::once("genkan").chain(line.split(' '));
    let arguments = Arguments::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
    let report = genkan::cli::answer(destination, arguments.command).await?;
    Ok((report.json().clone(), report.as_text().to_owned()))
}

fn policy_source(file: Arc<Mutex<Option<PathBuf>>>) -> PolicySource {
    PolicySource {
        file: Arc::new(move || file.lock().expect("nobody panics").clone()),
        parse: Arc::new(|text| {
            let parsed = config::policy::parse("policy", text);
            parsed.map_err(|problems| problems.iter().map(ToString::to_string).collect())
        }),
    }
}

pub fn settings() -> TailnetSettings {
    TailnetSettings {
        base_domain: "home.test".into(),
        gateway_node: NodePublic::from_bytes([1; 32]),
        gateway_machine: MachinePublic::from_bytes([2; 32]),
        gateway_disco: DiscoPublic::from_bytes([3; 32]),
        relay: RelaySettings {
            host_name: "gate.example".into(),
            certificate_pin: None,
            lan: None,
            lan_address: None,
            derp_port: 443,
            stun_port: 3478,
        },
    }
}
