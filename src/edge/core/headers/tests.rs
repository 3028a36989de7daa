use std::net::Ipv4Addr;

use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};

use super::*;

const HOP: FirstHop<'static> = FirstHop {
    peer: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
    scheme: "https",
    authority: "app.example.com",
};

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name: HeaderName = name.parse().expect("a field name");
        headers.append(name, HeaderValue::from_str(value).expect("a field value"));
    }
    headers
}

/// What is left beside the fields that every request gets.
fn left(lines: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut headers = map(lines);
    prepare_request(&mut headers, HOP);
    let own = ["via", "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
    headers
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

#[test]
fn what_ends_at_this_hop_does_not_go_on() {
    assert_eq!(
        left(&[
            ("accept", "*/*"),
            ("connection", "close, X-Private"),
            ("connection", " x-other ,,"),
            ("x-private", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eA=="),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("upgrade", "websocket"),
            ("http2-settings", "AAMAAABk"),
            ("expect", "100-continue"),
        ]),
        [("accept".to_owned(), "*/*".to_owned())],
    );
}

#[test]
fn no_upgrade_leads_to_another_version_of_http() {
    for (protocol, passes) in [
        ("websocket", true),
        ("h2c", false),
        ("websocket, H2C", false),
        ("HTTP/2.0", false),
        ("TLS/1.0, HTTP/1.1", false),
    ] {
        let headers = map(&[("connection", "upgrade"), ("upgrade", protocol)]);
        assert_eq!(upgrade(&headers).is_some(), passes, "{protocol}");
    }
}

#[test]
fn claims_of_origin_are_replaced_by_what_was_seen() {
    let mut headers = map(&[
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "internal"),
        ("forwarded", "for=127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("X_Forwarded_For", "127.0.0.1"),
        ("x-forwarded.for", "127.0.0.1"),
        ("host", "app.example.com"),
    ]);
    prepare_request(&mut headers, HOP);
    let lines: Vec<(&str, &[u8])> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(headers.get_all("x-forwarded-for").iter().collect::<Vec<_>>(), ["203.0.113.7"]);
    assert_eq!(headers["x-forwarded-proto"], "https");
    assert_eq!(headers["x-forwarded-host"], "app.example.com");
    assert_eq!(headers["host"], "app.example.com");
    assert!(!lines.iter().any(|(_, value)| value.windows(9).any(|part| part == b"127.0.0.1")), "{lines:?}");
}

#[test]
fn a_connection_list_cannot_take_the_message_apart() {
    let fields = left(&[
        ("connection", "host, content-length, authorization"),
        ("content-length", "5"),
        ("authorization", "x"),
    ]);
    assert_eq!(fields, [("content-length".to_owned(), "5".to_owned())]);
}

#[test]
fn an_upgrade_needs_both_fields() {
    let wish = map(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
    assert_eq!(upgrade(&wish), Some(HeaderValue::from_static("websocket")));
    assert_eq!(upgrade(&map(&[("upgrade", "h2c")])), None);
    assert_eq!(upgrade(&map(&[("connection", "upgrade")])), None);

    let mut headers = wish;
    prepare_request(&mut headers, HOP);
    assert_eq!(headers[CONNECTION], "upgrade");
    assert_eq!(headers[UPGRADE], "websocket");
}

#[test]
fn trailers_stay_wanted_and_cookies_become_one() {
    let fields = left(&[("te", "gzip, trailers"), ("cookie", "a=1"), ("cookie", "b=2"), ("user-agent", "x")]);
    assert!(fields.contains(&("te".to_owned(), "trailers".to_owned())));
    assert!(fields.contains(&("cookie".to_owned(), "a=1; b=2".to_owned())));
    assert!(fields.contains(&("user-agent".to_owned(), "x".to_owned())));
}

#[test]
fn a_response_loses_the_upstreams_hop_and_ports() {
    let mut headers = map(&[
        ("connection", "x-debug"),
        ("x-debug", "1"),
        ("transfer-encoding", "chunked"),
        ("alt-svc", "h3=\":8443\""),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    ]);
    prepare_response(&mut headers, None);
    assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(headers[VIA], "1.1 genkan");
    assert_eq!(headers.len(), 3);
    for name in [ACCEPT, AUTHORIZATION, USER_AGENT] {
        assert!(!headers.contains_key(name));
    }
}
