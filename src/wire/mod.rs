//! Bytes to types and back. No behaviour, no time, no sockets; every decoder takes bytes a stranger may have written.

pub mod admin;
pub mod api_key;
pub mod control;
pub mod datagram;
pub mod derp;
pub mod dhcp;
pub mod disco;
pub mod dns_lookup;
pub mod errand;
pub mod ip;
pub mod key;
pub mod noise;
pub mod sntp;
pub mod stun;
pub mod supervision;
pub mod tsmp;
pub mod update;
