//! Random lives of a small tailnet, without tasks or clocks: whatever happens, the state keeps its rules, and what a viewer
//! made of its deltas is what it would be told afresh.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::hub::{Hub, Mail, Mailbox};
use super::*;
use crate::base::secret::Secret;
use crate::base::wall_time::UnixTime;
use crate::coordinator::core::admin_view::{KeyRequest, NodeExpiry};
use crate::coordinator::core::change::Change;
use crate::coordinator::core::map_session::{COALESCE_MAX, MapSession};
use crate::coordinator::core::policy::{Destination, Rule, Selector};
use crate::coordinator::core::test_support::{client, house_policy, settings};
use crate::wire::control::{
    DerpMap, FilterRule, Hostinfo, NetInfo, Node, PortRange, RegisterAuth, UserId, UserProfile,
};
use crate::wire::key::DiscoPublic;

const WALL: WallTime = WallTime::Known(UnixTime(1_800_000_000));
const MACHINES: u8 = 8;

#[derive(Debug, Clone, Copy)]
enum Step {
    Join { machine: u8, key: usize, new_node_key: bool },
    LogOut { machine: u8 },
    Report { machine: u8, value: u8 },
    Attach { machine: u8 },
    Detach { session: usize },
    Delete { node: i64 },
    Expire { node: i64 },
    Tag { node: i64 },
    Rename { node: i64, value: u8 },
    RenameUser { value: u8 },
    ApproveRoutes { node: i64, value: u8 },
    Policy { value: u8 },
    Relay { value: u8 },
    Wait { seconds: u64 },
    Listen { session: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let machine = 1..=MACHINES;
    let node = 1..14_i64;
    prop_oneof![
        5 => (machine.clone(), 0..5_usize, any::<bool>()).prop_map(|(machine, key, new_node_key)| Step::Join { machine, key, new_node_key }),
        1 => machine.clone().prop_map(|machine| Step::LogOut { machine }),
        5 => (machine.clone(), any::<u8>()).prop_map(|(machine, value)| Step::Report { machine, value }),
        4 => machine.prop_map(|machine| Step::Attach { machine }),
        1 => (0..8_usize).prop_map(|session| Step::Detach { session }),
        1 => node.clone().prop_map(|node| Step::Delete { node }),
        1 => node.clone().prop_map(|node| Step::Expire { node }),
        1 => node.clone().prop_map(|node| Step::Tag { node }),
        1 => (node.clone(), any::<u8>()).prop_map(|(node, value)| Step::Rename { node, value }),
        1 => any::<u8>().prop_map(|value| Step::RenameUser { value }),
        2 => (node, any::<u8>()).prop_map(|(node, value)| Step::ApproveRoutes { node, value }),
        2 => any::<u8>().prop_map(|value| Step::Policy { value }),
        1 => any::<u8>().prop_map(|value| Step::Relay { value }),
        2 => (0..4000_u64).prop_map(|seconds| Step::Wait { seconds }),
        5 => (0..8_usize).prop_map(|session| Step::Listen { session }),
    ]
}

/// What a client makes of the messages.
#[derive(Debug, Default)]
struct Viewer {
    node: Node,
    peers: BTreeMap<NodeId, Node>,
    profiles: BTreeMap<UserId, UserProfile>,
    filters: Vec<FilterRule>,
    derp_map: DerpMap,
}

impl Viewer {
    fn hear(&mut self, message: MapResponse) {
        self.node = message.node.map_or(std::mem::take(&mut self.node), |node| *node);
        self.derp_map = message.derp_map.unwrap_or(std::mem::take(&mut self.derp_map));
        self.profiles.extend(message.user_profiles.into_iter().map(|profile| (profile.id, profile)));
        if let Some(mut filters) = message.packet_filters {
            self.filters = filters.remove("base").expect("the one name in use");
        }
        if !message.peers.is_empty() {
            self.peers = message.peers.into_iter().map(|peer| (peer.id, peer)).collect();
        }
        for node in message.peers_removed {
            assert!(self.peers.remove(&node).is_some(), "it removes a peer that was never shown");
        }
        self.peers.extend(message.peers_changed.into_iter().map(|peer| (peer.id, peer)));
        for change in message.peers_changed_patch {
            let peer = self.peers.get_mut(&change.node_id).expect("it patches a peer that was never shown");
            peer.endpoints = change.endpoints.unwrap_or(std::mem::take(&mut peer.endpoints));
            peer.disco_key = change.disco_key.unwrap_or(peer.disco_key);
            if let Some(region) = change.derp_region {
                peer.home_derp = region;
                peer.legacy_derp = format!("127.3.3.40:{region}");
            }
            peer.last_seen = change.last_seen.or(peer.last_seen.filter(|_| change.online != Some(true)));
            peer.online = change.online.or(peer.online);
        }
        for user in self.peers.values().map(|peer| peer.user).chain([self.node.user]) {
            assert!(self.profiles.contains_key(&user), "a node came before its owner's profile");
        }
    }

