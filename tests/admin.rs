//! The administration commands as a person types them, against a coordinator behind its socket.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::Parser;
use genkan::base::wall_time::{UnixTime, WallTime};
use genkan::cli::{AdminCommand, CliError};
use genkan::config;
use genkan::coordinator::admin_api::{self, AdminApi, PolicySource, stored_policy};
use genkan::coordinator::core::relay_map::RelaySettings;
use genkan::coordinator::core::tailnet::TailnetSettings;
use genkan::coordinator::ledger::Ledger;
use genkan::coordinator::store::Store;
use genkan::wire::key::{DiscoPublic, MachinePublic, NodePublic};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const POLICY: &str = r#"{ "hosts": { "machine-a": "100.64.0.2" }, "acls": [] }"#;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: AdminCommand,
}

/// A coordinator with its socket in a directory of its own.
struct Coordinator {
    state: TempDir,
    store: Arc<Store>,
    policy_file: Arc<Mutex<Option<PathBuf>>>,
}

impl Coordinator {
    fn start() -> Self {
        let state = TempDir::new().expect("a temporary directory");
        let store = Store::open_backend(redb::backends::InMemoryBackend::new()).expect("memory");
        let store = Arc::new(store);
        let wall = Arc::new(|| WallTime::Known(UnixTime(1_795_305_600)));
        let policy = config::policy::parse("acl.json", POLICY).expect("a valid policy");
        let ledger = Ledger::open(store.clone(), policy, settings(), wall, [1; 32]).expect("an empty store");
        let policy_file = Arc::new(Mutex::new(None));
        let source = policy_source(policy_file.clone());
        let listener = admin_api::bind(state.path()).expect("a new socket");
        let api = AdminApi::new(ledger, store.clone(), source);
        tokio::spawn(admin_api::serve(listener, api, CancellationToken::new()));
        Self { state, store, policy_file }
    }

    async fn answer(&self, line: &str) -> Result<(Value, String), CliError> {
        answer(self.state.path(), line).await
    }

    async fn json(&self, line: &str) -> Value {
        self.answer(line).await.unwrap_or_else(|error| panic!("{line}: {error}")).0
    }

