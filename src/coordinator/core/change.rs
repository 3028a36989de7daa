//! What is to change, and who must hear of what did.
//!
//! A command is decided into [`Mutation`]s; the durable ones are stored; applying them gives a [`Change`], which names the
//! nodes that look different now. Viewers are then told to compare what they know of those nodes with what is.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::wire::control::{NodeId, UserId};
use crate::wire::key::{MachinePublic, NodePublic};

use super::api_key::ApiKey;
use super::auth_key::{AuthKey, KeyId};
use super::join_line::JoinLine;
use super::node_record::NodeRecord;
use super::policy::Policy;
use super::relay_map::RelaySettings;
use super::user::UserRecord;

/// Something that is to be made true. Each carries the whole new value, so applying it twice is harmless and loading a store
/// is applying what it holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Mutation {
    User(UserRecord),
    UserRemoved(UserId),
    Key(AuthKey),
    KeyRemoved(KeyId),
    Node(Box<NodeRecord>),
    /// As `Node`, where only what the node tells again by itself differs.
    Observed(Box<NodeRecord>),
    NodeRemoved(NodeId),
    ApiKey(ApiKey),
    /// As `ApiKey`, where only the time of its last use differs.
    ApiKeySeen(ApiKey),
    /// By its prefix.
    ApiKeyRemoved(String),
    JoinLine(JoinLine),
    /// By its host.
    JoinLineRemoved(String),
    Issued(Issued),
    Policy(Arc<Policy>),
    Relay(Arc<RelaySettings>),
}

/// What was given out, so that no number is given twice, and no address soon again, even after its bearer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Issued {
    pub node: NodeId,
    pub user: UserId,
    pub key: KeyId,
    /// The last address taken from the pool: the next search begins after it.
    pub address: Ipv4Addr,
}

impl Mutation {
    /// Whether it must survive a power cut before anybody is told of it.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        !matches!(self, Self::Observed(_) | Self::ApiKeySeen(_) | Self::Policy(_) | Self::Relay(_))
    }
}

/// What looks different after some mutations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    pub nodes: BTreeSet<NodeId>,
    /// Something that any viewer may see is different: policy, relay, a user's name.
    pub everything: bool,
    pub departures: Vec<Departure>,
    /// Nodes that are no more; their streams end.
    pub removed: Vec<NodeId>,
}

impl Change {
    pub fn merge(&mut self, other: Self) {
        self.nodes.extend(other.nodes);
        self.everything |= other.everything;
        self.departures.extend(other.departures);
        self.removed.extend(other.removed);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A node key is no longer admitted, because its node is gone, has expired or took another key: its connections are to be
/// closed, and those of the machine unless another node key of it is admitted ([`super::snapshot::Snapshot::admits_machine`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departure {
    pub node: NodePublic,
    pub machine: MachinePublic,
}
