//! Pure state machines of the tunnel.

pub mod drops;
pub mod filter;
pub mod flows;
pub mod net_map;
pub mod node;
pub mod offload;
pub mod outbox;
pub mod path;
pub mod peer;
pub mod recent;
pub mod router;
pub mod wireguard;
