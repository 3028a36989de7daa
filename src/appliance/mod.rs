//! The box: what a machine needs to become the entrance when nothing else runs on it. PID 1, partitions, network, clock,
//! watchdog, updates, and the sandbox of the worker.
//!
//! Two roles, one binary: `genkan init` is PID 1 and root; it reads nothing that comes from the network. `genkan serve` is the
//! worker (coordinator, tunnel, edge) and is not root. They talk over one socket pair: [`crate::wire::supervision`]. What PID 1
//! must know from the network (an address, the time) two children without privileges find out: [`crate::wire::errand`].

pub mod clock;
mod confinement;
pub mod core;
mod errand;
pub mod lease_child;
pub mod netlink;
pub mod network;
pub mod time_child;
