//! Users, nodes, keys: the state, and the one way it changes.
//!
//! `decide_*` methods (in `registration`, `report`, `administration`) read the state and give mutations; [`Tailnet::apply`]
//! makes them true; [`Tailnet::settle`] recomputes what depends on several nodes: routers, filters, visibility.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::base::paged_map::PagedMap;
use crate::base::wall_time::UnixTime;
use crate::wire::control::{CAPABILITY_OWN, Hostinfo, NodeId};
use crate::wire::key::{DiscoPublic, MachinePublic, NodePublic};

use super::address_pool::GATEWAY;
use super::auth_key::KeyId;
use super::change::{Change, Departure, Issued, Mutation};
use super::map_builder;
use super::node_record::{NodeOrigin, NodeRecord};
use super::policy::{Compiled, Policy, Subject, compile};
use super::relay_map::{REGION, RelaySettings};
use super::reservation::Reservations;
use super::route_election::{self, Primaries};
use super::snapshot::{NodeEntry, Snapshot};
use super::user::{FIRST_USER, UserRecord};

/// The node inside this process.
pub const GATEWAY_NODE: NodeId = NodeId(1);

/// What the tailnet is told about itself at start.
#[derive(Debug, Clone)]
pub struct TailnetSettings {
    /// Parent domain of all node names, without dots at its ends.
    pub base_domain: String,
    pub gateway_node: NodePublic,
    pub gateway_machine: MachinePublic,
    pub gateway_disco: DiscoPublic,
    pub relay: RelaySettings,
}

/// All state of the coordinator. A copy is cheap and independent: the writer keeps one to fall back to.
#[derive(Debug, Clone)]
pub struct Tailnet {
    pub(super) view: Snapshot,
    pub(super) reservations: Arc<Reservations>,
    pub(super) machines: Arc<BTreeSet<(MachinePublic, NodeId)>>,
    pub(super) names: Arc<BTreeMap<String, NodeId>>,
    pub(super) addresses: Arc<BTreeMap<Ipv4Addr, NodeId>>,
    pub(super) issued: Issued,
    expiries: Arc<BTreeSet<(UnixTime, NodeId)>>,
    /// What the compiled policy was made from is no longer so.
    is_policy_stale: bool,
    are_routes_stale: bool,
}

impl Tailnet {
    /// A tailnet of the first user and the gateway's own node.
    #[must_use]
    pub fn new(settings: TailnetSettings, policy: Policy) -> Self {
        Self::restore(settings, policy, &[])
    }

    /// The tailnet that `stored` mutations describe, with the gateway's own node.
    #[must_use]
    pub fn restore(settings: TailnetSettings, policy: Policy, stored: &[Mutation]) -> Self {
        let mut tailnet = Self::empty(settings, policy);
        for mutation in stored {
            tailnet.apply(&offline(mutation));
        }
        let label = tailnet.reservations.gateway_label().to_owned();
        let displaced = tailnet.displaced_by(&label, GATEWAY_NODE, &tailnet.reservations);
        let gateway = gateway_record(&tailnet.view.settings, &label);
        for record in displaced.into_iter().chain([gateway]) {
            tailnet.apply(&Mutation::Observed(Box::new(record)));
        }
        tailnet.settle();
        tailnet
    }

    fn empty(settings: TailnetSettings, policy: Policy) -> Self {
        let view = Snapshot {
            relay: Arc::new(settings.relay.clone()),
            settings: Arc::new(settings),
            policy: Arc::new(policy),
            users: Arc::new([(FIRST_USER, UserRecord::first())].into()),
            keys: Arc::default(),
            api_keys: Arc::default(),
            join_lines: Arc::default(),
            nodes: PagedMap::default(),
            by_key: Arc::default(),
            primaries: Arc::default(),
            compiled: Arc::new(Compiled::default()),
        };
        Self {
            reservations: Arc::new(Reservations::of(&view.policy)),
            view,
            machines: Arc::default(),
            names: Arc::default(),
            addresses: Arc::default(),
            issued: Issued { node: GATEWAY_NODE, user: FIRST_USER, key: KeyId(0), address: GATEWAY },
            expiries: Arc::default(),
            is_policy_stale: true,
            are_routes_stale: false,
        }
    }

    /// The present view. Right only after [`Tailnet::settle`].
    #[must_use]
    pub fn view(&self) -> &Snapshot {
        &self.view
    }

    /// The next moment at which a node's key ends.
    #[must_use]
    pub fn next_expiry(&self) -> Option<UnixTime> {
        self.expiries.first().map(|(end, _)| *end)
    }

    /// Nodes whose keys ended by `now` and that are not marked so yet.
    pub(super) fn ended_by(&self, now: UnixTime) -> impl Iterator<Item = NodeId> {
        self.expiries.range(..=(now, NodeId(i64::MAX))).map(|(_, node)| *node)
    }

