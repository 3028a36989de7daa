use crate::config::load::{Files, assemble};
use crate::config::seed;

use super::*;

fn derived(settings: &str, caddy: &str, policy: Option<&str>) -> (Assembled, Vec<String>) {
    let files = Files {
        settings: Some(settings.as_bytes().to_vec()),
        caddy: Some(caddy.as_bytes().to_vec()),
        policy: policy.map(|text| ("acl.json".to_owned(), text.as_bytes().to_vec())),
        ..Files::default()
    };
    let (assembled, problems) = assemble(&files);
    let assembled = assembled.unwrap_or_else(|| panic!("{problems:?}"));
    let found = disagreements(&assembled);
    let line = |problem: &Problem| match problem.place.line {
        0 => format!("{} {}", problem.code, problem.place.file),
        line => format!("{} {}:{line}", problem.code, problem.place.file),
    };
    let spelt = found.iter().map(line).collect();
    (assembled, spelt)
}

const NAMED: &str = "[coordinator]\nname = 'hs.example.com'\n[acme]\nemail = 'me@example.com'\n";

fn web(routes: &str) -> String {
    format!(
        "{{\"apps\":{{\"http\":{{\"servers\":{{\"web\":{{\"listen\":[\":443\"],\"routes\":[\n{routes}]}}}}}}}}}}"
    )
}

fn site(host: &str, dial: &str) -> String {
    format!(
        "{{\"match\":[{{\"host\":[\"{host}\"]}}],\"handle\":[{{\"handler\":\"reverse_proxy\",\"upstreams\":[{{\"dial\":\"{dial}\"}}]}}]}}"
    )
}

fn relay(name: &str, listen: &str, dial: &str) -> String {
    format!(
        "\"{name}\":{{\"listen\":[\"{listen}\"],\"routes\":[{{\"handle\":[{{\"handler\":\"proxy\",\"upstreams\":[{{\"dial\":[\"{dial}\"]}}]}}]}}]}}"
    )
}

fn relays(servers: &[String]) -> String {
    format!("{{\"apps\":{{\"layer4\":{{\"servers\":{{\n{}}}}}}}}}", servers.join(",\n"))
}

fn rows(assembled: &Assembled) -> Vec<String> {
    let spell = |row: &Forward| {
        assert_eq!(row.to_port, row.external_port);
        format!("{} {}{}", row.external_port, row.protocol, if row.only_outside { " outside" } else { "" })
    };
    forwards::derive(assembled).iter().map(spell).collect()
}

#[test]
fn the_seed_gives_the_table_that_it_lists() {
    let Some(dir) = seed::directory() else { return };
    let report = run(&dir);
    assert_eq!(report.exit_code(), EXIT_FINE, "{}", report.text(false));
    let always = report.forwards.iter().filter(|row| !row.only_outside);
    let mut always: Vec<(u16, &str)> = always.map(|row| (row.external_port, row.protocol)).collect();
    always.sort_unstable();
    assert_eq!(
        always,
        [(80, "tcp"), (443, "tcp"), (2222, "tcp"), (5432, "tcp"), (8080, "tcp"), (27015, "udp")]
    );
    let outside = report.forwards.iter().filter(|row| row.only_outside);
    let outside: Vec<(u16, &str)> = outside.map(|row| (row.external_port, row.protocol)).collect();
    assert_eq!(outside, [(41641, "udp"), (3478, "udp")]);
    let least = report.least_privilege.as_ref().expect("derived");
    assert_eq!((least.missing.len(), &least.surplus), (0, &vec![]));
    let given: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("acl.json")).expect("read")).expect("JSON");
    let sorted = |policy: &serde_json::Value| {
        let mut dst: Vec<String> = serde_json::from_value(policy["acls"][0]["dst"].clone()).expect("texts");
        dst.sort();
        (dst, policy["hosts"].clone(), policy["acls"][0]["src"].clone())
    };
    assert_eq!(sorted(&least.policy), sorted(&given), "the seed's own policy is the least privilege");
    assert!(report.access.iter().all(|row| row.reach == Reach::Allowed));
}

