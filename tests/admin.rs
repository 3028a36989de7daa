//! Administration against a coordinator with a real store: commands as a person types them, here and from another machine;
//! updates; the sheet for joining.

#[path = "admin/house.rs"]
mod house;
#[path = "admin/remote.rs"]
mod remote;
#[path = "admin/sheet.rs"]
mod sheet;
#[path = "admin/updates.rs"]
mod updates;

use genkan::cli::{CliError, Destination};
use genkan::coordinator::admin_api::{self, stored_policy};
use house::{Coordinator, POLICY, answer};
use serde_json::json;
use tempfile::TempDir;

#[tokio::test]
async fn users_are_made_listed_renamed_and_destroyed() {
    let house = Coordinator::start().await;
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
    let house = Coordinator::start().await;
    house.json("users create alice").await;
    assert!(house.refusal("users create alice").await.contains("alice"));
}

#[tokio::test]
async fn a_key_is_shown_whole_once() {
    let house = Coordinator::start().await;
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
    let house = Coordinator::start().await;
    let key = house.json("preauthkeys create --host machine-a").await;
    assert_eq!(key["host"], "machine-a");
    assert!(house.refusal("preauthkeys create --host machine-z").await.contains("machine-z"));
}

#[tokio::test]
async fn the_gateway_is_listed_and_cannot_be_deleted() {
    let house = Coordinator::start().await;
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
    let house = Coordinator::start().await;
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
    let house = Coordinator::start().await;
    let file = house.write("wrong.json", "{\n  \"acls\": 7\n}");
    for command in ["check", "set"] {
        let refusal = house.refusal(&format!("policy {command} -f {}", file.display())).await;
        assert!(refusal.contains(":2:"), "{refusal}");
    }
    assert_eq!(stored_policy(&house.store).expect("readable"), None);
}

#[tokio::test]
async fn a_policy_in_a_file_is_the_files() {
    let house = Coordinator::start().await;
    let file = house.write("acl.json", POLICY);
    *house.policy_file.lock().expect("nobody panics") = Some(file.clone());
    assert_eq!(house.answer("policy get").await.expect("a policy").1, POLICY);
    let refusal = house.refusal(&format!("policy set -f {}", file.display())).await;
    assert!(refusal.contains(&file.display().to_string()), "{refusal}");
}

#[tokio::test]
async fn health_is_good() {
    assert_eq!(Coordinator::start().await.json("health").await, json!({ "database_connectivity": true }));
}

#[tokio::test]
async fn an_absent_genkan_is_told_with_the_cure() {
    let state = TempDir::new().expect("a temporary directory");
    let error = answer(&Destination::here(state.path()), "health").await.expect_err("nobody listens");
    assert!(
        error.to_string().contains(&format!("genkan serve --state {}", state.path().display())),
        "{error}"
    );
    std::os::unix::net::UnixListener::bind(state.path().join("genkan.sock")).expect("a socket that dies");
    let error = answer(&Destination::here(state.path()), "health").await.expect_err("a dead socket");
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