    /// The reports that a node made of itself are no news to it.
    fn own(&self) -> Node {
        let own =
            Node { endpoints: Vec::new(), home_derp: 0, legacy_derp: String::new(), ..self.node.clone() };
        Node { disco_key: DiscoPublic::default(), online: None, last_seen: None, ..own }
    }

    fn assert_same(&self, fresh: &Self) {
        assert_eq!(self.own(), fresh.own());
        assert_eq!(self.peers, fresh.peers);
        assert_eq!(self.filters, fresh.filters);
        assert_eq!(self.derp_map, fresh.derp_map);
        for (user, profile) in &fresh.profiles {
            assert_eq!(self.profiles.get(user), Some(profile));
        }
    }
}

struct Session {
    mailbox: Arc<Mailbox>,
    poll: MapSession,
    viewer: Viewer,
}

struct World {
    tailnet: Tailnet,
    hub: Hub,
    sessions: Vec<Session>,
    keys: Vec<String>,
    /// The node key each machine uses at present.
    node_keys: BTreeMap<u8, NodePublic>,
    fresh_keys: u8,
    rng: SeededRng,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let tailnet = Tailnet::new(settings(), house_policy());
        let now = Instant::now();
        let hub = Hub::new(Arc::new(tailnet.view().clone()), now);
        let mut world = Self {
            tailnet,
            hub,
            sessions: Vec::new(),
            keys: Vec::new(),
            node_keys: BTreeMap::new(),
            fresh_keys: 100,
            rng: SeededRng::new([5; 32]),
            now,
        };
        let plain = || KeyRequest { reusable: true, ..KeyRequest::default() };
        world.add_key(&plain());
        world.add_key(&KeyRequest { ephemeral: true, ..plain() });
        world.add_key(&KeyRequest { acl_tags: vec!["tag:a".into()], ..plain() });
        world.add_key(&KeyRequest { host: Some("machine-a".into()), ..plain() });
        world.add_key(&KeyRequest { host: Some("machine-b".into()), reusable: false, ..plain() });
        world
    }

    fn add_key(&mut self, request: &KeyRequest) {
        let made = self.tailnet.decide_create_key(request, WALL, &mut self.rng).expect("a plain key");
        self.keys.push(made.0.key);
        self.commit(made.1);
    }

    fn commit(&mut self, mutations: impl IntoIterator<Item = Mutation>) {
        let mut change = Change::default();
        for mutation in mutations {
            change.merge(self.tailnet.apply(&mutation));
        }
        change.merge(self.tailnet.settle());
        self.hub.publish(&Arc::new(self.tailnet.view().clone()), &change, self.now);
    }

    fn keep_up(&mut self) {
        for event in self.hub.poll_presence(self.now) {
            let mutation = self.tailnet.decide_presence(event, WALL);
            self.commit(mutation);
        }
    }

    fn node_key(&self, machine: u8) -> NodePublic {
        self.node_keys.get(&machine).copied().unwrap_or(client(machine).node)
    }

    fn register(&mut self, machine: u8, key: Option<usize>, expiry: Option<UnixTime>) {
        let auth = key.map(|key| RegisterAuth { auth_key: Some(Secret::new(self.keys[key].clone())) });
        // Few names for many machines, one of them a host's.
        let hostname = if machine.is_multiple_of(3) { "machine-b" } else { "pc" };
        let request = RegisterRequest {
            version: 142,
            node_key: self.node_key(machine),
            auth,
            expiry,
            hostinfo: Some(Hostinfo { hostname: hostname.into(), ..Hostinfo::default() }),
            ..RegisterRequest::default()
        };
        let decision = self.tailnet.decide_register(client(machine).machine, &request, WALL);
        self.commit(decision.expect("a sensible request").1);
    }

