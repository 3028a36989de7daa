//! Updates of the box as they are sent: kept whole, one at a time, and only where somebody can write them.

use std::sync::Arc;

use genkan::cli::{CliError, Client};
use genkan::coordinator::admin_api::UpdateSeam;
use genkan::coordinator::store::Store;
use genkan::wire::admin::{UPDATE_MAX, UpdateProgress};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::house::Coordinator;
use super::remote::{ask_raw, new_key, there};

#[tokio::test]
async fn an_update_is_kept_whole_and_handed_over_once() {
    let (requests, mut handed) = mpsc::channel(1);
    let progress = watch::Sender::default();
    let seam = UpdateSeam { requests, progress: progress.clone() };
    let store = Store::open_backend(redb::backends::InMemoryBackend::new()).expect("memory");
    let house = Coordinator::start_with(Arc::new(store), Some(seam)).await;
    let key = new_key(&house, "90d").await;
    let client = Client::new(house.there(&key).target().expect("a whole key"));
    let before: UpdateProgress = client.read("/update").await.expect("a card");
    assert_eq!(before, UpdateProgress::default());

    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let file = house.state.path().join("sent.gku");
    std::fs::write(&file, &content).expect("a temporary file");
    let (told, last) = watch::channel((0, 0));
    let sent = Box::new(move |sent, of| {
        told.send_replace((sent, of));
    });
    let after: UpdateProgress = client.send_file("/update", &file, sent).await.expect("room for it");
    assert!(after.is_under_way(), "{after:?}");
    assert_eq!(*last.borrow(), (12_000_000, 12_000_000));
    let name = handed.recv().await.expect("PID 1 is told");
    assert_eq!(name, "incoming/update.gku");
    assert!(std::fs::read(house.state.path().join(&name)).expect("it is kept") == content);
    assert!(!house.state.path().join("incoming/update.part").exists());

    // While it is verified no other is taken; then its end is told, and the next may come over the socket too.
    let again = |client: Client| async move {
        client.send_file::<UpdateProgress>("/update", &file, Box::new(|_, _| {})).await
    };
    let small = house.write("small.gku", "small");
    let refusal = client.send_file::<UpdateProgress>("/update", &small, Box::new(|_, _| {})).await;
    assert!(matches!(&refusal, Err(CliError::Refused(text)) if text.contains("under way")), "{refusal:?}");
    let ended = UpdateProgress { text: "refused: wrong key".into(), done: true, failed: true };
    progress.send_replace(ended.clone());
    assert_eq!(client.read::<UpdateProgress>("/update").await.expect("a card"), ended);
    again(Client::new(house.here().target().expect("a socket"))).await.expect("the last one has ended");
    assert_eq!(handed.recv().await.as_deref(), Some("incoming/update.gku"));
}

#[tokio::test]
async fn an_update_that_cannot_be_is_refused_and_leaves_nothing() {
    let unsupervised = Coordinator::start().await;
    let file = unsupervised.write("x.gku", &"x".repeat(3_000_000));
    let client = Client::new(unsupervised.here().target().expect("a socket"));
    let refusal = client.send_file::<UpdateProgress>("/update", &file, Box::new(|_, _| {})).await;
    assert!(matches!(&refusal, Err(CliError::Refused(text)) if text.contains("by hand")), "{refusal:?}");

    let (requests, _handed) = mpsc::channel(1);
    let seam = UpdateSeam { requests, progress: watch::Sender::default() };
    let store = Store::open_backend(redb::backends::InMemoryBackend::new()).expect("memory");
    let house = Coordinator::start_with(Arc::new(store), Some(seam)).await;
    let key = new_key(&house, "90d").await;
    for (length, body, want) in [(0, "", "400"), (UPDATE_MAX + 1, "x", "413"), (10, "short", "400")] {
        let request = format!(
            "POST /api/v1/update HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let answer = ask_raw(&house, request.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {want} ")), "{length}: {answer}");
        let incoming = house.state.path().join("incoming");
        let left = std::fs::read_dir(incoming).map(Iterator::count).unwrap_or_default();
        assert_eq!(left, 0, "{length}");
    }
    assert_eq!(
        there(&house, &key, "health").await.expect("it serves on"),
        json!({"database_connectivity": true})
    );
}