    /// Makes one mutation true.
    pub fn apply(&mut self, mutation: &Mutation) -> Change {
        match mutation {
            Mutation::User(user) => self.put_user(user),
            Mutation::UserRemoved(user) => {
                Arc::make_mut(&mut self.view.users).remove(user);
                Change::default()
            }
            Mutation::Key(key) => {
                self.issued.key = self.issued.key.max(key.id);
                Arc::make_mut(&mut self.view.keys).insert(key.id, key.clone());
                Change::default()
            }
            Mutation::KeyRemoved(key) => {
                Arc::make_mut(&mut self.view.keys).remove(key);
                Change::default()
            }
            Mutation::Node(record) | Mutation::Observed(record) => self.put_node(record),
            Mutation::NodeRemoved(node) => self.remove_node(*node),
            Mutation::ApiKey(_)
            | Mutation::ApiKeySeen(_)
            | Mutation::ApiKeyRemoved(_)
            | Mutation::JoinLine(_)
            | Mutation::JoinLineRemoved(_) => self.put_aside(mutation),
            Mutation::Issued(issued) => self.raise_issued(*issued),
            Mutation::Policy(policy) => self.put_policy(policy),
            Mutation::Relay(relay) => {
                self.view.relay = Arc::clone(relay);
                Change { everything: true, ..Change::default() }
            }
        }
    }

    /// Recomputes routers, filters and visibility where the mutations since the last call made that necessary.
    pub fn settle(&mut self) -> Change {
        let mut change = Change::default();
        if std::mem::take(&mut self.are_routes_stale) {
            change.nodes = self.elect_routers();
        }
        if std::mem::take(&mut self.is_policy_stale) {
            let subjects: Vec<_> = self.view.entries().map(|entry| self.subject(&entry.record)).collect();
            self.view.compiled = Arc::new(compile(&self.view.policy, &subjects));
        }
        change
    }

    /// What the policy compiler needs to know of a node.
    pub(super) fn subject(&self, record: &NodeRecord) -> Subject {
        Subject {
            id: record.id,
            user: record.user.and_then(|user| self.view.user(user)).map(|user| user.login_name()),
            tags: record.tags.clone(),
            ipv4: record.ipv4,
            ipv6: record.ipv6(),
            routes: record.routes(),
        }
    }

    /// What no netmap is made of.
    fn put_aside(&mut self, mutation: &Mutation) -> Change {
        let (keys, lines) = (&mut self.view.api_keys, &mut self.view.join_lines);
        match mutation {
            Mutation::ApiKey(key) | Mutation::ApiKeySeen(key) => {
                Arc::make_mut(keys).insert(key.prefix.clone(), key.clone());
            }
            Mutation::ApiKeyRemoved(prefix) => {
                Arc::make_mut(keys).remove(prefix);
            }
            Mutation::JoinLine(line) => {
                Arc::make_mut(lines).insert(line.host.clone(), line.clone());
            }
            Mutation::JoinLineRemoved(host) => {
                Arc::make_mut(lines).remove(host);
            }
            _ => {}
        }
        Change::default()
    }

    fn put_user(&mut self, user: &UserRecord) -> Change {
        self.issued.user = self.issued.user.max(user.id);
        let before = Arc::make_mut(&mut self.view.users).insert(user.id, user.clone());
        let is_renamed = before.is_some_and(|before| before != *user);
        self.is_policy_stale |= is_renamed;
        Change { everything: is_renamed, ..Change::default() }
    }

    fn put_node(&mut self, record: &NodeRecord) -> Change {
        let before = self.view.entry(record.id).cloned();
        self.issued.node = self.issued.node.max(record.id);
        self.reindex(before.as_deref().map(|entry| &entry.record), Some(record));
        self.put_entry(record.clone());
        let mut change = Change { nodes: [record.id].into(), ..Change::default() };
        let admitted = before.as_deref().map(|entry| &entry.record).filter(|before| !before.expired);
        let lost = admitted.filter(|before| record.expired || before.node_key != record.node_key);
        change.departures.extend(lost.map(departure));
        change
    }

    fn remove_node(&mut self, node: NodeId) -> Change {
        let Some(entry) = self.view.nodes.remove(node.0) else { return Change::default() };
        self.reindex(Some(&entry.record), None);
        Change {
            nodes: [node].into(),
            removed: vec![node],
            departures: vec![departure(&entry.record)],
            ..Change::default()
        }
    }

    fn raise_issued(&mut self, issued: Issued) -> Change {
        self.issued.node = self.issued.node.max(issued.node);
        self.issued.user = self.issued.user.max(issued.user);
        self.issued.key = self.issued.key.max(issued.key);
        self.issued.address = issued.address;
        Change::default()
    }

    fn put_policy(&mut self, policy: &Arc<Policy>) -> Change {
        self.reservations = Arc::new(Reservations::of(policy));
        self.view.policy = Arc::clone(policy);
        self.is_policy_stale = true;
        Change { everything: true, ..Change::default() }
    }

