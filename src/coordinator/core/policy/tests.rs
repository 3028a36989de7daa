use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::prelude::*;

use crate::wire::control::{FilterRule, NodeId, PortRange};

use super::*;

fn subject(last: u8, user: Option<&str>, tags: &[&str]) -> Subject {
    Subject {
        id: NodeId(i64::from(last)),
        user: user.map(str::to_owned),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ipv4: Ipv4Addr::new(100, 64, 0, last),
        ipv6: Ipv6Addr::new(0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, last.into()),
        routes: Vec::new(),
    }
}

fn prefix(text: &str) -> Selector {
    Selector::Prefix(text.parse::<IpNet>().expect("a prefix"))
}

fn to(selector: Selector, port: u16) -> Destination {
    Destination { selector, ports: vec![PortRange { first: port, last: port }] }
}

fn rule(sources: Vec<Selector>, destinations: Vec<Destination>) -> Rule {
    Rule { protocols: Vec::new(), sources, destinations }
}

fn policy(rules: Vec<Rule>) -> Policy {
    Policy { rules: Some(rules), ..Policy::default() }
}

/// The rules as `sources -> destinations` lines.
fn spelt(rules: &[FilterRule]) -> Vec<String> {
    let line = |rule: &FilterRule| {
        let ports = rule.dst_ports.iter().map(|to| format!("{}:{}-{}", to.ip, to.ports.first, to.ports.last));
        format!("{:?} {} -> {}", rule.ip_proto, rule.src_ips.join(","), ports.collect::<Vec<_>>().join(","))
    };
    rules.iter().map(line).collect()
}

#[test]
fn a_host_reaches_only_what_is_written() {
    let gateway = || vec![prefix("100.64.0.1/32")];
    let policy = policy(vec![rule(
        gateway(),
        vec![
            to(prefix("100.64.0.2/32"), 8080),
            to(prefix("100.64.0.2/32"), 22),
            to(prefix("100.64.0.3/32"), 5432),
        ],
    )]);
    let compiled = compile(&policy, &[1, 2, 3, 4].map(|last| subject(last, None, &[])));
    assert_eq!(
        spelt(&compiled.packet_filter(NodeId(2))),
        ["[] 100.64.0.1 -> 100.64.0.2:22-22,100.64.0.2:8080-8080"]
    );
    assert_eq!(compiled.packet_filter(NodeId(1)), []);
    assert_eq!(compiled.packet_filter(NodeId(4)), []);
    assert!(compiled.sees(NodeId(1), NodeId(2)) && compiled.sees(NodeId(3), NodeId(1)));
    assert!(!compiled.sees(NodeId(2), NodeId(3)) && !compiled.sees(NodeId(4), NodeId(1)));
    assert!(!compiled.sees(NodeId(1), NodeId(99)));
}

#[test]
fn no_rules_written_allows_everything_and_an_empty_list_nothing() {
    let subjects = [subject(1, None, &[]), subject(2, Some("ann"), &[])];
    let open = compile(&Policy::default(), &subjects);
    assert_eq!(
        spelt(&open.packet_filter(NodeId(2))),
        ["[] 100.115.94.0-100.127.255.255,100.64.0.0-100.115.91.255,fd7a:115c:a1e0::/48 -> *:0-65535"]
    );
    assert!(open.sees(NodeId(1), NodeId(2)));
    let closed = compile(&policy(Vec::new()), &subjects);
    assert_eq!(closed.packet_filter(NodeId(2)), []);
    assert!(!closed.sees(NodeId(1), NodeId(2)));
}

#[test]
fn people_tags_and_groups_are_their_nodes() {
    let subjects = [
        subject(1, Some("ann@example.com"), &[]),
        subject(2, Some("ben"), &[]),
        subject(3, None, &["tag:web"]),
        subject(4, Some("ann@example.com"), &["tag:db"]),
    ];
    let mut policy = policy(vec![rule(
        vec![Selector::Group("group:dev".into())],
        vec![to(Selector::Tag("tag:web".into()), 80)],
    )]);
    policy.groups.insert("group:dev".into(), vec!["Ann@example.com".into(), "ben@".into()]);
    let web = compile(&policy, &subjects).packet_filter(NodeId(3));
    assert_eq!(
        spelt(&web),
        [
            "[] 100.64.0.1,100.64.0.2,fd7a:115c:a1e0::1,fd7a:115c:a1e0::2 -> 100.64.0.3:80-80,fd7a:115c:a1e0::3:80-80"
        ]
    );
    policy.rules = Some(vec![rule(
        vec![Selector::Autogroup(Autogroup::Tagged)],
        vec![to(Selector::Autogroup(Autogroup::Member), 22)],
    )]);
    let compiled = compile(&policy, &subjects);
    assert!(compiled.sees(NodeId(4), NodeId(1)), "a tagged node is its tags', whoever joined it");
    assert!(!compiled.sees(NodeId(1), NodeId(2)) && !compiled.sees(NodeId(3), NodeId(4)));
}

