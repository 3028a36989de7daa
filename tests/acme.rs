//! Certificates by ACME against a real authority: Pebble, with its own answerer of DNS queries, on loopback.
//!
//! Both programs come with Debian's package `pebble`. Where they are missing, what needs them says `SKIPPED` past the capture of the
//! test's output, and `tests/verify.py` counts it as skipped.

#[path = "edge/client.rs"]
mod client;
#[path = "edge/house.rs"]
mod house;
#[path = "edge/pebble.rs"]
mod pebble;

use std::time::{Duration, Instant};

use genkan::base::wall_time::{UnixTime, WallTime};
use genkan::edge::core::external_account::ExternalAccount;
use genkan::edge::core::route::EdgeConfig;
use genkan::edge::{AcmeSettings, EdgeSettings};
use http::StatusCode;
use tokio::net::TcpListener;
use tokio_rustls::client::TlsStream;

use client::{http1_on, tls_on};
use house::{House, MemoryStore, RESIDENT, mirror, route, soon};
use pebble::Pebble;

const APP: &str = "app.example.com";

/// Settings whose HTTP port is where Pebble looks for proofs.
async fn settings(pebble: &Pebble, hosts: &[&str]) -> EdgeSettings {
    let mut settings = house::settings(vec![route(hosts, &[mirror().await])]).await;
    settings.http_port = pebble.http_port;
    settings.acme = Some(AcmeSettings {
        directory: pebble.directory(),
        ca_file: Some(pebble.ca_file()),
        email: Some("owner@example.com".to_owned()),
        external_account: None,
    });
    settings
}

