//! JSON messages of the control channel, as Go's `tailcfg` package spells them.
//!
//! Decoding ignores unknown members and defaults absent ones; encoding leaves absent members out, because Tailscale's
//! Rust client refuses `null` where a list, map or text belongs. No encoded text may need a JSON escape (same client).

pub mod derp_map;
pub mod dns;
pub mod filter;
pub mod hostinfo;
pub mod map;
pub mod node;
pub mod register;

pub use derp_map::{DerpMap, DerpNode, DerpRegion};
pub use dns::{DnsConfig, DnsResolver};
pub use filter::{CapGrant, FilterRule, NetPortRange, PortRange};
pub use hostinfo::{Hostinfo, NetInfo, Service};
pub use map::{DebugFlags, ENDPOINTS_MAX, MapRequest, MapResponse, PeerChange, UserProfile};
pub use node::{Node, NodeId, UserId};
pub use register::{Login, RegisterAuth, RegisterRequest, RegisterResponse, User};

/// Oldest capability version that is served: Tailscale 1.80.
pub const CAPABILITY_FLOOR: u32 = 113;

/// Capability version of the gateway's own node, shown to its peers: the newest whose behaviour it has (1.102).
pub const CAPABILITY_OWN: u32 = 142;

/// Go writes `null` for an empty list, map or text; this reads it as the default.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
