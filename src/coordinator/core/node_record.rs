//! What the tailnet remembers of one node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::base::wall_time::{UnixTime, WallTime};
use crate::wire::control::{Hostinfo, NodeId, UserId};
use crate::wire::key::{DiscoPublic, MachinePublic, NodePublic};

use super::address_pool;
use super::auth_key::KeyId;
use super::user::TAGGED_DEVICES;

/// The first group of members changes by decision and must survive a power cut; the second is what the node last told of
/// itself, which it tells again when it connects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeRecord {
    pub id: NodeId,
    pub machine: MachinePublic,
    pub node_key: NodePublic,
    /// `None` for a tagged node.
    pub user: Option<UserId>,
    pub tags: Vec<String>,
    /// One DNS label, unique.
    pub name: String,
    /// Given by a person or by the policy: the machine's own host name no longer changes it.
    pub name_is_fixed: bool,
    /// The policy host it was bound to by its key.
    pub host: Option<String>,
    pub ipv4: Ipv4Addr,
    pub approved_routes: Vec<IpNet>,
    pub origin: NodeOrigin,
    pub ephemeral: bool,
    pub expiry: Option<UnixTime>,
    /// Logged out, ended by hand, or `expiry` was seen to pass.
    pub expired: bool,
    /// Absent when the clock was not known.
    pub created: Option<UnixTime>,

    #[serde(with = "json_text")]
    pub hostinfo: Arc<Hostinfo>,
    /// Capability version of its client.
    pub capability: u32,
    pub disco: DiscoPublic,
    pub endpoints: Vec<SocketAddr>,
    /// Home DERP region; 0 is none.
    pub home_derp: i32,
    pub online: bool,
    /// When its last session ended.
    pub last_seen: Option<UnixTime>,
}

/// How a node came into the tailnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeOrigin {
    /// The node inside this process.
    Gateway,
    AuthKey(KeyId),
}

impl NodeRecord {
    #[must_use]
    pub fn ipv6(&self) -> Ipv6Addr {
        address_pool::ipv6_of(self.ipv4)
    }

    /// `[IPv4/32, IPv6/128]`.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpNet> {
        vec![IpAddr::V4(self.ipv4).into(), IpAddr::V6(self.ipv6()).into()]
    }

    /// The user shown to clients.
    #[must_use]
    pub fn owner(&self) -> UserId {
        self.user.unwrap_or(TAGGED_DEVICES)
    }

    #[must_use]
    pub fn is_expired(&self, wall: WallTime) -> bool {
        self.expired || self.expiry.is_some_and(|end| wall.is_past(end))
    }

    /// Approved routes that the node offers at present.
    #[must_use]
    pub fn routes(&self) -> Vec<IpNet> {
        let offered = &self.hostinfo.routable_ips;
        self.approved_routes.iter().filter(|route| offered.contains(route)).copied().collect()
    }
}

/// Host information holds members unknown here, which only a self-describing format can carry.
mod json_text {
    use super::{Arc, Hostinfo};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(hostinfo: &Arc<Hostinfo>, serializer: S) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(&**hostinfo).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Hostinfo>, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map(Arc::new).map_err(serde::de::Error::custom)
    }
}
