//! Whole directories and broken files. Each broken one names exactly what must be found, and where.

use proptest::prelude::*;

use crate::base::ceilings::Ceilings;
use crate::edge::core::proxy_header::ProxyProtocol;
use crate::edge::core::route::{HttpHandler, Transport};

use super::document::{Document, Syntax};
use super::exposure::edge_config;
use super::load::{Files, assemble};
use super::model::Model;
use super::mutations::in_force;
use super::problem::Problem;
use super::schema::EXAMPLE;
use super::{caddy, policy, schema, seed};

fn found(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|p| format!("{} {}:{}", p.code, p.place.line, p.place.column)).collect()
}

#[test]
fn the_seed_loads_as_it_is() {
    let Some(dir) = seed::directory() else { return };
    let loaded = super::load(&dir);
    assert_eq!(found(&loaded.problems), ["name-missing 0:0", "email-missing 0:0"]);
    let model = loaded.model.expect("a model");
    let web = &model.edge.http_servers[0];
    assert_eq!((web.name.as_str(), web.listen[0].to_string()), ("web", "[::]:443".to_owned()));
    assert_eq!(web.routes[1].hosts, ["api.example.com"]);
    let HttpHandler::ReverseProxy { upstreams } = &web.routes[0].handler;
    assert_eq!((upstreams[0].host.as_str(), upstreams[0].port), ("100.64.0.2", 8080));
    let layer4: Vec<String> = model
        .edge
        .layer4_servers
        .iter()
        .map(|server| {
            let (listen, to) = (server.listen[0], &server.upstreams[0]);
            format!(
                "{} {:?} {} {:?} {}:{}",
                server.name, listen.transport, listen.address, to.transport, to.host, to.port
            )
        })
        .collect();
    assert_eq!(
        layer4,
        [
            "ssh Tcp 0.0.0.0:2222 Tcp 100.64.0.2:22",
            "postgres Tcp 0.0.0.0:5432 Tcp 100.64.0.3:5432",
            "game_udp Udp 0.0.0.0:27015 Udp 100.64.0.4:27015",
        ]
    );
    assert_eq!(model.policy.hosts.len(), 4);
    assert_eq!(model.policy.rules.map(|rules| rules[0].destinations.len()), Some(5));
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let (assembled, problems) = assemble(&Files::default());
    assert_eq!(problems, []);
    assert_eq!(assembled.expect("a model").model, Model::default());
    let missing = super::load(std::path::Path::new("/nonexistent/genkan"));
    assert_eq!((missing.model, found(&missing.problems)), (None, vec!["no-directory 0:0".to_owned()]));
}

#[test]
fn the_example_works_unedited_and_with_every_line_in_force() {
    let defaults = schema::parse("genkan.toml", EXAMPLE.as_bytes(), None).expect("sound");
    assert_eq!(defaults.model, Model::default());
    let text = in_force(EXAMPLE);
    let all = schema::parse("genkan.toml", text.as_bytes(), None).expect(&text);
    assert_eq!(all.model.name.as_deref(), Some("hs.example.com"));
    assert_eq!(all.servers.len(), 2);
    assert_eq!(all.servers[1].routes[0].upstreams[0].value.transport, Transport::Udp);
    assert_eq!(all.model.ports, Model::default().ports, "the example shows the ports that hold without it");
    assert_eq!(all.model.edge.layer4_connections, Model::default().edge.layer4_connections);
}

#[test]
fn limits_are_those_that_are_written() {
    let read = |text: &str| schema::parse("genkan.toml", text.as_bytes(), None).expect("sound").model.edge;
    let Ceilings { total, per_source } =
        read("[limits]\ntcp_connections = 5000\ntcp_connections_per_address = 2\n").layer4_connections;
    assert_eq!((total, per_source), (5000, 2));
    let one = read("[limits]\ntcp_connections = 5000\n").layer4_connections;
    assert_eq!((one.total, one.per_source), (5000, 256));
}

#[test]
fn a_directory_is_read_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
    write("genkan.toml", "[acme]\nca_file = 'ca.pem'\n[[expose]]\nlisten = 'tcp/2222'\nto = 'a:22'\n");
    write("policy.hujson", "{ // mine\n \"hosts\": {\"a\": \"100.64.0.2\",}, }");
    write("policy.json", "{}");
    let loaded = super::load(dir.path());
    let model = loaded.model.expect("a model");
    assert_eq!(model.acme.ca_file, Some(dir.path().join("ca.pem")));
    assert_eq!(model.edge.layer4_servers[0].upstreams[0].host, "100.64.0.2");
    assert_eq!(found(&loaded.problems), ["stray-file 0:0", "name-missing 0:0"]);
    write("acl.json", "{}");
    let loaded = super::load(dir.path());
    assert_eq!((loaded.model, found(&loaded.problems)[0].as_str()), (None, "two-policies 0:0"));
}

