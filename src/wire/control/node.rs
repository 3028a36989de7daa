//! A node as the netmap shows it to a viewer.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Hostinfo, null_as_default};
use crate::base::wall_time::UnixTime;
use crate::wire::key::{DiscoPublic, MachinePublic, NodePublic};

/// Positive, never used twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub i64);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub i64);

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for UserId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// `Addresses` is exactly `[IPv4/32, IPv6/128]`: Tailscale's Rust client requires both, in this order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Node {
    #[serde(rename = "ID")]
    pub id: NodeId,
    #[serde(rename = "StableID")]
    pub stable_id: String,
    /// Fully qualified, with the trailing dot.
    pub name: String,
    pub user: UserId,
    pub key: NodePublic,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_expiry: Option<UnixTime>,
    #[serde(skip_serializing_if = "MachinePublic::is_zero")]
    pub machine: MachinePublic,
    #[serde(skip_serializing_if = "DiscoPublic::is_zero")]
    pub disco_key: DiscoPublic,
    pub addresses: Vec<IpNet>,
    #[serde(rename = "AllowedIPs", deserialize_with = "null_as_default")]
    pub allowed_ips: Vec<IpNet>,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<SocketAddr>,
    /// Old spelling of the home region: `127.3.3.40:<region>`; sent beside `HomeDERP`.
    #[serde(rename = "DERP", skip_serializing_if = "String::is_empty")]
    pub legacy_derp: String,
    #[serde(rename = "HomeDERP", skip_serializing_if = "is_zero")]
    pub home_derp: i32,
    pub hostinfo: Hostinfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<UnixTime>,
    /// The node's capability version.
    pub cap: u32,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub primary_routes: Vec<IpNet>,
    /// Sent only while the node is offline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<UnixTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    pub machine_authorized: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cap_map: BTreeMap<String, Vec<Value>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(region: &i32) -> bool {
    *region == 0
}
