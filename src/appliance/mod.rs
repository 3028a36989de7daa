//! The box: what a machine needs to become the entrance when nothing else runs on it. PID 1, partitions, network, clock,
//! watchdog, updates, and the sandbox of the worker.
//!
//! Two roles, one binary: `genkan init` is PID 1 and root; it reads nothing that comes from the network. `genkan serve` is the
//! worker (coordinator, tunnel, edge) and is not root. They talk over one socket pair: [`crate::wire::supervision`].

pub mod block_device;
pub mod boot_switch;
pub mod core;
pub mod led;
pub mod sandbox;
pub mod slot_write;
pub mod updater;
