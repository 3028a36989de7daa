//! Relay regions a client may use.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Never empty towards a client: without a region it does not reach "Running".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DerpMap {
    pub regions: BTreeMap<i32, DerpRegion>,
    #[serde(rename = "omitDefaultRegions", skip_serializing_if = "std::ops::Not::not")]
    pub omit_default_regions: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DerpRegion {
    #[serde(rename = "RegionID")]
    pub region_id: i32,
    pub region_code: String,
    pub region_name: String,
    pub nodes: Vec<DerpNode>,
}

/// One server of a region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DerpNode {
    pub name: String,
    #[serde(rename = "RegionID")]
    pub region_id: i32,
    /// For DNS when no address is given, for SNI and for the certificate check.
    pub host_name: String,
    /// `sha256-raw:<hex>` pins a self-signed certificate (clients from 1.84 on).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cert_name: String,
    #[serde(rename = "IPv4", skip_serializing_if = "String::is_empty")]
    pub ipv4: String,
    #[serde(rename = "IPv6", skip_serializing_if = "String::is_empty")]
    pub ipv6: String,
    #[serde(rename = "STUNPort", skip_serializing_if = "is_zero")]
    pub stun_port: i32,
    #[serde(rename = "DERPPort", skip_serializing_if = "is_zero")]
    pub derp_port: i32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub can_port80: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}
