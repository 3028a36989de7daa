//! `POST /machine/map`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize};

use super::{DerpMap, DnsConfig, FilterRule, Hostinfo, Node, NodeId, UserId, null_as_default};
use crate::base::wall_time::UnixTime;
use crate::wire::key::{DiscoPublic, NodePublic};

/// A machine has a few interfaces and port mappings; more only makes its peers try longer.
pub const ENDPOINTS_MAX: usize = 64;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MapRequest {
    /// Capability version.
    pub version: u32,
    /// `zstd`, or empty for plain JSON.
    #[serde(deserialize_with = "null_as_default")]
    pub compress: String,
    pub keep_alive: bool,
    pub node_key: NodePublic,
    #[serde(deserialize_with = "null_as_default")]
    pub disco_key: DiscoPublic,
    /// True is the long poll; false with `omit_peers` is an update that only wants status 200.
    pub stream: bool,
    #[serde(alias = "HostInfo")]
    pub hostinfo: Option<Hostinfo>,
    /// Those that can be read, at most [`ENDPOINTS_MAX`]. Their types, a list beside this one, are not used.
    #[serde(deserialize_with = "readable_endpoints")]
    pub endpoints: Vec<SocketAddr>,
    pub omit_peers: bool,
}

/// One message of the stream. In the first, absent means "nothing"; later, absent means "unchanged".
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MapResponse {
    /// Alone in its message: the client compares the compressed bytes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_alive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Box<Node>>,
    #[serde(rename = "DERPMap", skip_serializing_if = "Option::is_none")]
    pub derp_map: Option<DerpMap>,
    /// The complete list, sorted by id; only in a first message, and never empty there (left out instead).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Node>,
    /// Whole nodes to insert or replace, sorted by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers_changed: Vec<Node>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers_removed: Vec<NodeId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers_changed_patch: Vec<PeerChange>,
    #[serde(rename = "DNSConfig", skip_serializing_if = "Option::is_none")]
    pub dns_config: Option<DnsConfig>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collect_services: Option<bool>,
    /// Named lists of rules; one name, `base`, is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packet_filters: Option<BTreeMap<String, Vec<FilterRule>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub user_profiles: Vec<UserProfile>,
    /// Sentences the client shows; an empty list clears them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_time: Option<UnixTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debug: Option<DebugFlags>,
}

/// A cheap change to a peer the viewer knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PeerChange {
    #[serde(rename = "NodeID")]
    pub node_id: NodeId,
    #[serde(rename = "DERPRegion", skip_serializing_if = "Option::is_none")]
    pub derp_region: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<SocketAddr>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<NodePublic>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disco_key: Option<DiscoPublic>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<UnixTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_expiry: Option<UnixTime>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UserProfile {
    #[serde(rename = "ID")]
    pub id: UserId,
    pub login_name: String,
    pub display_name: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DebugFlags {
    /// Asks the client not to upload its log to Tailscale's log service.
    pub disable_log_tail: bool,
}

/// One endpoint that nobody else could use, such as an IPv6 address with the name of an interface, does not cost the node
/// the others.
fn readable_endpoints<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    let told = Option::<Vec<serde_json::Value>>::deserialize(deserializer)?.unwrap_or_default();
    let readable = told.iter().filter_map(|one| one.as_str()?.parse().ok());
    Ok(readable.take(ENDPOINTS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keep_alive_is_exactly_the_text_clients_remember() {
        let message = MapResponse { keep_alive: true, ..MapResponse::default() };
        assert_eq!(serde_json::to_string(&message).expect("plain data"), r#"{"KeepAlive":true}"#);
    }

    #[test]
    fn absent_members_are_left_out_and_never_null() {
        let text =
            serde_json::to_string(&MapResponse { node: Some(Box::default()), ..MapResponse::default() })
                .expect("plain data");
        assert!(!text.contains("Peers") && !text.contains("Endpoints"), "{text}");
    }

    #[test]
    fn endpoints_that_cannot_be_read_are_skipped_and_there_is_an_end_to_them() {
        let text = r#"{"Endpoints":["192.0.2.1:41641","[fe80::1%eth0]:41641","nonsense",null,7,"[2001:db8::1]:1"],
            "EndpointTypes":[1,1,1,1,1,2]}"#;
        let request: MapRequest = serde_json::from_str(text).expect("one address is no reason to refuse");
        let expected = ["192.0.2.1:41641", "[2001:db8::1]:1"].map(|one| one.parse().expect("a test address"));
        assert_eq!(request.endpoints, expected);
        let many = serde_json::json!({ "Endpoints": vec!["192.0.2.1:1"; ENDPOINTS_MAX + 1] });
        let request: MapRequest = serde_json::from_value(many).expect("many are no reason either");
        assert_eq!(request.endpoints.len(), ENDPOINTS_MAX);
    }

    #[test]
    fn go_nulls_decode_as_empty() {
        let text = r#"{"Version":113,"Stream":true,"Endpoints":null,"EndpointTypes":null,"Compress":"zstd",
            "Hostinfo":{"Services":null,"NetInfo":{"PreferredDERP":999,"WorkingUDP":true}}}"#;
        let request: MapRequest = serde_json::from_str(text).expect("Go's spelling");
        let net_info = request.hostinfo.and_then(|info| info.net_info).expect("was given");
        assert_eq!(net_info.preferred_derp, 999);
        assert_eq!(net_info.rest["WorkingUDP"], true);
    }
}
