#![doc = include_str!("README.md")]

pub mod admin_api;
pub mod core;
pub mod ledger;
pub mod metrics;
pub mod noise_stream;
pub mod relay_server;
pub mod server;
pub mod store;
pub mod stun_server;
