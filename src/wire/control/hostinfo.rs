//! What a client says about its machine: the members the coordinator reads, and the rest kept as it came.
//!
//! Go reads member names in any case, and Tailscale's Rust client relies on it: its spellings are the aliases here.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::null_as_default;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Hostinfo {
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    #[serde(
        rename = "OS",
        alias = "Os",
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub os: String,
    #[serde(
        rename = "IPNVersion",
        alias = "IpnVersion",
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub ipn_version: String,
    /// Subnet routes the node offers.
    #[serde(
        rename = "RoutableIPs",
        alias = "RoutableIps",
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub routable_ips: Vec<IpNet>,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub request_tags: Vec<String>,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Service>,
    /// Left out by clients when unchanged: keep the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net_info: Option<NetInfo>,
    #[serde(
        rename = "sshHostKeys",
        alias = "SshHostKeys",
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ssh_host_keys: Vec<String>,
    /// Members not read here.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetInfo {
    /// Home DERP region; 0 is none.
    #[serde(rename = "PreferredDERP", alias = "PreferredDerp")]
    pub preferred_derp: i32,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A service port the node announces, for example its PeerAPI.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Service {
    pub proto: String,
    pub port: u16,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub description: String,
}
