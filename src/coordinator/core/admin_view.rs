//! What administration is told, and what it asks: plain values in the shape of Headscale's JSON.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::base::wall_time::UnixTime;
use crate::wire::control::{NodeId, UserId};
use crate::wire::key::{DiscoPublic, MachinePublic, NodePublic};

use super::auth_key::KeyId;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserRequest {
    /// Login name; what policies call the user.
    pub name: String,
    pub display_name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserView {
    pub id: UserId,
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    pub created_at: Option<UnixTime>,
}

/// A pre-auth key to make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyRequest {
    /// Owner of the nodes that join with it; absent is the first user. Ignored for tagged nodes.
    pub user: Option<UserId>,
    pub reusable: bool,
    pub ephemeral: bool,
    /// Absent: valid until it is used, or expired by hand.
    pub expiration: Option<UnixTime>,
    pub acl_tags: Vec<String>,
    /// A name from the policy's `hosts`: the node gets that name and that address.
    pub host: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    pub id: KeyId,
    /// The whole key in the answer to its creation; later its beginning and stars.
    pub key: String,
    pub user: Option<UserView>,
    pub reusable: bool,
    pub ephemeral: bool,
    pub used: bool,
    pub expiration: Option<UnixTime>,
    pub created_at: Option<UnixTime>,
    pub acl_tags: Vec<String>,
    pub host: Option<String>,
}

/// A key of the administration interface to make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApiKeyRequest {
    /// Absent: never.
    pub expiration: Option<UnixTime>,
}

/// A key of the administration interface, without its secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyView {
    pub id: u64,
    pub prefix: String,
    /// When it ends, or was ended by hand.
    pub expiration: Option<UnixTime>,
    pub created_at: Option<UnixTime>,
    pub last_seen: Option<UnixTime>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    pub id: NodeId,
    /// The host name the machine reports.
    pub name: String,
    /// The name in the tailnet, unique.
    pub given_name: String,
    /// The tagged pseudo-user for a tagged node.
    pub user: UserView,
    pub ip_addresses: Vec<IpAddr>,
    pub online: bool,
    pub last_seen: Option<UnixTime>,
    pub expiry: Option<UnixTime>,
    pub expired: bool,
    pub ephemeral: bool,
    pub machine_key: MachinePublic,
    pub node_key: NodePublic,
    pub disco_key: DiscoPublic,
    pub tags: Vec<String>,
    /// `auth_key`, or `gateway` for the node of this process.
    pub register_method: String,
    pub created_at: Option<UnixTime>,
    pub endpoints: Vec<SocketAddr>,
    /// Subnet routes the node offers, and those of them that are approved.
    pub available_routes: Vec<IpNet>,
    pub approved_routes: Vec<IpNet>,
    pub client_version: String,
}

/// When a node's key shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeExpiry {
    Now,
    At(UnixTime),
    Never,
}
