//! Who is let in, as whom, and what the others are told.

use std::net::Ipv4Addr;

use super::*;
use crate::base::rng::SeededRng;
use crate::base::secret::Secret;
use crate::coordinator::core::admin_view::{KeyRequest, NodeExpiry, UserRequest};
use crate::coordinator::core::auth_key::KeyId;
use crate::coordinator::core::policy::{Policy, Selector};
use crate::coordinator::core::tailnet::{GATEWAY_NODE, TailnetSettings};
use crate::coordinator::core::test_support::{client, house_policy, settings};
use crate::wire::control::{Hostinfo, NodeId, RegisterAuth, UserId};
use crate::wire::key::NodePublic;

const NOW: WallTime = WallTime::Known(UnixTime(1_800_000_000));

/// A tailnet and the commands on it, each applied at once.
struct House {
    tailnet: Tailnet,
    rng: SeededRng,
}

impl House {
    fn new() -> Self {
        Self { tailnet: Tailnet::new(settings(), house_policy()), rng: SeededRng::new([3; 32]) }
    }

    fn key(&mut self, request: &KeyRequest) -> String {
        let (view, mutations) =
            self.tailnet.decide_create_key(request, NOW, &mut self.rng).expect("a key that can be made");
        self.apply(&mutations);
        view.key
    }

    fn apply(&mut self, mutations: &[Mutation]) {
        for mutation in mutations {
            self.tailnet.apply(mutation);
        }
        self.tailnet.settle();
    }

    fn send(&mut self, number: u8, request: &RegisterRequest) -> RegisterResponse {
        let machine = client(number).machine;
        let (answer, mutations) =
            self.tailnet.decide_register(machine, request, NOW).expect("a sensible request");
        self.apply(&mutations);
        answer
    }

    fn join(&mut self, number: u8, key: &str) -> RegisterResponse {
        self.send(number, &request(number, Some(key)))
    }

    fn node(&self, number: u8) -> &NodeRecord {
        self.tailnet.view().node_by_key(client(number).node).expect("it joined")
    }
}

fn request(number: u8, key: Option<&str>) -> RegisterRequest {
    RegisterRequest {
        version: 142,
        node_key: client(number).node,
        auth: key.map(|key| RegisterAuth { auth_key: Some(Secret::new(key.to_owned())) }),
        hostinfo: Some(Hostinfo { hostname: format!("host-{number}"), ..Hostinfo::default() }),
        ..RegisterRequest::default()
    }
}

fn once() -> KeyRequest {
    KeyRequest::default()
}

fn reusable() -> KeyRequest {
    KeyRequest { reusable: true, ..KeyRequest::default() }
}

fn for_host(host: &str) -> KeyRequest {
    KeyRequest { host: Some(host.to_owned()), ..KeyRequest::default() }
}

#[test]
fn a_key_works_once_and_again_for_the_same_machine_only() {
    let mut house = House::new();
    let key = house.key(&once());
    let answer = house.join(1, &key);
    assert!(answer.machine_authorized && answer.login.login_name == "owner@", "{}", answer.error);
    assert!(house.join(1, &key).machine_authorized, "a container starts again");
    assert!(house.join(2, &key).error.contains("used already"));
    let (view, mutations) = house.tailnet.decide_expire_key(KeyId(1)).expect("it is there");
    house.apply(&mutations);
    assert_eq!(view.id, KeyId(1));
    assert!(house.join(1, &key).machine_authorized, "also when the key has ended");
    let mutations = house.tailnet.decide_delete_key(KeyId(1)).expect("it is there").1;
    house.apply(&mutations);
    assert!(house.join(1, &key).machine_authorized, "also when the key is gone");
    assert!(house.join(2, &key).error.contains("not known here"));
}

#[test]
fn a_restart_needs_no_key_and_changes_nothing() {
    let mut house = House::new();
    let key = house.key(&once());
    house.join(1, &key);
    let before = house.node(1).clone();
    let answer = house.send(1, &request(1, None));
    assert!(answer.machine_authorized);
    assert_eq!(*house.node(1), before);
}

#[test]
fn without_a_key_the_person_is_told_how_to_make_one() {
    let mut house = House::new();
    let answer = house.send(1, &request(1, None));
    assert!(answer.error.contains("genkan preauthkeys create") && answer.auth_url.is_empty());
}

