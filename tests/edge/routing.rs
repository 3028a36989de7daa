//! Which door, name and path lead where.

use genkan::edge::body;
use http::Response;
use http::StatusCode;

use crate::asking::{API, APP, ask, assert_echo, both};
use crate::client::{http1_on, https1, https2, plain, tls_on};
use crate::house::{House, MemoryStore, RESIDENT, mirror, read, route, settings, soon, upstream};

#[tokio::test]
async fn hosts_lead_to_their_upstreams_in_both_versions() {
    let api = upstream(|_| async { Response::new(body::full("the api")) }).await;
    let house = House::open(vec![route(&[APP], &[mirror().await]), route(&[API], &[api])]).await;
    for mut client in both(&house, APP).await {
        let mut request = ask(&client, APP, "/a/b?c=d");
        request.headers_mut().insert("x-forwarded-for", "127.9.9.9".parse().expect("a value"));
        request.headers_mut().insert("cookie", "a=1".parse().expect("a value"));
        request.headers_mut().append("cookie", "b=2".parse().expect("a value"));
        let response = soon(client.send(request)).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["via"], "1.1 genkan");
        let seen = read(response).await;
        for line in [
            "GET /a/b?c=d HTTP/1.1\n",
            "\nhost: app.example.com\n",
            "\nx-forwarded-for: 127.0.0.1\n",
            "\nx-forwarded-proto: https\n",
            "\nx-forwarded-host: app.example.com\n",
            "\ncookie: a=1; b=2\n",
        ] {
            assert!(seen.contains(line), "{line:?} is not in {seen}");
        }
        assert!(!seen.contains("127.9.9.9"), "{seen}");
    }
    for mut client in both(&house, API).await {
        let request = ask(&client, API, "/");
        assert_eq!(read(soon(client.send(request)).await).await, "the api");
    }
}

#[tokio::test]
async fn one_socket_takes_both_families_and_addresses_stay_what_they_were() {
    let mut settings = settings(vec![]).await;
    settings.bind = std::net::Ipv6Addr::UNSPECIFIED.into();
    let house = House::with(settings, MemoryStore::default()).await;
    let mut client = plain(house.control()).await;
    let request = ask(&client, "a", "/key");
    assert_eq!(read(soon(client.send(request)).await).await, "resident 127.0.0.1 127.0.0.1\n");
}

#[tokio::test]
async fn the_resident_answers_by_name_and_by_path() {
    let house = House::open(vec![route(&[APP], &[mirror().await])]).await;
    let pem = house.self_signed(RESIDENT);

    // By TLS with its name, in either version; with an address as Host, as relay clients have it; without SNI and ALPN.
    for mut client in both(&house, RESIDENT).await {
        let request = ask(&client, RESIDENT, "/key");
        assert_eq!(read(soon(client.send(request)).await).await, "resident 127.0.0.1 127.0.0.1\n");
    }
    let mut client = http1_on(tls_on(house.https(), None, &pem, &[]).await.expect("a handshake")).await;
    let request = ask(&client, "100.64.0.1", "/key");
    assert_eq!(soon(client.send(request)).await.status(), StatusCode::OK);
    assert_echo(&mut client, RESIDENT, "/ts2021").await;

    // Without TLS: on the control port under any name, on port 80 under its name or an address.
    for (at, host, expected) in [
        (house.control(), "anything", StatusCode::OK),
        (house.http(), RESIDENT, StatusCode::OK),
        (house.http(), "192.168.1.2", StatusCode::OK),
        (house.http(), "genkan.local", StatusCode::OK),
        (house.http(), "evil.example.org", StatusCode::NOT_FOUND),
        (house.http(), APP, StatusCode::PERMANENT_REDIRECT),
    ] {
        let mut client = plain(at).await;
        let request = ask(&client, host, "/key");
        assert_eq!(soon(client.send(request)).await.status(), expected, "{at} {host}");
    }
    assert_echo(&mut plain(house.control()).await, "192.168.1.2", "/ts2021").await;
    let mut client = plain(house.control()).await;
    let request = ask(&client, RESIDENT, "/elsewhere");
    assert_eq!(soon(client.send(request)).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn port_80_leads_sites_to_https() {
    let house = House::open(vec![route(&[APP, "*.wild.example.com"], &[mirror().await])]).await;
    let port = house.settings.https_port;
    for (host, path, location) in [
        (APP, "/a?b=c", Some(format!("https://app.example.com:{port}/a?b=c"))),
        ("APP.example.com:80", "/", Some(format!("https://app.example.com:{port}/"))),
        ("x.wild.example.com", "/", Some(format!("https://x.wild.example.com:{port}/"))),
        (RESIDENT, "/", Some(format!("https://{RESIDENT}:{port}/"))),
        ("other.example.com", "/", None),
        (
            APP,
            "/.well-known/acme-challenge/unknown",
            Some(format!("https://app.example.com:{port}/.well-known/acme-challenge/unknown")),
        ),
    ] {
        let mut client = plain(house.http()).await;
        let request = ask(&client, host, path);
        let response = soon(client.send(request)).await;
        let found =
            response.headers().get("location").map(|location| location.to_str().expect("text").to_owned());
        assert_eq!(found, location, "{host}");
        let expected =
            if location.is_some() { StatusCode::PERMANENT_REDIRECT } else { StatusCode::NOT_FOUND };
        assert_eq!(response.status(), expected, "{host}");
    }
}

#[tokio::test]
async fn a_connection_serves_only_what_its_certificate_covers() {
    let at = mirror().await;
    let house =
        House::open(vec![route(&[APP], &[at]), route(&[API], &[at]), route(&["*.wild.example.com"], &[at])])
            .await;
    for mut client in both(&house, APP).await {
        for (host, path, expected) in [
            (APP, "/", StatusCode::OK),
            (API, "/", StatusCode::MISDIRECTED_REQUEST),
            (RESIDENT, "/key", StatusCode::MISDIRECTED_REQUEST),
        ] {
            let request = ask(&client, host, path);
            let response = soon(client.send(request)).await;
            assert_eq!(response.status(), expected, "{host}");
            read(response).await;
        }
    }
    let pem = house.self_signed("*.wild.example.com");
    let mut client = https2(house.https(), "a.wild.example.com", &pem).await;
    for host in ["a.wild.example.com", "b.wild.example.com"] {
        let request = ask(&client, host, "/");
        assert_eq!(soon(client.send(request)).await.status(), StatusCode::OK, "{host}");
    }
    let mut client = https1(house.https(), RESIDENT, &house.self_signed(RESIDENT)).await;
    let request = ask(&client, APP, "/key");
    assert_eq!(soon(client.send(request)).await.status(), StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn the_pin_is_the_certificate_and_stays_over_a_restart() {
    let house = House::open(vec![]).await;
    let (settings, store) = (house.settings.clone(), house.store.clone());
    let pin = house.edge.pin().borrow().expect("self-signed");
    assert_eq!(presented(&house).await, pin);
    house.edge.stop().await;

    let house = House::with(settings, store).await;
    assert_eq!(house.edge.pin().borrow().expect("self-signed"), pin);
    assert_eq!(presented(&house).await, pin);
}

async fn presented(house: &House) -> [u8; 32] {
    let pem = house.self_signed(RESIDENT);
    let stream = tls_on(house.https(), None, &pem, &[]).await.expect("a handshake");
    let chain = stream.get_ref().1.peer_certificates().expect("a certificate");
    assert_eq!(chain.len(), 1, "clients that pin count certificates");
    ring::digest::digest(&ring::digest::SHA256, &chain[0]).as_ref().try_into().expect("32 bytes")
}