    fn report(&mut self, machine: u8, value: u8) {
        let net_info = (!value.is_multiple_of(5))
            .then(|| NetInfo { preferred_derp: i32::from(value % 3), ..NetInfo::default() });
        let routes = if value.is_multiple_of(4) { vec![route(value)] } else { Vec::new() };
        let hostname = if value % 16 == 1 { "renamed" } else { "" };
        let hostinfo =
            Hostinfo { hostname: hostname.into(), net_info, routable_ips: routes, ..Hostinfo::default() };
        let request = MapRequest {
            version: 142,
            node_key: self.node_key(machine),
            disco_key: DiscoPublic::from_bytes([value % 3; 32]),
            hostinfo: Some(hostinfo),
            endpoints: vec![SocketAddr::from(([192, 0, 2, value % 4], 41641))],
            omit_peers: true,
            ..MapRequest::default()
        };
        if let Ok((_, mutations)) = self.tailnet.decide_report(client(machine).machine, &request) {
            self.commit(mutations);
        }
    }

    fn attach(&mut self, machine: u8) {
        let node = self.tailnet.view().node_by_key(self.node_key(machine)).map(|node| node.id);
        let node = node.unwrap_or(GATEWAY_NODE);
        let Some((mailbox, snapshot)) = self.hub.attach(node) else { return };
        let mut session = MapSession::new(node, None, snapshot, self.now, 7);
        let mut viewer = Viewer::default();
        viewer.hear(session.poll_message(self.now, WALL).expect("a greeting"));
        self.sessions.push(Session { mailbox, poll: session, viewer });
    }

    fn detach(&mut self, index: usize) {
        if index < self.sessions.len() {
            let session = self.sessions.remove(index);
            self.hub.detach(session.poll.viewer(), &session.mailbox, self.now);
        }
    }

    /// Lets one session catch up, and compares it with a fresh one.
    fn listen(&mut self, index: usize) {
        let Some(session) = self.sessions.get_mut(index) else { return };
        match session.mailbox.take() {
            Mail::End => return self.detach(index),
            Mail::News(batch) => session.poll.handle_batch(batch, self.now),
            Mail::None => {}
        }
        self.now += COALESCE_MAX;
        while let Some(message) = session.poll.poll_message(self.now, WALL) {
            if !message.keep_alive {
                session.viewer.hear(message);
            }
        }
        self.hub.refresh(&mut session.poll, &session.mailbox);
        let view = self.tailnet.view();
        let mut fresh = Viewer::default();
        fresh.hear(map_builder::full(view, session.poll.viewer(), None, WALL).expect("it is there"));
        session.viewer.assert_same(&fresh);
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Join { machine, key, new_node_key } => {
                if new_node_key {
                    self.fresh_keys += 1;
                    self.node_keys.insert(machine, NodePublic::from_bytes([self.fresh_keys; 32]));
                }
                self.register(machine, Some(key), None);
            }
            Step::LogOut { machine } => self.register(machine, None, Some(UnixTime(123))),
            Step::Report { machine, value } => self.report(machine, value),
            Step::Attach { machine } => self.attach(machine),
            Step::Detach { session } => self.detach(session),
            Step::Policy { value } => self.commit(self.tailnet.decide_policy(policy(value))),
            Step::Relay { value } => {
                let relay = RelaySettings { derp_port: u16::from(value % 2) + 443, ..settings().relay };
                self.commit([Mutation::Relay(Arc::new(relay))]);
            }
            Step::Wait { seconds } => self.now += Duration::from_secs(seconds),
            Step::Listen { session } => self.listen(session),
            other => self.administer(other),
        }
        self.keep_up();
    }

    fn administer(&mut self, step: Step) {
        let decided = match step {
            Step::Delete { node } => self.tailnet.decide_delete_node(NodeId(node)).map(|done| done.1),
            Step::Expire { node } => {
                self.tailnet.decide_expire_node(NodeId(node), NodeExpiry::Now, WALL).map(|done| done.1)
            }
            Step::Tag { node } => {
                self.tailnet.decide_tag_node(NodeId(node), vec!["tag:a".into()]).map(|done| done.1)
            }
            Step::Rename { node, value } => {
                let name = ["pc", "machine-b", "x", "renamed"][usize::from(value % 4)];
                self.tailnet.decide_rename_node(NodeId(node), name).map(|done| done.1)
            }
            Step::RenameUser { value } => {
                self.tailnet.decide_rename_user(UserId(1), &format!("u{}", value % 3)).map(|done| done.1)
            }
            Step::ApproveRoutes { node, value } => {
                let routes = [route(value), route(value.wrapping_add(4))];
                self.tailnet.decide_approve_routes(NodeId(node), &routes).map(|done| done.1)
            }
            _ => Ok(Vec::new()),
        };
        if let Ok(mutations) = decided {
            self.commit(mutations);
        }
    }

    fn assert_rules(&self) {
        let records: Vec<_> = self.tailnet.view().entries().map(|entry| &entry.record).collect();
        assert_distinct(records.iter().map(|node| node.node_key));
        assert_distinct(records.iter().map(|node| node.ipv4));
        assert_distinct(records.iter().map(|node| node.name.clone()));
        for node in &records {
            let policy = self.tailnet.view().policy();
            let reserved = policy.reserved_name(node.ipv4.into()).map(str::to_owned);
            let host = node.host.clone().filter(|host| policy.hosts.contains_key(host));
            let own = if node.id == GATEWAY_NODE { Some("raspberry-pi".into()) } else { host };
            let is_named = |label: &String| policy.hosts.contains_key(label);
            assert!(
                !is_named(&node.name) || own.as_ref() == Some(&node.name),
                "a host's name is its own too"
            );
            assert_eq!(reserved, own, "a reserved address is its host's, and a host has its address");
            assert_eq!(self.tailnet.view().node_by_key(node.node_key).map(|found| found.id), Some(node.id));
        }
    }
}