#[test]
fn own_nodes_are_one_clause_a_person() {
    let subjects = [subject(1, Some("ann"), &[]), subject(2, Some("ann"), &[]), subject(3, Some("ben"), &[])];
    let compiled = compile(
        &policy(vec![rule(vec![Selector::Any], vec![to(Selector::Autogroup(Autogroup::Own), 22)])]),
        &subjects,
    );
    assert!(compiled.sees(NodeId(1), NodeId(2)) && !compiled.sees(NodeId(1), NodeId(3)));
    assert_eq!(
        spelt(&compiled.packet_filter(NodeId(3))),
        ["[] 100.64.0.3,fd7a:115c:a1e0::3 -> 100.64.0.3:22-22,fd7a:115c:a1e0::3:22-22"]
    );
}

#[test]
fn a_route_makes_its_router_source_and_destination() {
    let mut subjects =
        [subject(1, Some("ann"), &[]), subject(2, None, &["tag:router"]), subject(3, None, &["tag:exit"])];
    subjects[1].routes = vec!["10.33.0.0/16".parse().expect("a prefix")];
    subjects[2].routes = vec!["0.0.0.0/0".parse().expect("a prefix")];
    let towards = |text| policy(vec![rule(vec![Selector::Any], vec![to(prefix(text), 22)])]);
    let compiled = compile(&towards("10.0.0.0/8"), &subjects);
    let expected = "[] 10.33.0.0/16,100.115.94.0-100.127.255.255,100.64.0.0-100.115.91.255,fd7a:115c:a1e0::/48 -> 10.0.0.0/8:22-22";
    assert_eq!(spelt(&compiled.packet_filter(NodeId(2))), [expected]);
    assert!(compiled.sees(NodeId(1), NodeId(2)));
    let inner = subjects[1].routes[0];
    assert!(
        compiled.shows_route(NodeId(1), &inner) && compiled.shows_route(NodeId(1), &subjects[2].routes[0])
    );
    let inside = compile(&towards("100.64.0.1/32"), &subjects);
    assert!(inside.shows_route(NodeId(1), &inner), "`*` is also who is behind the route");
    assert!(!inside.shows_route(NodeId(1), &subjects[2].routes[0]));
    assert!(!inside.shows_route(NodeId(3), &inner), "and nobody there may reach this one, nor be reached");
    assert_eq!(inside.packet_filter(NodeId(3)), [], "an exit leads out of the tailnet, not into it");
    let back = compile(
        &policy(vec![rule(vec![prefix("10.33.1.0/24")], vec![to(prefix("100.64.0.1/32"), 22)])]),
        &subjects,
    );
    assert!(back.sees(NodeId(2), NodeId(1)) && !back.sees(NodeId(3), NodeId(1)));
}

#[test]
fn which_routes_are_shown_is_a_matter_of_the_two_and_no_third() {
    let tag = || Selector::Tag("tag:a".into());
    let inner: IpNet = "192.168.1.0/24".parse().expect("a prefix");
    let half: IpNet = "0.0.0.0/1".parse().expect("a prefix");
    let to_inner = to(Selector::Prefix(inner), 80);
    let policy = policy(vec![rule(vec![tag()], vec![to_inner, to(Selector::User("u@".into()), 22)])]);
    let router = Subject { routes: vec![half], ..subject(1, Some("u"), &[]) };
    let third = subject(2, None, &["tag:a"]);
    for subjects in [vec![router.clone()], vec![router, third]] {
        let compiled = compile(&policy, &subjects);
        assert!(!compiled.shows_route(NodeId(1), &inner), "a node is not behind another's route");
        assert!(!compiled.shows_route(NodeId(1), &half), "nor does it send from there");
    }
}

