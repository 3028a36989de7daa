//! Administration from another machine: by API key over TLS, and nobody else.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use genkan::base::rng::SeededRng;
use genkan::cli::CliError;
use genkan::coordinator::store::Store;
use genkan::wire::api_key::{ApiKeyText, Pin};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::house::{Coordinator, answer};

const DAY: i64 = 24 * 3600;

pub async fn new_key(house: &Coordinator, expiration: &str) -> String {
    let key = house.json(&format!("apikeys create --expiration {expiration}")).await;
    key.as_str().expect("the key alone").to_owned()
}

pub async fn there(house: &Coordinator, key: &str, line: &str) -> Result<Value, CliError> {
    answer(&house.there(key), line).await.map(|(json, _)| json)
}

/// The sentence of a refusal.
async fn refused(house: &Coordinator, key: &str, line: &str) -> String {
    match there(house, key, line).await {
        Err(CliError::Refused(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[tokio::test]
async fn every_command_works_from_another_machine() {
    let house = Coordinator::start().await;
    let key = new_key(&house, "90d").await;
    let prefix = ApiKeyText::parse(&key).expect("a whole key").prefix;
    let listed = house.json("apikeys list").await;
    assert_eq!((&listed[0]["prefix"], &listed[0]["id"]), (&json!(prefix), &json!(1)));
    assert!(listed[0]["last_seen"].is_null() && !listed.to_string().contains(&key));
    let ask =
        async |line: &str| there(&house, &key, line).await.unwrap_or_else(|error| panic!("{line}: {error}"));

    assert_eq!(ask("health").await, json!({ "database_connectivity": true }));
    ask("users create alice").await;
    assert_eq!(house.json("users list").await, ask("users list").await);
    assert_eq!(ask("preauthkeys create --host machine-a").await["host"], "machine-a");
    assert_eq!(ask("nodes list").await[0]["ip_addresses"][0], "100.64.0.1");
    let file = house.write("new.json", "{ \"acls\": [] }");
    ask(&format!("policy set -f {}", file.display())).await;
    assert_eq!(answer(&house.there(&key), "policy get").await.expect("a policy").1, "{ \"acls\": [] }");
    assert_eq!(ask("apikeys list").await[0]["last_seen"], "2026-11-22T00:00:00Z");
}

#[tokio::test]
async fn a_key_ends_by_time_by_hand_and_by_deletion() {
    let house = Coordinator::start().await;
    let [by_time, by_hand, deleted] =
        [new_key(&house, "never").await, new_key(&house, "90d").await, new_key(&house, "90d").await];
    let prefix = |key: &str| ApiKeyText::parse(key).expect("a whole key").prefix;
    house.json(&format!("apikeys expire --prefix {}", prefix(&by_hand))).await;
    assert!(refused(&house, &by_hand, "health").await.contains("has ended"));
    house.json(&format!("apikeys delete --prefix {}", prefix(&deleted))).await;
    assert!(refused(&house, &deleted, "health").await.contains("not known here"));
    assert!(house.refusal(&format!("apikeys delete -p {}", prefix(&deleted))).await.contains("no API key"));

    there(&house, &by_time, "health").await.expect("it never ends");
    let short = new_key(&house, "90d").await;
    there(&house, &short, "health").await.expect("it has not ended");
    // The command line counts from the clock of its own machine, which is not before this program was written.
    house.clock.store(1_795_305_600 + 2000 * DAY, Ordering::Relaxed);
    assert!(refused(&house, &short, "health").await.contains("has ended"));
    there(&house, &by_time, "health").await.expect("it never ends");
    // A key may end itself.
    there(&house, &by_time, &format!("apikeys expire -p {}", prefix(&by_time))).await.expect("it may do all");
    assert!(refused(&house, &by_time, "health").await.contains("has ended"));
}

#[tokio::test]
async fn keys_certificate_and_last_use_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("genkan.redb");
    let store = Arc::new(Store::open(&path).expect("a new file"));
    let house = Coordinator::start_with(store, None).await;
    let key = new_key(&house, "90d").await;
    there(&house, &key, "health").await.expect("a good key");
    house.ledger.save().await;
    drop(house);
    let store = Arc::new(super::sheet::reopened(&path).await);
    let house = Coordinator::start_with(store, None).await;
    assert_eq!(house.json("apikeys list").await[0]["last_seen"], "2026-11-22T00:00:00Z");
    there(&house, &key, "health").await.expect("the same box");
}

/// A key of another box, or of this one before it was reset: the secret is not even sent.
#[tokio::test]
async fn another_box_is_told_from_the_right_one_before_anything_is_sent() {
    let (house, other) = (Coordinator::start().await, Coordinator::start().await);
    let key = new_key(&other, "90d").await;
    for _ in 0..15 {
        let error = there(&house, &key, "health").await.expect_err("another public key");
        assert!(matches!(error, CliError::AnotherBox { .. }), "{error}");
        assert!(error.to_string().contains("reset"), "{error}");
    }
    let own = new_key(&house, "90d").await;
    there(&house, &own, "health").await.expect("no failure was counted");
}

#[tokio::test]
async fn guesses_are_refused_and_soon_not_even_looked_at() {
    let house = Coordinator::start().await;
    let good = new_key(&house, "90d").await;
    let ApiKeyText { prefix, pin, .. } = ApiKeyText::parse(&good).expect("a whole key");
    let guess = |seed| {
        let guess = ApiKeyText::mint(&mut SeededRng::new([seed; 32]), pin);
        ApiKeyText { prefix: prefix.clone(), ..guess }.whole()
    };
    let mut answers = Vec::new();
    for seed in 0..12 {
        answers.push(refused(&house, guess(seed).expose(), "health").await);
    }
    assert!(answers[..10].iter().all(|text| text.contains("not known here")), "{answers:?}");
    assert!(answers[10..].iter().all(|text| text.contains("wait a minute")), "{answers:?}");
    assert!(refused(&house, &good, "health").await.contains("wait a minute"), "whatever is shown");
    house.json("health").await;
}

#[tokio::test]
async fn nobody_there_and_somebody_else_are_told_apart() {
    let house = Coordinator::start().await;
    let key = new_key(&house, "90d").await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = free.local_addr().expect("bound").to_string();
    let at = |address: &str| {
        let mut there = house.there(&key);
        there.address = Some(address.to_owned());
        there
    };
    let greeter = tokio::spawn(async move {
        let (mut stream, _) = free.accept().await.expect("a connection");
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.expect("it listens");
        let _ = stream.read(&mut [0; 1024]).await;
        let (stream, _) = free.accept().await.expect("a connection");
        drop(stream);
    });
    let error = answer(&at(&address), "health").await.expect_err("an SSH server");
    assert!(matches!(error, CliError::NotGenkan { .. }), "{error:?}");
    let error = answer(&at(&address), "health").await.expect_err("it hangs up");
    assert!(matches!(error, CliError::TurnedAway { .. }), "{error:?}");
    greeter.await.expect("no panic");
    let error = answer(&at(&address), "health").await.expect_err("nobody listens");
    assert!(
        matches!(error, CliError::Unreachable { .. }) && error.to_string().contains("STATUS.txt"),
        "{error:?}"
    );
}

/// What a public page, a scanner or a broken client sends: each ends in a refusal or a closed connection, and the next good
/// request is served.
#[tokio::test]
async fn hostile_bytes_end_no_service() {
    let house = Coordinator::start().await;
    let key = new_key(&house, "90d").await;
    let mut runner = TestRunner::deterministic();
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, 0..600);
    for number in 0..60 {
        let mut message = bytes.new_tree(&mut runner).expect("bytes").current();
        if number % 3 == 0 {
            // The beginning of a TLS record, and then anything.
            message.splice(0..0, [0x16, 3, 1, 2, 0, 1, 0]);
        }
        let mut stream = TcpStream::connect(house.address).await.expect("it listens");
        let _ = stream.write_all(&message).await;
        let _ = stream.shutdown().await;
        read_to_end(&mut stream).await;
    }
    for request in [
        "GET /api/v1/node HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /api/v1/node HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YTpi\r\n\r\n",
        "GET /api/v1/node HTTP/1.1\r\nHost: x\r\nCookie: a=b\r\nOrigin: https://evil.example\r\n\r\n",
        "POST /api/v1/update HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nxxxx",
    ] {
        let answer = ask_raw(&house, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{request}: {answer}");
        assert!(answer.contains("connection: close") && !answer.contains("access-control"), "{answer}");
    }
    for request in [
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(20_000)),
        format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100)),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "\0\0\0\0\r\n\r\n".to_owned(),
    ] {
        let answer = ask_raw(&house, request.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    there(&house, &key, "health").await.expect("it serves on");
}

#[tokio::test]
async fn one_machine_cannot_take_all_places() {
    let house = Coordinator::start().await;
    let key = new_key(&house, "90d").await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(TcpStream::connect(house.address).await.expect("it listens"));
    }
    let error = there(&house, &key, "health").await.expect_err("eight connections wait for their handshake");
    assert!(matches!(error, CliError::TurnedAway { .. }), "{error:?}");
    // Another machine is not held up.
    let elsewhere = tokio::net::TcpSocket::new_v4().expect("a socket");
    elsewhere.bind("127.0.0.2:0".parse().expect("an address")).expect("loopback");
    let stream = elsewhere.connect(house.address).await.expect("it listens");
    let answer = talk(&house, stream, b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    drop(idle);
    for _ in 0..100 {
        if there(&house, &key, "health").await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("places do not come free again");
}

/// From an address that is not of the house. Needs root, for a network namespace: `cargo test -- --ignored`.
#[test]
#[ignore = "needs root"]
fn a_stranger_is_turned_away_before_the_handshake() {
    // A thread of its own takes the namespace with it.
    std::thread::spawn(ask_as_a_stranger).join().expect("no panic");
}

fn ask_as_a_stranger() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("root");
    for line in ["link set lo up", "addr add 203.0.113.5/32 dev lo"] {
        let ip = std::process::Command::new("ip").args(line.split(' ')).status();
        assert!(ip.expect("ip is installed").success(), "{line}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let house = Coordinator::start().await;
        let key = new_key(&house, "90d").await;
        let mut outside = house.there(&key);
        outside.address = Some(format!("203.0.113.5:{}", house.address.port()));
        let error = answer(&outside, "health").await.expect_err("the source is a public address");
        assert!(matches!(error, CliError::TurnedAway { .. }), "{error:?}");
        there(&house, &key, "health").await.expect("from loopback");
    });
}

/// The answer to bytes sent inside TLS, until the connection ends.
pub async fn ask_raw(house: &Coordinator, request: &[u8]) -> String {
    talk(house, TcpStream::connect(house.address).await.expect("it listens"), request).await
}

async fn talk(house: &Coordinator, stream: TcpStream, request: &[u8]) -> String {
    let pem = house.store.blob("admin/certificate").expect("memory").expect("made at the start");
    let leaf = CertificateDer::from_pem_slice(&pem).expect("a certificate");
    assert!(Pin::of_certificate(&leaf).is_some());
    let mut roots = RootCertStore::empty();
    roots.add(leaf).expect("it signed itself");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("TLS 1.3").with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("genkan.internal").expect("a name");
    let mut stream =
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("the certificate's own key");
    let _ = stream.write_all(request).await;
    if request.ends_with(b"short") {
        // The rest of it never comes.
        let _ = stream.shutdown().await;
    }
    read_to_end(&mut stream).await
}

async fn read_to_end(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut text)).await;
    assert!(end.is_ok(), "the connection stays open");
    String::from_utf8_lossy(&text).into_owned()
}