/// Returns when the store holds a certificate of the authority for `name`.
async fn issued(store: &MemoryStore, name: &str) -> Vec<u8> {
    let suffix = format!("/certificate/{name}");
    let found = async {
        loop {
            if let Some(blob) = store.names().into_iter().find(|blob| blob.ends_with(&suffix)) {
                return store.get(&blob).expect("just seen");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), found).await.expect("a certificate is issued")
}

async fn handshake(house: &House, name: &str, roots: &[u8]) -> TlsStream<tokio::net::TcpStream> {
    tls_on(house.https(), Some(name), roots, &[]).await.expect("the authority vouches for it")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_ordered_served_and_kept_over_a_restart() {
    let Some(pebble) = Pebble::start().await else { return };
    let settings = settings(&pebble, &[APP, "nas.home.arpa"]).await;
    let house = House::with(settings.clone(), MemoryStore::default()).await;
    let mut pin = house.edge.pin();
    assert!(pin.borrow_and_update().is_some(), "self-signed until the authority has spoken");

    issued(&house.store, APP).await;
    issued(&house.store, RESIDENT).await;
    soon(pin.wait_for(Option::is_none)).await.expect("the edge lives");
    let roots = pebble.root().await;
    let mut served = Vec::new();
    for name in [APP, RESIDENT] {
        let stream = handshake(&house, name, &roots).await;
        served.push(stream.get_ref().1.peer_certificates().expect("a chain")[0].to_vec());
    }
    let mut client = http1_on(handshake(&house, APP, &roots).await).await;
    let request = http::Request::builder().uri("/").header("host", APP).body(genkan::edge::body::empty());
    assert_eq!(soon(client.send(request.expect("a request"))).await.status(), StatusCode::OK);

    let mut blobs = house.store.names();
    assert!(
        !blobs.iter().any(|blob| blob.contains("certificate/nas.home.arpa")),
        "a private name is not ordered"
    );
    assert!(blobs.iter().any(|blob| blob.ends_with("/account")));
    let store = house.store.clone();
    house.edge.stop().await;

    // The authority is gone: what was issued is loaded, nothing is asked of the network.
    drop(pebble);
    let house = House::with(settings, store).await;
    assert_eq!(*house.edge.pin().borrow(), None);
    for (name, before) in [APP, RESIDENT].into_iter().zip(&served) {
        let stream = handshake(&house, name, &roots).await;
        assert_eq!(stream.get_ref().1.peer_certificates().expect("a chain")[0].as_ref(), &before[..]);
    }
    blobs.sort();
    assert_eq!(house.store.names(), blobs);
}

/// An edge whose certificate authority is `authority`, which needs to be nothing but a listening socket.
async fn house_under(authority: &TcpListener, clock: WallTime) -> House {
    let mut settings = house::settings(vec![route(&[APP], &[mirror().await])]).await;
    let directory = format!("https://{}/dir", authority.local_addr().expect("bound"));
    settings.acme = Some(AcmeSettings { directory, ca_file: None, email: None, external_account: None });
    House::with_clock(settings, MemoryStore::default(), clock).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_of_the_authority_before_the_clock_is_known() {
    let authority = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let begun = Instant::now();
    let house = house_under(&authority, WallTime::Known(UnixTime(0))).await;
    soon(authority.accept()).await.expect("it is asked");
    let usual = begun.elapsed();
    house.edge.stop().await;

    let authority = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let house = house_under(&authority, WallTime::Unknown).await;
    let long = usual * 10 + Duration::from_secs(1);
    let asked = tokio::time::timeout(long, authority.accept()).await;
    assert!(asked.is_err(), "the authority was asked within {long:?}");
    house.wall.send_replace(WallTime::Known(UnixTime(0)));
    soon(authority.accept()).await.expect("it is asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_hangs_up_is_asked_again_soon() {
    let authority = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let begun = Instant::now();
    let _house = house_under(&authority, WallTime::Known(UnixTime(0))).await;
    for _name in [APP, RESIDENT] {
        drop(soon(authority.accept()).await.expect("it is asked"));
    }
    let again = tokio::time::timeout(Duration::from_secs(20), authority.accept()).await;
    again.expect("within seconds, not minutes").expect("it is asked");
    assert!(begun.elapsed() > Duration::from_secs(5), "not at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_cannot_be_fetched_fails_once_and_waits() {
    let Some(pebble) = Pebble::start().await else { return };
    let mut settings = settings(&pebble, &[]).await;
    // Nothing listens where the authority looks.
    settings.http_port = house::free_ports::<1>().await[0];
    let house = House::with(settings, MemoryStore::default()).await;
    let failed = format!("certificate_orders_total{{name=\"{RESIDENT}\",outcome=\"failed\"}} 1\n");
    soon(async {
        while !house.counters().contains(&failed) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(house.edge.pin().borrow().is_some(), "the self-signed certificate still stands");
    assert!(!house.store.names().iter().any(|blob| blob.contains("/certificate/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_comes_with_a_reload_gets_its_certificate() {
    let Some(pebble) = Pebble::start().await else { return };
    let settings = settings(&pebble, &[]).await;
    let house = House::with(
        EdgeSettings { config: EdgeConfig::default(), ..settings.clone() },
        MemoryStore::default(),
    )
    .await;
    issued(&house.store, RESIDENT).await;
    let routes = vec![route(&["late.example.com"], &[mirror().await])];
    house.edge.reload(&house::config(settings.https_port, routes)).await.expect("reloaded");
    issued(&house.store, "late.example.com").await;
    let roots = pebble.root().await;
    soon(async {
        while tls_on(house.https(), Some("late.example.com"), &roots, &[]).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_the_authority_forgot_is_made_again() {
    let Some(pebble) = Pebble::start().await else { return };
    let settings = settings(&pebble, &[APP]).await;
    let house = House::with(settings.clone(), MemoryStore::default()).await;
    issued(&house.store, APP).await;
    let account = account(&house.store);
    let store = house.store.clone();
    house.edge.stop().await;

    // It keeps everything in memory, so a restart forgets.
    let pebble = pebble.restart().await;
    let mut settings = settings;
    settings.config =
        house::config(settings.https_port, vec![route(&["new.example.com"], &[mirror().await])]);
    let house = House::with(settings, store).await;
    issued(&house.store, "new.example.com").await;
    assert_ne!(self::account(&house.store), account);
    drop(pebble);
}

fn account(store: &MemoryStore) -> Vec<u8> {
    let blob = store.names().into_iter().find(|blob| blob.ends_with("/account")).expect("an account");
    store.get(&blob).expect("just seen")
}

const CUSTOMER: [&str; 2] = ["kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"];

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_for_customers_takes_the_owners_account_and_none_without() {
    let Some(pebble) = Pebble::start_for(Some(CUSTOMER)).await else { return };
    let mut settings = settings(&pebble, &[]).await;
    let house = House::with(settings.clone(), MemoryStore::default()).await;
    let told = soon(async {
        loop {
            let told = house.settings.health.visible(std::time::Instant::now());
            if let Some(told) = told.into_iter().find(|told| told.code == "PUB-02") {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(told.about, RESIDENT);
    assert!(told.cure.contains("eab_hmac_key"), "{told:?}");
    assert!(told.why.contains("tried again at"), "{told:?}");
    let standing = house.edge.view().certificates().remove(0);
    assert_eq!(standing.standing.map(|standing| standing.failures), Some(1));
    house.edge.stop().await;

    let [key_id, hmac_key] = CUSTOMER;
    let account = ExternalAccount::new(key_id, hmac_key).expect("a key");
    settings.acme.as_mut().expect("an authority").external_account = Some(account);
    settings.health = genkan::health::Health::default();
    let house = House::with(settings, MemoryStore::default()).await;
    issued(&house.store, RESIDENT).await;
    assert!(
        house.settings.health.visible(std::time::Instant::now()).iter().all(|told| told.code != "PUB-02")
    );
}