#[test]
fn nobody_takes_over_a_node_by_naming_its_key() {
    let mut house = House::new();
    let key = house.key(&reusable());
    house.join(1, &key);
    let stolen = RegisterRequest { node_key: client(1).node, ..request(2, Some(&key)) };
    assert!(house.send(2, &stolen).error.contains("another machine"));
    let logout = RegisterRequest { expiry: Some(UnixTime(123)), ..stolen };
    house.send(2, &logout);
    assert!(!house.node(1).expired);
}

#[test]
fn a_new_node_key_after_logging_out_is_the_same_node() {
    let mut house = House::new();
    let key = house.key(&reusable());
    house.join(1, &key);
    let (id, address) = (house.node(1).id, house.node(1).ipv4);
    let logout = RegisterRequest { expiry: Some(UnixTime(123)), ..request(1, Some(&key)) };
    assert!(house.send(1, &logout).node_key_expired);
    assert!(house.node(1).expired);
    assert!(house.send(1, &request(1, None)).node_key_expired, "it must make a new key");
    let fresh = NodePublic::from_bytes([99; 32]);
    let renewal = RegisterRequest { node_key: fresh, old_node_key: client(1).node, ..request(1, Some(&key)) };
    assert!(house.send(1, &renewal).machine_authorized);
    let node = house.tailnet.view().node_by_key(fresh).expect("renewed");
    assert_eq!((node.id, node.ipv4, node.expired), (id, address, false));
    assert!(house.tailnet.view().node_by_key(client(1).node).is_none(), "the old key is forgotten");
}

#[test]
fn a_machine_that_was_renamed_while_logged_out_comes_back_by_its_new_name() {
    let mut house = House::new();
    let key = house.key(&reusable());
    house.join(1, &key);
    let hostinfo = Hostinfo { hostname: "Attic PC".into(), ..Hostinfo::default() };
    let renewal =
        RegisterRequest { node_key: client(9).node, hostinfo: Some(hostinfo), ..request(1, Some(&key)) };
    house.send(1, &renewal);
    assert_eq!(house.node(9).name, "attic-pc");
}

#[test]
fn an_ephemeral_node_goes_when_it_logs_out() {
    let mut house = House::new();
    let key = house.key(&KeyRequest { ephemeral: true, ..once() });
    house.join(1, &key);
    let logout = RegisterRequest { expiry: Some(UnixTime(123)), ..request(1, None) };
    house.send(1, &logout);
    assert!(house.tailnet.view().node_by_key(client(1).node).is_none());
}

#[test]
fn a_node_may_end_its_key_sooner_but_not_later() {
    let mut house = House::new();
    let key = house.key(&once());
    house.join(1, &key);
    let wish = |seconds| RegisterRequest { expiry: Some(UnixTime(seconds)), ..request(1, None) };
    assert!(house.send(1, &wish(1_800_000_100)).machine_authorized);
    assert_eq!(house.node(1).expiry, Some(UnixTime(1_800_000_100)));
    let later = house.tailnet.decide_register(client(1).machine, &wish(1_800_000_200), NOW);
    assert_eq!(later.expect_err("its own key").status, 400);
    let never: UnixTime = "0001-01-01T00:00:00Z".parse().expect("Go's zero time");
    house.send(1, &RegisterRequest { expiry: Some(never), ..request(1, None) });
    assert_eq!(house.node(1).expiry, Some(UnixTime(1_800_000_100)), "no wish leaves it alone");
}

#[test]
fn time_ends_a_key_only_when_the_clock_is_known() {
    let mut house = House::new();
    let key = house.key(&once());
    house.join(1, &key);
    let (_, mutations) = house
        .tailnet
        .decide_expire_node(house.node(1).id, NodeExpiry::At(UnixTime(1_800_000_010)), NOW)
        .expect("a later moment");
    house.apply(&mutations);
    assert_eq!(house.tailnet.decide_ended_keys(WallTime::Unknown), []);
    assert_eq!(house.tailnet.decide_ended_keys(NOW), []);
    let ended = house.tailnet.decide_ended_keys(WallTime::Known(UnixTime(1_800_000_010)));
    house.apply(&ended);
    assert!(house.node(1).expired);
    assert_eq!(house.tailnet.next_expiry(), None, "it ends once");
}

