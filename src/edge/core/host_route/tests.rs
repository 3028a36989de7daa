use super::super::route::Transport;
use super::*;

fn route(hosts: &[&str], port: u16) -> HttpRoute {
    HttpRoute {
        hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
        handler: HttpHandler::ReverseProxy {
            upstreams: vec![Upstream { transport: Transport::Tcp, host: "100.64.0.2".to_owned(), port }],
        },
    }
}

fn table(servers: &[(&str, Vec<HttpRoute>)]) -> SiteTable {
    let http_servers = servers
        .iter()
        .map(|(listen, routes)| HttpServer {
            name: (*listen).to_owned(),
            listen: vec![listen.parse().expect("an address")],
            routes: routes.clone(),
        })
        .collect();
    SiteTable::new(&EdgeConfig { http_servers, ..EdgeConfig::default() })
}

fn local(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn port_for(table: &SiteTable, address: &str, host: &str) -> Option<u16> {
    table
        .find(local(address), host)
        .and_then(|found| found.site.upstreams.first().map(|upstream| upstream.port))
}

#[test]
fn the_first_fitting_route_wins() {
    let table = table(&[(
        "[::]:443",
        vec![
            route(&["app.example.com"], 1),
            route(&["*.example.com"], 2),
            route(&["late.example.com", "app.example.com"], 3),
            route(&[], 4),
            route(&["after.example.org"], 5),
        ],
    )]);
    let at = "192.0.2.1:443";
    assert_eq!(port_for(&table, at, "app.example.com"), Some(1));
    assert_eq!(port_for(&table, at, "late.example.com"), Some(2), "the wildcard stands before it");
    assert_eq!(port_for(&table, at, "a.b.example.com"), Some(4));
    assert_eq!(
        port_for(&table, at, "after.example.org"),
        Some(4),
        "the route for every host stands before it"
    );
    assert!(table.find(local(at), "app.example.com").is_some_and(|found| found.by_name));
    assert!(table.find(local(at), "192.0.2.1").is_some_and(|found| !found.by_name));
}

#[test]
fn a_server_answers_only_where_it_listens() {
    let table = table(&[
        ("192.0.2.1:443", vec![route(&["app.example.com"], 1)]),
        ("0.0.0.0:443", vec![route(&["api.example.com"], 2)]),
        ("[::]:8443", vec![route(&["app.example.com"], 3)]),
    ]);
    assert_eq!(port_for(&table, "192.0.2.1:443", "app.example.com"), Some(1));
    assert_eq!(port_for(&table, "192.0.2.2:443", "app.example.com"), None);
    assert_eq!(port_for(&table, "192.0.2.1:443", "api.example.com"), Some(2));
    assert_eq!(port_for(&table, "192.0.2.1:8443", "app.example.com"), Some(3));
    assert!(table.names(443, "app.example.com"));
    assert!(!table.names(443, "www.example.com"));
    assert!(!table.names(80, "app.example.com"));
}

#[test]
fn hosts_come_in_many_spellings() {
    for (written, host) in [
        ("App.Example.COM", Some("app.example.com")),
        ("app.example.com.", Some("app.example.com")),
        ("app.example.com:8443", Some("app.example.com")),
        ("app.example.com:", Some("app.example.com")),
        ("192.0.2.1:80", Some("192.0.2.1")),
        ("[2001:db8::1]:443", Some("2001:db8::1")),
        ("[::1]", Some("::1")),
        ("[::1", None),
        ("[::1]x", None),
        ("::1", None),
        ("", None),
        (":443", None),
        ("a b", None),
        ("user@example.com", None),
        ("example.com/path", None),
        ("example.com:port", None),
    ] {
        assert_eq!(host_of(written).as_deref(), host, "{written:?}");
    }
}
