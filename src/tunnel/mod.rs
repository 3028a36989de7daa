#![doc = include_str!("README.md")]

pub mod core;
pub mod driver;
pub mod flows;
pub mod metrics;
mod own_endpoints;
pub mod tun_device;
pub mod udp_socket;