fn assert_distinct<T: Ord>(values: impl Iterator<Item = T>) {
    let all: Vec<_> = values.collect();
    let count = all.len();
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), count);
}

/// One of two prefixes, the way to the internet, or half of it, in which the tailnet's own addresses are.
fn route(value: u8) -> ipnet::IpNet {
    let text = ["192.168.1.0/24", "10.0.0.0/8", "0.0.0.0/0", "0.0.0.0/1"][usize::from(value / 4 % 4)];
    text.parse().expect("a test prefix")
}

/// Hosts that come, go and trade places, under different rules.
fn policy(value: u8) -> Policy {
    let rule = |from: Selector, to: Selector| Rule {
        protocols: Vec::new(),
        sources: vec![from],
        destinations: vec![Destination { selector: to, ports: vec![PortRange::ALL] }],
    };
    let own = || Selector::User("u1@".into());
    let tag = || Selector::Tag("tag:a".into());
    let gateway = Selector::Prefix("100.64.0.1/32".parse().expect("a test prefix"));
    let rules = match value % 5 {
        0 => None,
        1 => Some(Vec::new()),
        2 => Some(vec![rule(gateway, Selector::Any)]),
        3 => Some(vec![rule(own(), tag()), rule(tag(), Selector::Prefix(route(0)))]),
        _ => Some(vec![rule(own(), own())]),
    };
    let tag_owners = [("tag:a".to_owned(), vec![])].into();
    Policy { tag_owners, rules, hosts: hosts(value / 5), ..house_policy() }
}

fn hosts(value: u8) -> BTreeMap<String, ipnet::IpNet> {
    let (a, b, c) = [(2, 3, 4), (3, 2, 4), (5, 6, 7), (6, 4, 9)][usize::from(value % 4)];
    let mut hosts = house_policy().hosts;
    for (name, last) in [("machine-a", a), ("machine-b", b), ("pc", c)] {
        hosts.insert(name.into(), ipnet::Ipv4Net::from(std::net::Ipv4Addr::new(100, 64, 0, last)).into());
    }
    hosts.remove("machine-c");
    if value.is_multiple_of(3) {
        hosts.remove("machine-a");
    }
    hosts
}

/// Lives that only differ from others in what went on between two messages.
fn assert_told(steps: impl IntoIterator<Item = Step>) {
    let mut world = World::new();
    // The one user's nodes see each other and nobody else.
    for step in [Step::RenameUser { value: 1 }, Step::Policy { value: 4 }].into_iter().chain(steps) {
        world.run(step);
    }
    world.listen(0);
}

#[test]
fn who_came_while_the_viewer_was_somebody_else_is_told() {
    let join = |machine, key| Step::Join { machine, key, new_node_key: false };
    let (as_own, as_tagged) = (0, 2);
    assert_told([
        join(5, as_own),
        Step::Attach { machine: 5 },
        join(5, as_tagged),
        join(1, as_own),
        join(5, as_own),
    ]);
}

#[test]
fn who_went_while_the_viewer_was_somebody_else_is_told() {
    let join = |machine, key| Step::Join { machine, key, new_node_key: false };
    let (as_own, as_tagged) = (0, 2);
    assert_told([
        join(5, as_own),
        join(1, as_own),
        Step::Attach { machine: 5 },
        join(5, as_tagged),
        Step::Delete { node: 3 },
        join(5, as_own),
    ]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn deltas_lead_where_a_fresh_map_does(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
            world.assert_rules();
        }
        for index in (0..world.sessions.len()).rev() {
            world.listen(index);
        }
    }
}
