#![doc = include_str!("README.md")]

pub mod core;
pub mod driver;
pub mod flows;
pub mod metrics;
mod own_endpoints;
mod tun_device;
mod udp_socket;