    /// The sentence of a refusal.
    async fn refusal(&self, line: &str) -> String {
        match self.answer(line).await {
            Err(CliError::Refused(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.state.path().join(name);
        std::fs::write(&path, text).expect("a temporary file");
        path
    }
}

async fn answer(state: &Path, line: &str) -> Result<(Value, String), CliError> {
    let words = std::iter::once("genkan").chain(line.split(' '));
    let arguments = Arguments::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
    let report = genkan::cli::answer(state, arguments.command).await?;
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

fn settings() -> TailnetSettings {
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

#[tokio::test]
async fn users_are_made_listed_renamed_and_destroyed() {
    let house = Coordinator::start();
    let user = house.json("users create alice --display-name Alice").await;
    assert_eq!((&user["name"], &user["display_name"]), (&json!("alice"), &json!("Alice")));
    let (listed, table) = house.answer("users list").await.expect("a list");
    let found = listed.as_array().expect("a list").iter().filter(|user| user["name"] == "alice");
    assert_eq!(found.count(), 1);
    assert!(table.lines().any(|line| line.contains("alice")), "{table}");
    let id = &user["id"];
    let renamed = house.json(&format!("users rename -i {id} -r bob@example.com")).await;
    assert_eq!(renamed["name"], "bob@example.com");
    house.json("users destroy --name bob@example.com --force").await;
    assert!(house.refusal("users destroy -n bob@example.com").await.contains("no user bob@example.com"));
    assert!(!house.refusal("users rename -n nobody -r somebody").await.is_empty());
}

#[tokio::test]
async fn two_users_cannot_share_a_name() {
    let house = Coordinator::start();
    house.json("users create alice").await;
    assert!(house.refusal("users create alice").await.contains("alice"));
}

#[tokio::test]
async fn a_key_is_shown_whole_once() {
    let house = Coordinator::start();
    house.json("users create alice").await;
    let created = house.json("preauthkeys create --user alice --reusable --expiration 24h").await;
    let key = created["key"].as_str().expect("a key").to_owned();
    assert!(key.len() >= 32, "long enough not to be guessed");
    assert_eq!((&created["reusable"], &created["user"]["name"]), (&json!(true), &json!("alice")));
    let (listed, table) = house.answer("preauthkeys list").await.expect("a list");
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert!(!listed.to_string().contains(&key) && !table.contains(&key));
    let id = &created["id"];
    house.json(&format!("preauthkeys expire --id {id}")).await;
    house.json(&format!("preauthkeys delete -i {id}")).await;
    assert_eq!(house.json("preauthkeys list").await, json!([]));
    assert!(!house.refusal(&format!("preauthkeys expire --id {id}")).await.is_empty());
}

#[tokio::test]
async fn a_key_for_a_host_needs_the_host_in_the_policy() {
    let house = Coordinator::start();
    let key = house.json("preauthkeys create --host machine-a").await;
    assert_eq!(key["host"], "machine-a");
    assert!(house.refusal("preauthkeys create --host machine-z").await.contains("machine-z"));
}

#[tokio::test]
async fn the_gateway_is_listed_and_cannot_be_deleted() {
    let house = Coordinator::start();
    let nodes = house.json("nodes list").await;
    let gateway = &nodes[0];
    assert_eq!(gateway["ip_addresses"][0], "100.64.0.1");
    assert!(!house.refusal(&format!("nodes delete -i {} --force", gateway["id"])).await.is_empty());
    for line in [
        "nodes delete -i 999",
        "nodes expire -i 999",
        "nodes rename -i 999 other",
        "nodes tag -i 999 -t tag:x",
    ] {
        assert!(house.refusal(line).await.contains("999"), "{line}");
    }
}

#[tokio::test]
async fn a_policy_in_the_state_can_be_replaced_and_survives() {
    let house = Coordinator::start();
    assert!(house.refusal("policy get").await.contains("policy set"));
    let text = "// who may\n{ \"acls\": [] }";
    let file = house.write("new.json", text);
    house.json(&format!("policy check -f {}", file.display())).await;
    assert_eq!(stored_policy(&house.store).expect("readable"), None, "checking changes nothing");
    house.json(&format!("policy set -f {}", file.display())).await;
    assert_eq!(house.answer("policy get").await.expect("a policy").1, text);
    assert_eq!(stored_policy(&house.store).expect("readable").as_deref(), Some(text));
}

#[tokio::test]
async fn a_wrong_policy_is_refused_with_its_place() {
    let house = Coordinator::start();
    let file = house.write("wrong.json", "{\n  \"acls\": 7\n}");
    for command in ["check", "set"] {
        let refusal = house.refusal(&format!("policy {command} -f {}", file.display())).await;
        assert!(refusal.contains(":2:"), "{refusal}");
    }
    assert_eq!(stored_policy(&house.store).expect("readable"), None);
}

#[tokio::test]
async fn a_policy_in_a_file_is_the_files() {
    let house = Coordinator::start();
    let file = house.write("acl.json", POLICY);
    *house.policy_file.lock().expect("nobody panics") = Some(file.clone());
    assert_eq!(house.answer("policy get").await.expect("a policy").1, POLICY);
    let refusal = house.refusal(&format!("policy set -f {}", file.display())).await;
    assert!(refusal.contains(&file.display().to_string()), "{refusal}");
}

#[tokio::test]
async fn health_is_good() {
    assert_eq!(Coordinator::start().json("health").await, json!({ "database_connectivity": true }));
}

#[tokio::test]
async fn an_absent_genkan_is_told_with_the_cure() {
    let state = TempDir::new().expect("a temporary directory");
    let error = answer(state.path(), "health").await.expect_err("nobody listens");
    assert!(
        error.to_string().contains(&format!("genkan serve --state {}", state.path().display())),
        "{error}"
    );
    std::os::unix::net::UnixListener::bind(state.path().join("genkan.sock")).expect("a socket that dies");
    let error = answer(state.path(), "health").await.expect_err("a dead socket");
    assert!(matches!(error, CliError::NotRunning { .. }), "{error}");
}

#[tokio::test]
async fn a_dead_socket_is_taken_over_and_a_living_one_is_not() {
    use std::os::unix::fs::PermissionsExt;
    let state = TempDir::new().expect("a temporary directory");
    drop(admin_api::bind(state.path()).expect("a new socket"));
    let _listener = admin_api::bind(state.path()).expect("the dead socket's place");
    let mode = std::fs::metadata(state.path().join("genkan.sock")).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert!(matches!(admin_api::bind(state.path()), Err(admin_api::BindError::InUse(_))));
}
