//! The control channel end to end, in memory: HTTP/1.1, upgrade, Noise, HTTP/2, register, map.

#[path = "control_channel/client.rs"]
mod client;
#[path = "edge/house.rs"]
mod edge;
#[path = "control_channel/house.rs"]
mod house;
#[path = "control_channel/shared_ports.rs"]
mod shared_ports;

use client::{Channel, Door};
use genkan::wire::control::CAPABILITY_FLOOR;
use genkan::wire::key::{MachinePrivate, NodePrivate};
use house::House;
use http::StatusCode;
use serde_json::json;

#[tokio::test]
async fn the_key_is_served_and_everything_else_explains_itself() {
    let house = House::new();
    let mut door = Door::open(&house).await;
    let (status, body) = door.get("/key?v=142").await;
    assert_eq!(status, StatusCode::OK);
    let keys: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(keys["publicKey"], house.key().to_string());
    assert_eq!(keys["legacyPublicKey"], format!("mkey:{}", "0".repeat(64)));
    for (path, want) in [
        ("/key", StatusCode::BAD_REQUEST),
        ("/derp", StatusCode::UPGRADE_REQUIRED),
        ("/derp/probe", StatusCode::OK),
        ("/generate_204", StatusCode::NO_CONTENT),
        ("/health", StatusCode::OK),
        ("/machine/map", StatusCode::NOT_FOUND),
        ("/ts2021", StatusCode::UPGRADE_REQUIRED),
        ("/elsewhere", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(door.get(path).await.0, want, "{path}");
    }
}

#[tokio::test]
async fn a_machine_registers_and_reads_its_map_compressed_and_plain() {
    let house = House::new();
    let node = NodePrivate::from_bytes([5; 32]);
    let mut channel = Channel::open(&house, MachinePrivate::from_bytes([4; 32])).await;
    let (status, answer) = channel.post("/machine/register", &house.register_request(&node).await).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["MachineAuthorized"], true, "{answer}");

    for compress in ["zstd", ""] {
        let request = json!({"Version": 142, "NodeKey": node.public(), "Stream": true, "KeepAlive": true,
            "Compress": compress, "Hostinfo": {"Hostname": "machine"}});
        let mut stream = channel.stream(&request).await;
        let first = stream.next(compress == "zstd").await.expect("a first message");
        let own = first.node.expect("the viewer's own node");
        assert_eq!(own.key, node.public());
        assert!(own.machine_authorized);
        assert!(first.derp_map.is_some_and(|map| !map.regions.is_empty()));

        let update = json!({"Version": 142, "NodeKey": node.public(), "OmitPeers": true, "Endpoints": ["192.0.2.1:41641"]});
        let (status, body) = channel.post("/machine/map", &update).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, ""), "an update beside an open stream");
    }
}

#[tokio::test]
async fn requests_of_strangers_are_refused_in_words() {
    let house = House::new();
    let mut channel = Channel::open(&house, MachinePrivate::from_bytes([4; 32])).await;
    let node = NodePrivate::from_bytes([6; 32]).public();
    let unknown = json!({"Version": 142, "NodeKey": node, "Stream": true, "Compress": "zstd"});
    assert_eq!(channel.post("/machine/map", &unknown).await.0, StatusCode::NOT_FOUND);
    let old = json!({"Version": CAPABILITY_FLOOR - 1, "NodeKey": node, "Hostinfo": {"IPNVersion": "1.78.1"}});
    for path in ["/machine/register", "/machine/map"] {
        let (status, text) = channel.post(path, &old).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(text, "Tailscale 1.80 or newer is needed; this machine runs 1.78.1; update it\n");
    }
    for (path, want) in [
        ("/machine/set-dns", StatusCode::NOT_IMPLEMENTED),
        ("/machine/feature/query", StatusCode::NOT_IMPLEMENTED),
        ("/machine/tka/init/begin", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(channel.post(path, &json!({})).await.0, want, "{path}");
    }
    let long = json!({"Version": 142, "Followup": "x".repeat(100_000)});
    assert_eq!(channel.post("/machine/register", &long).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(channel.post("/machine/register", &json!("?")).await.0, StatusCode::BAD_REQUEST);
}

/// A logout of nobody ends well, but whoever sends it has shown no node.
#[tokio::test]
async fn a_stranger_stays_one_by_logging_out() {
    let house = House::new();
    let mut channel = Channel::open(&house, MachinePrivate::from_bytes([4; 32])).await;
    let node = NodePrivate::from_bytes([6; 32]).public();
    let logout = json!({"Version": 142, "NodeKey": node, "Expiry": "1970-01-01T00:02:03Z"});
    assert_eq!(channel.post("/machine/register", &logout).await.0, StatusCode::OK);
    let long = json!({"Version": 142, "NodeKey": node, "Compress": "x".repeat(100_000)});
    assert_eq!(channel.post("/machine/map", &long).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_client_with_an_old_server_key_is_told_in_its_own_protocol() {
    let house = House::new();
    let another = MachinePrivate::from_bytes([9; 32]).public();
    let text = client::refused_handshake(&house, another).await;
    assert!(text.contains("restart Tailscale"), "{text}");
}

#[tokio::test]
async fn closing_ends_streams_and_connections() {
    let house = House::new();
    let node = NodePrivate::from_bytes([5; 32]);
    let mut channel = Channel::open(&house, MachinePrivate::from_bytes([4; 32])).await;
    channel.post("/machine/register", &house.register_request(&node).await).await;
    let request = json!({"Version": 142, "NodeKey": node.public(), "Stream": true, "Compress": "zstd"});
    let mut stream = channel.stream(&request).await;
    assert!(stream.next(true).await.is_some());
    house.server.close();
    assert!(stream.next(true).await.is_none());
    channel.closed().await;
}

#[tokio::test]
async fn a_deleted_node_loses_its_stream_and_connection() {
    let house = House::new();
    let node = NodePrivate::from_bytes([5; 32]);
    let mut channel = Channel::open(&house, MachinePrivate::from_bytes([4; 32])).await;
    channel.post("/machine/register", &house.register_request(&node).await).await;
    let request = json!({"Version": 142, "NodeKey": node.public(), "Stream": true, "Compress": "zstd"});
    let mut stream = channel.stream(&request).await;
    let own = stream.next(true).await.and_then(|first| first.node).expect("the first message");
    house.ledger.delete_node(own.id).await.expect("it is there");
    while stream.next(true).await.is_some() {}
    channel.closed().await;
}