#[test]
fn the_seed_with_a_name_gives_its_dns_records() {
    let Some(seed) = seed::directory() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    for file in ["caddy.json", "acl.json"] {
        std::fs::copy(seed.join(file), dir.path().join(file)).expect("copied");
    }
    std::fs::write(dir.path().join("genkan.toml"), format!("{NAMED}[lan]\naddress = '192.168.1.10'\n"))
        .expect("written");
    let report = run(dir.path());
    assert!(report.problems.is_empty(), "{}", report.text(false));
    let names: Vec<&str> = report.dns.iter().map(|record| record.name.as_str()).collect();
    assert_eq!(names, ["hs.example.com", "app.example.com", "api.example.com"]);
    assert_eq!(report.inside[0].action, "tailscale up --login-server http://192.168.1.10:8080");
    assert_eq!(report.inside[2].action, "192.168.1.10 app.example.com");
    let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
    assert_eq!(json["forwards"][1]["external_port"], 443);
    assert_eq!(
        json["forwards"][1]["use"],
        "HTTPS: coordinator (hs.example.com), app.example.com, api.example.com"
    );
    assert_eq!(json["dns"][0]["type"], "A");
    assert_eq!(json["access"][0]["to"], "machine-a:8080");
}

#[test]
fn listeners_share_only_the_http_ports() {
    let (_, found) = derived(NAMED, &web(&site("app.example.com", "192.168.1.5:80")), None);
    assert_eq!(found, [] as [&str; 0]);
    let lan = "192.168.1.5:22";
    let servers = [
        relay("a", ":8080", lan),
        relay("b", "0.0.0.0:443", lan),
        relay("c", "udp/:3478", "udp/192.168.1.5:1"),
        relay("d", "127.0.0.1:3000", lan),
        relay("e", "192.168.1.10:3000", lan),
        relay("f", ":3000", lan),
        relay("g", "udp/:443", "udp/192.168.1.5:1"),
    ];
    let (_, found) = derived(NAMED, &relays(&servers), None);
    let places: Vec<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(
        places,
        [
            "listener-conflict caddy.json:2",
            "listener-conflict caddy.json:3",
            "listener-conflict caddy.json:4",
            "listener-conflict caddy.json:7",
        ]
    );
    let (_, found) = derived(
        &format!(
            "{NAMED}[ports]\nadmin = 8080\napi = 443\n[[expose]]\nlisten='tcp/80'\nto='192.168.1.5:1'\n"
        ),
        "{}",
        None,
    );
    assert_eq!(
        found,
        [
            "listener-conflict genkan.toml:6",
            "listener-conflict genkan.toml:7",
            "listener-conflict genkan.toml:9"
        ]
    );
}

#[test]
fn an_own_port_is_told_where_it_was_moved_to() {
    let (_, found) = derived(&format!("{NAMED}[ports]\nhttps = 8080\n"), "{}", None);
    assert_eq!(found, ["listener-conflict genkan.toml:6"], "the control port that it meets is not written");
}

/// What `run` finds in a directory of these files, as `code file:line`.
fn found(files: &[(&str, &str)]) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).expect("written");
    }
    let report = run(dir.path());
    assert!(report.least_privilege.is_none(), "nothing is derived from half a configuration");
    report.problems.iter().map(|p| format!("{} {}:{}", p.code, p.place.file, p.place.line)).collect()
}

#[test]
fn every_problem_is_told_in_one_run() {
    let caddy = relays(&[
        relay("ssh", ":2222", "100.64.0.2:22"),
        relay("again", ":2222", "192.168.1.5:22"),
        relay("control", ":8080", "192.168.1.5:22").replace("listen", "lissen"),
    ]);
    let policy = r#"{"hosts": {"a": "100.64.0.2"}, "acls": []}"#;
    let settings = format!("{NAMED}[log]\nlevle = 'info'\n");
    assert_eq!(
        found(&[("genkan.toml", &settings), ("caddy.json", &caddy), ("acl.json", policy)]),
        [
            "unknown-key caddy.json:4",
            "no-listen caddy.json:4",
            "unknown-key genkan.toml:6",
            "listener-conflict caddy.json:3",
            "upstream-forbidden caddy.json:2",
        ]
    );
}

