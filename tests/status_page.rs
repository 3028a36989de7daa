//! The status page over a real coordinator and a real edge, asked for by HTTP.

#[path = "edge/client.rs"]
mod client;
#[allow(dead_code, reason = "only the ledger is of use here")]
#[path = "control_channel/house.rs"]
mod coordinator;
#[path = "edge/house.rs"]
mod edge;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use genkan::app::house::House;
use genkan::app::monitor;
use genkan::base::condition::{Condition, Severity};
use genkan::base::wall_time::{UnixTime, WallTime};
use genkan::config::model::Model;
use genkan::web::metrics::{self, Pages};
use genkan::wire::supervision::BoxStatus;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use client::plain;
use edge::{MemoryStore, get, read, route, soon};

const OFFLINE: ([u8; 4], u16) = ([100, 64, 0, 7], 22);

/// A house whose one site leads to an address that no machine has.
async fn house() -> (Arc<House>, edge::House) {
    let coordinator = coordinator::House::new();
    let settings = edge::settings(vec![route(&["app.example.com"], &[SocketAddr::from(OFFLINE)])]).await;
    let (_, wall) = watch::channel(WallTime::Known(UnixTime(1_800_000_000)));
    let served = edge::House::with(settings, MemoryStore::default()).await;
    let rooms = (served.settings.health.clone(), coordinator.ledger, served.edge.view());
    let house = Arc::new(House::new(&Model::default(), watch::channel(None).1, rooms, wall));
    tokio::spawn(monitor::watch(house.clone()));
    (house, served)
}

async fn pages(house: &Arc<House>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let pages =
        Arc::new(Pages { registry: Registry::default(), status: house.clone(), stuck: Arc::new(Vec::new) });
    tokio::spawn(metrics::serve(listener, pages, CancellationToken::new()));
    address
}

async fn page(at: SocketAddr, path: &str) -> String {
    let mut request = get(path);
    request.headers_mut().insert("host", "127.0.0.1".parse().expect("a value"));
    read(soon(plain(at).await.send(request)).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_rooms_and_one_cause_in_the_place_of_its_consequences() {
    let (house, _edge) = house().await;
    let at = pages(&house).await;
    let alone = soon(async {
        loop {
            let shown = page(at, "/").await;
            if shown.contains("JOIN-01") && shown.contains("PUB-04") {
                return shown;
            }
        }
    })
    .await;
    assert!(!alone.contains("JOIN-04"), "nobody has joined, so this one has not either: {alone}");
    for part in ["app.example.com", "100.64.0.7:22", "machine has not joined", "this entrance"] {
        assert!(alone.contains(part), "{part}: {alone}");
    }
    let json: serde_json::Value = serde_json::from_str(&page(at, "/status.json").await).expect("JSON");
    assert_eq!(json["nodes"][0]["addresses"][0], "100.64.0.1");
    assert_eq!(json["box"], serde_json::Value::Null);

    house.set_machine(BoxStatus {
        board: "Raspberry Pi 4".into(),
        slot: "b".into(),
        conditions: vec![Condition::new("NET-02", Severity::Error, "No network cable leads anywhere.")],
        ..BoxStatus::default()
    });
    house.set_update("written, trying it".into(), false, false);
    let boxed = page(at, "/").await;
    for part in ["NET-02", "Raspberry Pi 4", "slot B", "written, trying it", "Needs you"] {
        assert!(boxed.contains(part), "{part}: {boxed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pid_1_is_told_when_something_changes_and_only_then() {
    let (house, _edge) = house().await;
    let (conditions, mut told) = watch::channel(Vec::new());
    let (summary, mut lines) = watch::channel(Vec::new());
    tokio::spawn(monitor::publish(house.clone(), conditions, summary));
    let is_told = |all: &Vec<Condition>| all.iter().any(|one| one.code == "JOIN-01");
    soon(told.wait_for(is_told)).await.expect("it is told");
    soon(lines.wait_for(|lines| lines.iter().any(|line| line.contains("app.example.com"))))
        .await
        .expect("lines");
    // Two rounds of looking bring nothing new.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    told.mark_unchanged();
    lines.mark_unchanged();
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert!(!told.has_changed().expect("alive") && !lines.has_changed().expect("alive"));
    house.health.set(Condition::new("CFG-10", Severity::Error, "x"), std::time::Instant::now());
    soon(told.wait_for(|all| all[0].code == "CFG-10")).await.expect("it is told");
}