#[test]
fn a_host_gets_its_address_and_its_name_and_nobody_else_does() {
    let mut house = House::new();
    let plain = house.key(&reusable());
    house.join(1, &plain);
    assert_eq!(house.node(1).ipv4, Ipv4Addr::new(100, 64, 0, 5), "after the reserved ones");
    let key = house.key(&for_host("machine-a"));
    assert!(house.join(2, &key).machine_authorized);
    assert_eq!(
        (house.node(2).ipv4, house.node(2).name.as_str()),
        (Ipv4Addr::new(100, 64, 0, 2), "machine-a")
    );
    let second = house.key(&for_host("machine-a"));
    assert!(house.join(3, &second).error.contains("already taken by node 3"));
    let hostinfo = Hostinfo { hostname: "machine-b".into(), ..Hostinfo::default() };
    let pretender = RegisterRequest { hostinfo: Some(hostinfo), ..request(4, Some(&plain)) };
    house.send(4, &pretender);
    assert_eq!(house.node(4).name, "machine-b-1");
    let gateway = house.tailnet.view().node(GATEWAY_NODE).expect("always");
    assert_eq!((gateway.ipv4, gateway.name.as_str()), (Ipv4Addr::new(100, 64, 0, 1), "raspberry-pi"));
}

#[test]
fn a_node_becomes_a_host_by_joining_again_with_its_key() {
    let mut house = House::new();
    let plain = house.key(&once());
    house.join(1, &plain);
    let id = house.node(1).id;
    let key = house.key(&for_host("machine-c"));
    assert!(house.join(1, &key).machine_authorized);
    let node = house.node(1);
    assert_eq!((node.id, node.ipv4, node.name.as_str()), (id, Ipv4Addr::new(100, 64, 0, 4), "machine-c"));
}

#[test]
fn a_key_for_a_host_that_the_policy_forgot_opens_nothing() {
    let mut house = House::new();
    let key = house.key(&for_host("machine-a"));
    let mutations = house.tailnet.decide_policy(Policy::default());
    house.apply(&mutations);
    assert!(house.join(1, &key).error.contains("no host machine-a"));
    let gateway = house.tailnet.view().node(GATEWAY_NODE).expect("always");
    assert_eq!(gateway.name, "gateway");
    assert!(house.tailnet.view().keys.values().all(|key| !key.used), "and is not used up");
}

#[test]
fn tags_come_from_the_key_or_by_leave_of_the_policy() {
    let mut house = House::new();
    let tagged = house.key(&KeyRequest { acl_tags: vec!["tag:server".into()], ..once() });
    let answer = house.join(1, &tagged);
    assert_eq!(answer.login.login_name, "tagged-devices");
    assert_eq!((house.node(1).user, house.node(1).tags.as_slice()), (None, &["tag:server".to_owned()][..]));

    let plain = house.key(&reusable());
    let asks = |tag: &str| {
        let hostinfo = Hostinfo { request_tags: vec![tag.to_owned()], ..Hostinfo::default() };
        RegisterRequest { hostinfo: Some(hostinfo), ..request(2, Some(&plain)) }
    };
    assert!(house.send(2, &asks("tag:server")).error.contains("tags not allowed"));
    let owners = [("tag:server".to_owned(), vec![Selector::User("owner@".into())])];
    let policy = Policy { tag_owners: owners.into(), ..house_policy() };
    let mutations = house.tailnet.decide_policy(policy);
    house.apply(&mutations);
    assert!(house.send(2, &asks("tag:server")).machine_authorized);
    assert_eq!(house.node(2).tags, ["tag:server"]);
}

#[test]
fn tags_asked_for_twice_are_given_once_and_not_without_end() {
    let mut house = House::new();
    let key = house.key(&reusable());
    let all: Vec<String> = (0..33).map(|number| format!("tag:{number:02}")).collect();
    let owners = all.iter().map(|tag| (tag.clone(), vec![Selector::User("owner@".into())]));
    let policy = Policy { tag_owners: owners.collect(), ..house_policy() };
    let mutations = house.tailnet.decide_policy(policy);
    house.apply(&mutations);
    let asks = |tags: Vec<String>| {
        let hostinfo = Hostinfo { request_tags: tags, ..Hostinfo::default() };
        RegisterRequest { hostinfo: Some(hostinfo), ..request(2, Some(&key)) }
    };
    assert!(house.send(2, &asks(all.clone())).error.contains("more than 32 tags"));
    let often = std::iter::repeat_n(all[..2].to_vec(), 1000).flatten().collect();
    assert!(house.send(2, &asks(often)).machine_authorized);
    assert_eq!(house.node(2).tags, all[..2]);
}