#[test]
fn a_hosts_name_is_its_address_everywhere() {
    let caddy = br#"{"apps": {"layer4": {"servers": {"s": {"listen": [":1"], "routes": [{"handle": [
        {"handler": "proxy", "upstreams": [{"dial": ["A:22"]}, {"dial": ["a.tailnet.internal:23"]}, {"dial": ["b.lan:24"]}]}]}]}}}}}"#;
    let files = Files {
        caddy: Some(caddy.to_vec()),
        policy: Some(("acl.json".into(), br#"{"hosts": {"a": "100.64.0.2"}}"#.to_vec())),
        ..Files::default()
    };
    let (assembled, problems) = assemble(&files);
    assert_eq!(problems, []);
    let upstreams = assembled.expect("a model").model.edge.layer4_servers.remove(0).upstreams;
    let hosts: Vec<&str> = upstreams.iter().map(|upstream| upstream.host.as_str()).collect();
    assert_eq!(hosts, ["100.64.0.2", "100.64.0.2", "b.lan"]);
}

/// Parses each text without its `§` marks and expects, at the places of the marks and nowhere else, the problems listed:
/// one word for each mark, with commas where several stand at one place.
fn assert_broken(cases: &[(&str, &str)], parse: impl Fn(&[u8]) -> Result<(), Vec<Problem>>) {
    for (marked, codes) in cases {
        let mut expected = Vec::new();
        let mut codes = codes.split(' ');
        let (mut line, mut column) = (1, 1);
        for letter in marked.chars() {
            match letter {
                '§' => {
                    let here = codes.next().unwrap_or_else(|| panic!("too few codes for {marked}"));
                    expected.extend(here.split(',').map(|code| (line, column, code)));
                }
                '\n' => (line, column) = (line + 1, 1),
                _ => column += 1,
            }
        }
        assert_eq!(codes.next(), None, "too many codes for {marked}");
        let problems = parse(marked.replace('§', "").as_bytes()).expect_err(marked);
        let mut found: Vec<_> = problems.iter().map(|p| (p.place.line, p.place.column, p.code)).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{marked}");
    }
}

#[test]
fn broken_settings_are_told_where_they_stand() {
    let policy = policy::parse("acl.json", r#"{"hosts": {"machine-a": "100.64.0.2"}}"#).expect("sound");
    let cases = [
        ("[coordinator]\n§nmae = 'a.b'\n", "unknown-key"),
        ("[§coordinater]\n[§ddns]\n", "unknown-key not-supported"),
        ("coordinator = §1\n", "wrong-kind"),
        ("[coordinator]\nname = §'localhost'\nbase_domain = §7\n", "bad-name wrong-kind"),
        ("[coordinator]\nname = §'192.168.1.1'\n", "bad-name"),
        ("[acme]\ndirectory = §'http://x/'\nemail = §'me'\nca_file = §1\n", "bad-url bad-email wrong-kind"),
        ("[lan]\ninterface = §'a b'\naddress = §'192.168.1.0/24'\n", "bad-interface bad-address"),
        ("[ports]\nhttp = §0\nhttps = §'443'\nstun = §70000\n", "bad-port wrong-kind bad-port"),
        ("[limits]\ntcp_connections = §0\ntcp_connections_per_address = §20000\n", "bad-limit bad-limit"),
        ("[limits]\n§tcp_connection = 5\n", "unknown-key"),
        ("[log]\nformat = §'jsn'\nlevel = §'loud'\n", "bad-choice bad-choice"),
        ("§[[expose]]\nlisten = 'tcp/22'\n", "missing-key"),
        ("[[expose]]\nlisten = §'tpc/22'\nto = §'a'\n§host = 1\n", "bad-address bad-address unknown-key"),
        ("[[expose]]\nlisten = 'tcp/22'\nto = §'machin-a:22'\n", "unknown-host"),
        ("[ports]\nhttp = 1\n§http = 2\n", "syntax"),
        ("# 名\n§名 = 1\n", "syntax"),
    ];
    assert_broken(&cases, |bytes| schema::parse("genkan.toml", bytes, Some(&policy)).map(|_| ()));
}

#[test]
fn broken_caddy_files_are_told_where_they_stand() {
    let parse = |bytes: &[u8]| caddy::parse("caddy.json", bytes).map(|_| ());
    let whole = [
        ("{} §// no comments", "syntax"),
        ("§[]", "wrong-kind"),
        (r#"{"apps": {"http": {"servers": §[]}}}"#, "wrong-kind"),
        (r#"{§"appz": {}}"#, "unknown-key"),
        (r#"{§"admin": {}, "apps": {§"tls": {}}}"#, "not-supported not-supported"),
    ];
    assert_broken(&whole, parse);
    let http_servers = [
        (r#"§{§"lisen": [":443"]}"#, "no-listen unknown-key"),
        (
            r#"{"listen": [§"443", §":8000-8010", §"udp/:443", §1]}"#,
            "bad-address not-supported bad-address wrong-kind",
        ),
        (
            r#"{"listen": [":443"], "routes": [§{"match": [{§"hosts": ["a.b"]}], "handle": []}]}"#,
            "no-handler unknown-key",
        ),
        (
            r#"{"listen": [":443"], "routes": [{"match": [{§"path": ["/"]}], "handle": [{"handler": §"file_server"}]}]}"#,
            "not-supported not-supported",
        ),
        (
            r#"{"listen": [":443"], "routes": [{"handle": [{"handler": §"reverse_proxi"}, §{"hander": 1}, §1]}]}"#,
            "unknown-handler missing-key wrong-kind",
        ),
        (
            r#"{"listen": [":443"], "routes": [{"handle": [
                {"handler": "reverse_proxy", "upstreams": [{"dial": §["a:1"]}, {"dial": §"udp/a:1"}, §{}]}]}]}"#,
            "wrong-kind bad-address no-upstream",
        ),
        (
            r#"{"listen": [":443"], "routes": [{"terminal": §1, "match": [{"host": [§"a b", §"{env.X}"]}],
                "handle": [§{"handler": "reverse_proxy", §"transport": {}}]}]}"#,
            "wrong-kind bad-name not-supported no-upstream not-supported",
        ),
        (
            r#"{"listen": [":443"], "routes": [{"handle": [
                {"handler": "reverse_proxy", "upstreams": [{"dial": "a:1"}]},
                §{"handler": "reverse_proxy", "upstreams": [{"dial": "a:1"}]}]}]}"#,
            "unreachable",
        ),
    ];
    for (server, codes) in http_servers {
        assert_broken(&[(&http(server), codes)], parse);
    }
    let layer4_servers = [
        (r#"§{"listen": [":1"], "routes": []}"#, "no-handler"),
        (
            r#"{"listen": [":1"], "routes": [{§"match": [{"ssh": {}}], "handle": [§{"handler": "proxy", "upstreams": []}]}]}"#,
            "not-supported no-upstream",
        ),
        (
            r#"{"listen": [":1"], "routes": [{"handle": [{"handler": §"tls"}]}, §{}], §"idle_timeout": 1}"#,
            "not-supported no-handler,unreachable not-supported",
        ),
    ];
    for (server, codes) in layer4_servers {
        assert_broken(&[(&layer4(server), codes)], parse);
    }
    let dials = [
        (r#"["a:1", §"b:1"]"#, "mirror"),
        (r#"[§"udp/a:1"]"#, "transport-differs"),
        (r#"§"a:1""#, "wrong-kind"),
        (r#"[§"unix//x"]"#, "not-supported"),
        (r#"["a:1"§ "b:1"]"#, "syntax"),
    ];
    for (dial, codes) in dials {
        assert_broken(&[(&layer4(&proxy(dial)), codes)], parse);
    }
    for (version, codes) in [("§\"v3\"", "bad-choice"), ("§2", "wrong-kind")] {
        assert_broken(&[(&layer4(&with_header(":1", version)), codes)], parse);
    }
    assert_broken(&[(&layer4(&with_header("udp/:1", "§\"v2\"")), "proxy-protocol-of-datagrams")], parse);
    assert_broken(&[(&layer4(&proxy("[]").replace("{\"dial\"", "§{\"dial\"")), "no-upstream")], parse);
}

#[test]
fn a_datagram_listener_dials_datagrams() {
    let text = layer4(
        &proxy(r#"["a.b:1"]"#)
            .replace(":1\"], \"r", ":1\"], \"@id\": \"x\", \"r")
            .replace("\":1", "\"udp/:1"),
    );
    let (servers, warnings) = caddy::parse("caddy.json", text.as_bytes()).expect("sound");
    assert_eq!(servers[0].routes[0].upstreams[0].value.transport, Transport::Udp);
    assert_eq!(warnings.iter().map(|problem| problem.code).collect::<Vec<_>>(), ["udp-assumed"]);
    assert_eq!(&*warnings[0].cure, "Write \"udp/a.b:1\".");
}

#[test]
fn broken_policies_are_told_where_they_stand() {
    let cases = [
        (r#"{§"acl": []}"#, "unknown-key"),
        ("{§\"grants\": [], // x\n§\"ssh\": []}", "not-supported not-supported"),
        (
            r#"{"hosts": {"a": §"100.64.0.300", "b": §"10.0.0.1/8", §"tag:c": "1.1.1.1", §"1.1.1.1": §2}}"#,
            "bad-address bad-address bad-name bad-name wrong-kind",
        ),
        (
            r#"{"groups": {§"dev": [§"ann"], "group:b": [§"group:dev", §1]}}"#,
            "bad-name bad-user nested-group wrong-kind",
        ),
        (
            r#"{"tagOwners": {§"web": [§"group:x"], "tag:b": [§"100.64.0.1"]}}"#,
            "bad-name unknown-group bad-alias",
        ),
        (r#"{"acls": [§{}]}"#, "missing-key,missing-key,missing-key"),
        (
            r#"{"acls": [{"action": §"drop", "src": [], "dst": [], §"sources": []}]}"#,
            "bad-choice unknown-key",
        ),
        (r#"{"acls":[],§"acls":[]}"#, "duplicate-key"),
    ];
    let parse = |bytes: &[u8]| policy::parse_bytes("acl.json", bytes).map(|_| ());
    assert_broken(&cases, parse);
    let rules = [
        (
            r#""src": [§"b", §"ann", §"100.64.0.0/9"], "dst": [§"a"]"#,
            "unknown-host unknown-host bad-address no-ports",
        ),
        (
            r#""src": ["a"], "dst": [§"a:0", §"a:22-21", §"a:x", §"a:", §"a:99999", §"a:1,,2"]"#,
            "bad-port bad-port bad-port bad-port bad-port bad-port",
        ),
        (r#""proto": "icmp", "src": ["a"], "dst": [§"a:22"]"#, "bad-port"),
        (r#""proto": §"tpc", "src": §"a", "dst": []"#, "bad-protocol wrong-kind"),
        (
            r#""src": [§"tag:x", §"group:x", §"autogroup:membre", §"autogroup:self"], "dst": [§"autogroup:admin:1", §"tag:x"]"#,
            "unknown-tag unknown-group unknown-autogroup bad-alias not-supported no-ports",
        ),
        (r#""src": ["a"], "dst": [§"autogroup:self:22"]"#, "bad-alias"),
    ];
    for (rule, codes) in rules {
        let text =
            format!("{{\"hosts\":{{\"a\":\"100.64.0.2\"}},\"acls\":[\n{{\"action\":\"accept\",{rule}}}]}}");
        assert_broken(&[(&text, codes)], parse);
    }
}

/// A layer4 server around what stands between.
fn layer4(inner: &str) -> String {
    format!("{{\"apps\":{{\"layer4\":{{\"servers\":{{\"s\":\n{inner}}}}}}}}}")
}

fn http(inner: &str) -> String {
    format!("{{\"apps\":{{\"http\":{{\"servers\":{{\"s\":\n{inner}}}}}}}}}")
}

fn proxy(dial: &str) -> String {
    format!(
        "{{\"listen\": [\":1\"], \"routes\": [{{\"handle\": [\n{{\"handler\": \"proxy\", \"upstreams\": [{{\"dial\": {dial}}}]}}]}}]}}"
    )
}

fn with_header(listen: &str, version: &str) -> String {
    let transport = if listen.starts_with("udp") { "udp/" } else { "" };
    proxy(&format!("[\"{transport}a:1\"]"))
        .replace("[\":1\"]", &format!("[\"{listen}\"]"))
        .replace("\"upstreams\"", &format!("\"proxy_protocol\": {version}, \"upstreams\""))
}

#[test]
fn the_header_for_upstreams_reaches_the_edge() {
    let cases = [
        ("\"v1\"", Some(ProxyProtocol::V1)),
        ("\"v2\"", Some(ProxyProtocol::V2)),
        ("\"\"", None),
        ("null", None),
    ];
    for (version, expected) in cases {
        let text = layer4(&with_header(":1", version));
        let (servers, problems) = caddy::parse("caddy.json", text.as_bytes()).expect("sound");
        assert_eq!(problems, []);
        assert_eq!(edge_config(&servers).layer4_servers[0].proxy_protocol, expected, "{version}");
    }
    let (servers, problems) = caddy::read("caddy.json", layer4(&with_header(":1", "\"V2\"")).as_bytes());
    assert_eq!(edge_config(&servers).layer4_servers[0].proxy_protocol, None);
    assert_eq!(&*problems[0].cure, "Did you mean \"v2\"?");
    assert!(problems[0].why.contains("\"v1\"") && problems[0].why.contains("\"v2\""), "{}", problems[0]);
    let datagrams = layer4(&with_header("udp/:1", "\"\""));
    assert!(caddy::parse("caddy.json", datagrams.as_bytes()).is_ok(), "off is no header");
}

#[test]
fn what_the_policy_language_allows_is_read() {
    let text = r#"{
      "Groups": {"group:dev": ["ann@example.com", "ben@"]},
      "tagOwners": {"tag:web": ["group:dev", "tag:web"], "tag:db": []},
      "hosts": {"v6": "fd7a:115c:a1e0::5", "lan": "192.168.1.0/24"},
      "acls": [
        {"action": "accept", "proto": "tcp", "src": ["*", "ann@example.com"], "dst": ["tag:web:80,443,8000-8010", "lan:*"]},
        {"action": "accept", "proto": "132", "src": ["autogroup:tagged"], "dst": ["v6:1", "fd00:1::/64:443", "[fd00::1]:22"]},
        {"action": "accept", "src": ["group:dev"], "dst": ["autogroup:self:*", "ben@:22", "10.0.0.0/8:53"]},
      ],
    }"#;
    let policy = policy::parse("policy.hujson", text).unwrap_or_else(|problems| panic!("{problems:?}"));
    let rules = policy.rules.expect("rules");
    assert_eq!(rules.iter().map(|rule| rule.destinations.len()).collect::<Vec<_>>(), [2, 3, 3]);
    assert_eq!((rules[0].protocols.as_slice(), rules[1].protocols.as_slice()), (&[6][..], &[132][..]));
    assert_eq!(rules[0].destinations[0].ports.len(), 3);
}

#[test]
fn a_nearest_word_and_the_path_are_told() {
    let problems = caddy::parse("caddy.json", http("{\"lisen\":[\":443\"]}").as_bytes())
        .map(|_| ())
        .expect_err("unknown");
    let problem = problems.iter().find(|problem| problem.code == "unknown-key").expect("found");
    assert_eq!(&*problem.cure, "Did you mean \"listen\"?");
    assert_eq!(&*problem.place.path, "apps.http.servers.s.lisen");
    assert!(problem.to_string().starts_with("caddy.json:2:2: "), "{problem}");
}

/// Text of the words and signs that the three languages are made of.
fn soup() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\n",
        "=",
        "\"apps\"",
        "\"http\"",
        "\"layer4\"",
        "\"servers\"",
        "\"listen\"",
        "\"routes\"",
        "\"match\"",
        "\"host\"",
        "\"handle\"",
        "\"handler\"",
        "\"proxy\"",
        "\"upstreams\"",
        "\"dial\"",
        "\"acls\"",
        "\"hosts\"",
        "\"groups\"",
        "\"src\"",
        "\"dst\"",
        "\":443\"",
        "\"[::]:1\"",
        "\"tag:x:1\"",
        "\"*:*\"",
        "\"é/:\"",
        "1",
        "true",
        "null",
        "[ports]",
        "[[expose]]",
        "listen",
        "to",
        "'tcp/1'",
        "http",
        "[",
        "{",
        "\"a\":",
        "\"a\":{",
        "[{",
    ]);
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_bytes_panic_the_loaders(bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..300), soup().prop_map(String::into_bytes)]) {
        let files = Files {
            settings: Some(bytes.clone()),
            caddy: Some(bytes.clone()),
            policy: Some(("acl.json".to_owned(), bytes)),
            ..Files::default()
        };
        if let (Some(assembled), _) = assemble(&files) {
            let _ = super::check::disagreements(&assembled);
        }
    }

    #[test]
    fn no_value_in_the_place_of_another_panics(value in soup(), host in ".{0,12}") {
        for wrap in [&layer4 as &dyn Fn(&str) -> String, &http] {
            let _ = caddy::parse("caddy.json", wrap(&value).as_bytes());
        }
        let quoted = serde_json::to_string(&host).expect("a text");
        let text = format!("{{\"hosts\":{{{quoted}:{quoted}}},\"acls\":[{{\"src\":[{quoted}],\"dst\":[{quoted}],\"proto\":{quoted}}}]}}");
        prop_assert!(Document::parse("f", Syntax::CommentedJson, text.as_bytes()).is_ok());
        let _ = policy::parse("acl.json", &text);
        let _ = super::address::parse(&host).map(|address| address.listen(Transport::Tcp));
    }
}