#[test]
fn protocols_keep_their_rules_apart() {
    let mut udp = rule(vec![Selector::Any], vec![to(prefix("100.64.0.2/32"), 53)]);
    udp.protocols = vec![17];
    let compiled = compile(
        &policy(vec![udp, rule(vec![Selector::Any], vec![to(prefix("100.64.0.2/32"), 22)])]),
        &[subject(2, None, &[])],
    );
    let protocols: Vec<_> = compiled.packet_filter(NodeId(2)).into_iter().map(|rule| rule.ip_proto).collect();
    assert_eq!(protocols, [vec![], vec![17]]);
    let (from, at) = (IpAddr::from([100, 64, 0, 9]), IpAddr::from([100, 64, 0, 2]));
    assert!(
        compiled.allows(from, at, 17, 53)
            && !compiled.allows(from, at, 6, 53)
            && compiled.allows(from, at, 6, 22)
    );
    assert!(!compiled.allows(IpAddr::from([10, 0, 0, 1]), at, 17, 53), "`*` is the tailnet, not the world");
}

#[test]
fn a_verdict_depends_where_only_the_nodes_can_tell() {
    let gateway = IpAddr::from([100, 64, 0, 1]);
    let machine = IpAddr::from([100, 64, 0, 2]);
    let policy = policy(vec![
        rule(vec![prefix("100.64.0.1/32")], vec![to(prefix("100.64.0.2/32"), 22)]),
        rule(vec![prefix("100.64.0.1/32")], vec![to(Selector::Tag("tag:web".into()), 80)]),
    ]);
    let verdicts = [22, 80, 443].map(|port| policy.verdict(gateway, machine, 6, port));
    assert_eq!(verdicts, [Verdict::Allowed, Verdict::Depends, Verdict::Forbidden]);
    assert_eq!(Policy::default().verdict(gateway, machine, 17, 9), Verdict::Allowed);
}

fn any_selector() -> impl Strategy<Value = Selector> {
    prop_oneof![
        Just(Selector::Any),
        (1u8..9).prop_map(|last| prefix(&format!("100.64.0.{last}/32"))),
        Just(prefix("100.64.0.4/30")),
        "[ab]".prop_map(Selector::User),
        "[xy]".prop_map(|tag| Selector::Tag(format!("tag:{tag}"))),
        Just(Selector::Autogroup(Autogroup::Member)),
        Just(Selector::Autogroup(Autogroup::Tagged)),
    ]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let destinations = prop::collection::vec((any_selector(), 1u16..4), 1..3);
    (prop::collection::vec(any_selector(), 1..3), destinations).prop_map(|(sources, destinations)| {
        rule(sources, destinations.into_iter().map(|(selector, port)| to(selector, port)).collect())
    })
}

proptest! {
    /// Seeing is having some address that may reach some address of the other, in either direction.
    #[test]
    fn sight_follows_from_access(rules in prop::collection::vec(any_rule(), 0..5), reversed in any::<bool>()) {
        let mut subjects: Vec<Subject> = (1..9)
            .map(|last| match last % 3 {
                0 => subject(last, None, &[if last % 2 == 0 { "tag:x" } else { "tag:y" }]),
                1 => subject(last, Some("a"), &[]),
                _ => subject(last, Some("b"), &[]),
            })
            .collect();
        let compiled = compile(&policy(rules.clone()), &subjects);
        let reaches = |from: &Subject, to: &Subject| (1..4).any(|port| compiled.allows(from.ipv4.into(), to.ipv4.into(), 6, port));
        for a in &subjects {
            for b in &subjects {
                prop_assert_eq!(compiled.sees(a.id, b.id), reaches(a, b) || reaches(b, a), "{} {}", a.id, b.id);
                let is_open = subjects.iter().any(|from| reaches(from, b));
                prop_assert!(!is_open || !compiled.packet_filter(b.id).is_empty(), "{} has no filter", b.id);
            }
        }
        if reversed {
            subjects.reverse();
        }
        let again = compile(&policy(rules), &subjects);
        for subject in &subjects {
            prop_assert_eq!(again.packet_filter(subject.id), compiled.packet_filter(subject.id));
        }
    }
}