#[test]
fn no_consequence_of_a_mistake_is_told_as_another() {
    let control = relays(&[relay("mine", ":8080", "100.64.0.2:22")]);
    let forbids = r#"{"hosts": {"a": "100.64.0.2"}, "acls": []}"#;
    for settings in [
        "[coordinator]\nnmae = 'hs.example.com'\n",
        "[coordinater]\nname = 'hs.example.com'\n",
        "[ports]\nhttp = 1\nhttp = 2\n",
    ] {
        let settings = format!("{settings}\n[acme]\nemail = 'a@b'\n");
        assert_eq!(found(&[("genkan.toml", &settings)]).len(), 1, "{settings}");
    }
    let moved = format!("{NAMED}[ports]\ncontrl = 8081\n");
    let all = [("genkan.toml", moved.as_str()), ("caddy.json", &control), ("acl.json", forbids)];
    assert_eq!(found(&all), ["unknown-key genkan.toml:6", "upstream-forbidden caddy.json:2"]);
    let misspelt =
        r#"{"hosts": {"a": "100.64.0.2"}, "acls": [{"action": "accept", "src": ["*"], "dts": ["*:*"]}]}"#;
    let ssh = relays(&[relay("ssh", ":2222", "100.64.0.2:22")]);
    let all = [("genkan.toml", NAMED), ("caddy.json", &ssh), ("acl.json", misspelt)];
    assert_eq!(found(&all), ["unknown-key acl.json:1", "missing-key acl.json:1"]);
    let lan = "192.168.1.5:80";
    let sites = [site("a.example.com", lan).replace("host", "hots"), site("b.example.com", lan)].join(",\n");
    assert_eq!(found(&[("genkan.toml", NAMED), ("caddy.json", &web(&sites))]), ["unknown-key caddy.json:2"]);
}

#[test]
fn an_upstream_needs_a_rule_and_a_reserved_address() {
    let caddy = relays(&[
        relay("ssh", ":2222", "100.64.0.2:22"),
        relay("web", ":81", "100.64.0.2:80"),
        relay("dns", "udp/:5353", "udp/100.64.0.9:53"),
        relay("lan", ":82", "192.168.1.5:80"),
    ]);
    let policy = r#"{"hosts": {"pi": "100.64.0.1", "a": "100.64.0.2"}, "tagOwners": {"tag:web": []}, "acls": [
        {"action": "accept", "src": ["pi"], "dst": ["a:22", "a:23", "tag:web:80"]},
        {"action": "accept", "src": ["*"], "dst": ["10.0.0.0/8:*"]}]}"#;
    let (assembled, found) = derived(NAMED, &caddy, Some(policy));
    assert_eq!(
        found,
        [
            "upstream-depends caddy.json:3",
            "upstream-forbidden caddy.json:4",
            "upstream-unreserved caddy.json:4"
        ]
    );
    let problems = disagreements(&assembled);
    let forbidden = problems.iter().find(|problem| problem.code == "upstream-forbidden").expect("found");
    let line = r#"Add to "acls" of acl.json: {"action":"accept","src":["pi"],"dst":["100.64.0.9:53"]}"#;
    assert_eq!(&*forbidden.cure, line);
    let least = least_privilege::derive(&assembled);
    assert_eq!(least.missing, ["100.64.0.9:53"]);
    assert_eq!(least.surplus, ["10.0.0.0/8:*", "a:23", "tag:web:80"]);
    let reaches: Vec<Reach> = access::derive(&assembled).iter().map(|row| row.reach).collect();
    assert_eq!(reaches, [Reach::Allowed, Reach::Depends, Reach::Forbidden, Reach::Direct]);
}

