//! The immutable view of the tailnet that readers hold.
//!
//! Copies share what did not change, so that a stream may keep the view it last told its client of and compare.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::paged_map::PagedMap;
use crate::wire::control::{Node, NodeId, UserId};
use crate::wire::key::{MachinePublic, NodePublic};

use super::admin_view::{ApiKeyView, KeyView, NodeView, UserView};
use super::api_key::ApiKey;
use super::auth_key::{AuthKey, KeyId};
use super::join_line::JoinLine;
use super::node_record::{NodeOrigin, NodeRecord};
use super::policy::{Compiled, Policy};
use super::relay_map::RelaySettings;
use super::route_election::Primaries;
use super::tailnet::TailnetSettings;
use super::user::{TAGGED_DEVICES, UserRecord};

/// The tailnet at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(super) settings: Arc<TailnetSettings>,
    pub(super) relay: Arc<RelaySettings>,
    pub(super) policy: Arc<Policy>,
    pub(super) users: Arc<BTreeMap<UserId, UserRecord>>,
    pub(super) keys: Arc<BTreeMap<KeyId, AuthKey>>,
    /// By prefix.
    pub(super) api_keys: Arc<BTreeMap<String, ApiKey>>,
    /// By host.
    pub(super) join_lines: Arc<BTreeMap<String, JoinLine>>,
    pub(super) nodes: PagedMap<Arc<NodeEntry>>,
    pub(super) by_key: Arc<BTreeMap<NodePublic, NodeId>>,
    pub(super) primaries: Arc<Primaries>,
    pub(super) compiled: Arc<Compiled>,
}

/// A node, and what its peers are told of it: built once, sent to many.
#[derive(Debug, Clone)]
pub struct NodeEntry {
    pub record: NodeRecord,
    pub peer_view: Node,
}

impl Snapshot {
    #[must_use]
    pub fn entry(&self, node: NodeId) -> Option<&Arc<NodeEntry>> {
        self.nodes.value(node.0)
    }

    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&NodeRecord> {
        self.entry(node).map(|entry| &entry.record)
    }

    #[must_use]
    pub fn node_by_key(&self, key: NodePublic) -> Option<&NodeRecord> {
        self.by_key.get(&key).and_then(|node| self.node(*node))
    }

    /// Whether some node of the machine is admitted.
    #[must_use]
    pub fn admits_machine(&self, machine: MachinePublic) -> bool {
        self.entries().any(|entry| entry.record.machine == machine && !entry.record.expired)
    }

    /// In the order of their numbers.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<NodeEntry>> {
        self.nodes.values()
    }

    /// Whether `viewer`'s netmap holds `other`. An expired viewer sees nobody; an expired node is still shown, as expired.
    #[must_use]
    pub fn shows(&self, viewer: NodeId, other: NodeId) -> bool {
        viewer != other
            && self.node(viewer).is_some_and(|viewer| !viewer.expired)
            && self.node(other).is_some()
            && self.compiled.sees(viewer, other)
    }

    /// The nodes whose netmaps may hold `node`.
    pub fn viewers_of(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        self.compiled.seen_by(node)
    }

    /// The user's record, also of the pseudo-user of tagged nodes.
    #[must_use]
    pub fn user(&self, user: UserId) -> Option<UserRecord> {
        if user == TAGGED_DEVICES {
            return Some(UserRecord::tagged_devices());
        }
        self.users.get(&user).cloned()
    }

    #[must_use]
    pub fn settings(&self) -> &TailnetSettings {
        &self.settings
    }

    #[must_use]
    pub fn keys(&self) -> &BTreeMap<KeyId, AuthKey> {
        &self.keys
    }

    /// By prefix.
    #[must_use]
    pub fn api_keys(&self) -> &BTreeMap<String, ApiKey> {
        &self.api_keys
    }

    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    #[must_use]
    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    #[must_use]
    pub fn user_views(&self) -> Vec<UserView> {
        self.users.values().map(user_view).collect()
    }

    #[must_use]
    pub fn key_views(&self) -> Vec<KeyView> {
        self.keys.values().map(|key| self.key_view(key)).collect()
    }

    /// In the order of their numbers.
    #[must_use]
    pub fn api_key_views(&self) -> Vec<ApiKeyView> {
        let mut views: Vec<_> = self.api_keys.values().map(api_key_view).collect();
        views.sort_by_key(|view| view.id);
        views
    }

    #[must_use]
    pub fn node_views(&self) -> Vec<NodeView> {
        self.entries().map(|entry| self.node_view(&entry.record)).collect()
    }

    pub(super) fn key_view(&self, key: &AuthKey) -> KeyView {
        KeyView {
            id: key.id,
            key: key.masked(),
            user: key.user.and_then(|user| self.users.get(&user)).map(user_view),
            reusable: key.reusable,
            ephemeral: key.ephemeral,
            used: key.used,
            expiration: key.expiration,
            created_at: key.created,
            acl_tags: key.tags.clone(),
            host: key.host.clone(),
        }
    }

    pub(super) fn node_view(&self, record: &NodeRecord) -> NodeView {
        NodeView {
            id: record.id,
            name: record.hostinfo.hostname.clone(),
            given_name: record.name.clone(),
            user: self.user(record.owner()).as_ref().map(user_view).unwrap_or_default(),
            ip_addresses: vec![record.ipv4.into(), record.ipv6().into()],
            online: record.online,
            last_seen: record.last_seen,
            expiry: record.expiry,
            expired: record.expired,
            ephemeral: record.ephemeral,
            machine_key: record.machine,
            node_key: record.node_key,
            disco_key: record.disco,
            tags: record.tags.clone(),
            register_method: match record.origin {
                NodeOrigin::Gateway => "gateway".into(),
                NodeOrigin::AuthKey(_) => "auth_key".into(),
            },
            created_at: record.created,
            endpoints: record.endpoints.clone(),
            available_routes: record.hostinfo.routable_ips.clone(),
            approved_routes: record.approved_routes.clone(),
            client_version: record.hostinfo.ipn_version.clone(),
        }
    }
}

pub(super) fn api_key_view(key: &ApiKey) -> ApiKeyView {
    ApiKeyView {
        id: key.id,
        prefix: key.prefix.clone(),
        expiration: key.expiration,
        created_at: key.created,
        last_seen: key.last_seen,
    }
}

pub(super) fn user_view(user: &UserRecord) -> UserView {
    UserView {
        id: user.id,
        name: user.name.clone(),
        display_name: user.display_name.clone(),
        created_at: user.created,
    }
}