#[test]
fn a_full_tailnet_says_so_and_lets_known_machines_in() {
    let mut house = House::new();
    let key = house.key(&reusable());
    assert!(house.join(1, &key).machine_authorized);
    let one = house.node(1).clone();
    for number in 3..=i64::try_from(admission::NODES_MAX).expect("small") {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        let (machine, node_key) = (MachinePublic::from_bytes(bytes), NodePublic::from_bytes(bytes));
        let [.., high, low] = u32::try_from(number).expect("small").to_be_bytes();
        let ipv4 = Ipv4Addr::new(100, 70, high, low);
        let name = format!("filler-{number}");
        let filler = NodeRecord { id: NodeId(number), machine, node_key, ipv4, name, ..one.clone() };
        house.tailnet.apply(&Mutation::Node(Box::new(filler)));
    }
    house.tailnet.settle();
    assert!(house.join(2, &key).error.contains("takes no more"));
    assert!(house.join(1, &key).machine_authorized);
}

#[test]
fn the_key_of_a_tagged_node_does_not_end() {
    let mut house = House::new();
    let plain = house.key(&reusable());
    let tagged = house.key(&KeyRequest { acl_tags: vec!["tag:server".into()], ..reusable() });
    let ends = |key| RegisterRequest { expiry: Some(UnixTime(1_900_000_000)), ..request(1, key) };
    house.send(1, &ends(Some(&plain)));
    assert_eq!(house.node(1).expiry, Some(UnixTime(1_900_000_000)));
    house.send(1, &ends(Some(&tagged)));
    assert_eq!((house.node(1).user, house.node(1).expiry), (None, None));
    assert!(house.send(1, &ends(None)).machine_authorized);
    assert_eq!(house.node(1).expiry, None, "nor when it asks for an end later");
}

#[test]
fn another_user_of_the_machine_is_another_node() {
    let mut house = House::new();
    let user = UserRequest { name: "second".into(), ..UserRequest::default() };
    let (user, mutations) = house.tailnet.decide_create_user(&user, NOW).expect("a new name");
    house.apply(&mutations);
    let (first, second) =
        (house.key(&reusable()), house.key(&KeyRequest { user: Some(user.id), ..reusable() }));
    house.join(1, &first);
    let answer = house.join(1, &second);
    assert!(answer.node_key_expired && !answer.machine_authorized, "one key cannot be two nodes");
    let renewal = RegisterRequest { node_key: client(7).node, ..request(1, Some(&second)) };
    assert!(house.send(1, &renewal).machine_authorized);
    assert_ne!(house.node(7).id, house.node(1).id);
    assert!(house.node(1).expired && !house.node(7).expired);
    let refusal = house.tailnet.decide_delete_user(UserId(2)).expect_err("it has a node");
    assert_eq!(refusal.status, 409);
}

#[test]
fn old_clients_are_told_to_update() {
    let house = House::new();
    let old = RegisterRequest { version: 112, ..request(1, None) };
    let refusal = house.tailnet.decide_register(client(1).machine, &old, NOW).expect_err("too old");
    assert_eq!(refusal.status, 400);
}

#[test]
fn numbers_and_addresses_of_the_gone_are_not_soon_given_again() {
    let mut house = House::new();
    let key = house.key(&reusable());
    house.join(1, &key);
    let (id, address) = (house.node(1).id, house.node(1).ipv4);
    let mutations = house.tailnet.decide_delete_node(id).expect("it is there").1;
    house.apply(&mutations);
    house.join(2, &key);
    assert!(house.node(2).id > id && house.node(2).ipv4 != address, "{:?}", house.node(2));
    let restored = Tailnet::restore(
        TailnetSettings { ..settings() },
        Policy::default(),
        &[Mutation::Issued(house.tailnet.issued)],
    );
    assert_eq!(restored.issued.node, NodeId(3));
}