#[test]
fn the_policys_own_rules_are_told_as_they_were_written() {
    let policy = r#"{"hosts": {"pi": "100.64.0.1", "a": "100.64.0.2"}, "groups": {"group:dev": ["ann@"]}, "acls": [
        {"action": "accept", "src": ["group:dev", "pi"], "dst": ["a:22,80-90", "10.0.0.0/8:*"]},
        {"action": "accept", "proto": "udp", "src": ["*"], "dst": ["a:53"]}]}"#;
    let (assembled, _) = derived(NAMED, "{}", Some(policy));
    let report = Report {
        rules: rules::derive(&assembled),
        least_privilege: Some(least_privilege::derive(&assembled)),
        ..Report::default()
    };
    let text = report.text(false);
    for line in [
        "  group:dev,pi  -> a:22,80-90    any\n",
        "  group:dev,pi  -> 10.0.0.0/8:*  any\n",
        "  *             -> a:53          udp\n",
    ] {
        assert!(text.contains(line), "no {line:?} in:\n{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
    let last = serde_json::json!({"source": "*", "destination": "a", "ports": "53", "protocol": "udp"});
    assert_eq!(json["rules"][2], last);
    let (assembled, _) = derived(NAMED, "{}", None);
    let all = rules::derive(&assembled);
    assert_eq!((all[0].source.as_str(), all[0].destination.as_str(), all[0].ports.as_str()), ("*", "*", "*"));
}

#[test]
fn the_rule_that_is_told_cures() {
    let caddy = relays(&[relay("dns", "udp/:5353", "udp/100.64.0.9:53")]);
    let policy = |rules: &str| {
        format!("{{\"hosts\": {{\"pi\": \"100.64.0.1\", \"d\": \"100.64.0.9\"}}, \"acls\": [{rules}]}}")
    };
    let (assembled, found) = derived(NAMED, &caddy, Some(&policy("")));
    assert_eq!(found.len(), 1, "{found:?}");
    let cure = disagreements(&assembled).remove(0).cure;
    let (_, rule) = cure.split_once(": ").expect("a line");
    let (_, found) = derived(NAMED, &caddy, Some(&policy(rule)));
    assert_eq!(found, [] as [&str; 0]);
}

#[test]
fn names_must_not_be_in_one_anothers_way() {
    let lan = "192.168.1.5:80";
    let routes =
        |hosts: &[&str]| web(&hosts.iter().map(|host| site(host, lan)).collect::<Vec<_>>().join(",\n"));
    for (settings, hosts, expected) in [
        ("", &["a.example.com"][..], vec!["name-missing genkan.toml", "email-missing genkan.toml"]),
        (
            "[coordinator]\nname = 'hs.tailnet.internal'\n[acme]\nemail = 'a@b'",
            &[],
            vec!["name-in-base-domain genkan.toml"],
        ),
        (
            "[coordinator]\nname = 'hs.example.com'\nbase_domain = 'example.com'\n[acme]\nemail = 'a@b'",
            &["a.example.org", "x.example.com"],
            vec!["name-in-base-domain genkan.toml:3", "site-in-base-domain caddy.json:3"],
        ),
        (NAMED, &["HS.example.com"], vec!["name-is-site caddy.json:2"]),
        (NAMED, &["a.example.com", "b.example.com", "A.example.com"], vec!["host-duplicate caddy.json:4"]),
        (NAMED, &["*.example.com", "a.example.com", "a.b.example.com"], vec!["host-unserved caddy.json:3"]),
    ] {
        assert_eq!(derived(settings, &routes(hosts), None).1, expected, "{settings} {hosts:?}");
    }
    let all =
        format!("{{\"handle\":[{{\"handler\":\"reverse_proxy\",\"upstreams\":[{{\"dial\":\"{lan}\"}}]}}]}}");
    let (_, found) = derived(NAMED, &web(&format!("{all},\n{},\n{all}", site("a.example.com", lan))), None);
    assert_eq!(found, ["host-unserved caddy.json:3", "host-duplicate caddy.json:4"]);
}

#[test]
fn only_what_the_router_reaches_is_forwarded() {
    let lan = "192.168.1.5:22";
    let caddy = relays(&[
        relay("a", "127.0.0.1:2001", lan),
        relay("b", "100.64.0.1:2002", lan),
        relay("c", "[::]:2003", lan),
    ]);
    let (assembled, _) = derived("[ports]\nhttps = 8443\nwireguard = 51820\n", &caddy, None);
    assert_eq!(
        rows(&assembled),
        ["80 tcp", "8443 tcp", "2003 tcp", "8080 tcp", "51820 udp outside", "3478 udp outside"]
    );
}

#[test]
fn the_page_says_what_the_data_says() {
    let (assembled, _) =
        derived(NAMED, &relays(&[relay("s", ":2222", "100.64.0.2:22")]), Some("{\"acls\":[]}"));
    let report = Report {
        problems: disagreements(&assembled),
        forwards: forwards::derive(&assembled),
        least_privilege: Some(least_privilege::derive(&assembled)),
        ..Report::default()
    };
    assert_eq!(report.exit_code(), EXIT_PROBLEMS);
    let plain = report.text(false);
    for part in [
        "caddy.json:2:87: error: ",
        "[upstream-forbidden]",
        "not fine: 1 error, 1 warning",
        "2222   TCP  -> :2222",
        "only for machines outside the house",
        "needed but not allowed: 100.64.0.2:22",
    ] {
        assert!(plain.contains(part), "no {part:?} in:\n{plain}");
    }
    assert!(!plain.contains('\x1b') && report.text(true).contains("\x1b[31merror\x1b[0m"));
}