    /// Keeps the indexes in step, and notes what else must be recomputed.
    fn reindex(&mut self, before: Option<&NodeRecord>, after: Option<&NodeRecord>) {
        self.is_policy_stale |= before.map(|old| self.subject(old)) != after.map(|new| self.subject(new));
        self.are_routes_stale |= before.map(route_facts) != after.map(route_facts);
        if before.map(identity) == after.map(identity) {
            return;
        }
        if let Some(old) = before {
            Arc::make_mut(&mut self.machines).remove(&(old.machine, old.id));
            remove_own(&mut self.view.by_key, &old.node_key, old.id);
            remove_own(&mut self.names, &old.name, old.id);
            remove_own(&mut self.addresses, &old.ipv4, old.id);
            if let Some(end) = old.expiry {
                Arc::make_mut(&mut self.expiries).remove(&(end, old.id));
            }
        }
        if let Some(new) = after {
            Arc::make_mut(&mut self.machines).insert((new.machine, new.id));
            Arc::make_mut(&mut self.view.by_key).insert(new.node_key, new.id);
            Arc::make_mut(&mut self.names).insert(new.name.clone(), new.id);
            Arc::make_mut(&mut self.addresses).insert(new.ipv4, new.id);
            if let Some(end) = new.expiry.filter(|_| !new.expired) {
                Arc::make_mut(&mut self.expiries).insert((end, new.id));
            }
        }
    }

    /// Stores a record with its peers' view built from it.
    fn put_entry(&mut self, record: NodeRecord) {
        let peer_view =
            map_builder::peer_view(&record, &self.view.settings.base_domain, &self.view.primaries);
        self.view.nodes.insert(record.id.0, Arc::new(NodeEntry { record, peer_view }));
    }

    /// Gives back the nodes whose routes moved.
    fn elect_routers(&mut self) -> BTreeSet<NodeId> {
        let records = self.view.entries().map(|entry| &entry.record);
        let elected = route_election::elect(records, &self.view.primaries);
        let moved = moved_routers(&self.view.primaries, &elected);
        self.view.primaries = Arc::new(elected);
        for node in &moved {
            if let Some(record) = self.view.node(*node).cloned() {
                self.put_entry(record);
            }
        }
        moved
    }
}

/// A stored node as it is before anybody connected.
fn offline(stored: &Mutation) -> Mutation {
    match stored {
        Mutation::Node(record) => {
            Mutation::Node(Box::new(NodeRecord { online: false, ..(**record).clone() }))
        }
        other => other.clone(),
    }
}

/// Removes an index's entry where it is still the node's own: another may have taken it over in the same command.
fn remove_own<K: Ord + Clone>(index: &mut Arc<BTreeMap<K, NodeId>>, key: &K, node: NodeId) {
    if index.get(key) == Some(&node) {
        Arc::make_mut(index).remove(key);
    }
}

/// What the indexes are made of.
type Identity<'a> = (MachinePublic, NodePublic, &'a str, Ipv4Addr, Option<UnixTime>, bool);

fn identity(record: &NodeRecord) -> Identity<'_> {
    (record.machine, record.node_key, &record.name, record.ipv4, record.expiry, record.expired)
}

/// What the election looks at; a node without routes is the same to it whatever else it does.
fn route_facts(record: &NodeRecord) -> Option<(Vec<ipnet::IpNet>, bool, bool)> {
    let routes = record.routes();
    (!routes.is_empty()).then_some((routes, record.online, record.expired))
}

fn moved_routers(before: &Primaries, after: &Primaries) -> BTreeSet<NodeId> {
    let lost = before.iter().filter(|(prefix, node)| after.get(prefix) != Some(node));
    let won = after.iter().filter(|(prefix, node)| before.get(prefix) != Some(node));
    lost.chain(won).map(|(_, node)| *node).collect()
}

fn departure(record: &NodeRecord) -> Departure {
    Departure { node: record.node_key, machine: record.machine }
}

/// The gateway's own node: always online, never expiring, at home at its own relay.
fn gateway_record(settings: &TailnetSettings, name: &str) -> NodeRecord {
    let hostinfo = Hostinfo {
        hostname: name.to_owned(),
        os: "linux".into(),
        ipn_version: concat!("genkan-", env!("CARGO_PKG_VERSION")).into(),
        ..Hostinfo::default()
    };
    NodeRecord {
        id: GATEWAY_NODE,
        machine: settings.gateway_machine,
        node_key: settings.gateway_node,
        user: Some(FIRST_USER),
        tags: Vec::new(),
        name: name.to_owned(),
        name_is_fixed: true,
        host: None,
        ipv4: GATEWAY,
        approved_routes: Vec::new(),
        origin: NodeOrigin::Gateway,
        ephemeral: false,
        expiry: None,
        expired: false,
        created: None,
        hostinfo: Arc::new(hostinfo),
        capability: CAPABILITY_OWN,
        disco: settings.gateway_disco,
        endpoints: Vec::new(),
        home_derp: REGION,
        online: true,
        last_seen: None,
    }
}
