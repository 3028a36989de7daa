//! The box: what a machine needs to become the entrance when nothing else runs on it. PID 1, partitions, network, clock,
//! watchdog, updates, and the sandbox of the worker.
//!
//! Two roles, one binary: `genkan init` is PID 1 and root; it reads nothing that comes from the network. `genkan serve` is the
//! worker (coordinator, tunnel, edge) and is not root. They talk over one socket pair: [`crate::wire::supervision`]. What PID 1
//! must know from the network (an address, the time) two children without privileges find out: [`crate::wire::errand`].
//!
//! | file | what happens there |
//! |---|---|
//! | [`core::boot_plan`] | the order of a boot, and what the owner is told of it |
//! | [`boot`] | does the steps: [`mounts`], [`hardening`], [`partitions`], [`data`], [`configuration`] |
//! | [`house`] | the loop after the boot: worker, signals, network, watchdog, console, the end |
//! | [`worker`] | the child without root, and the conversation with it |
//! | [`journal`], [`crash`] | the log, and what survives a reset |
//! | [`owner_partition`], [`identity_copy`] | what is read from and written to p1 |
//! | [`seams`] | where network, updates and the text of `STATUS.txt` are joined |

pub mod block_device;
mod board;
pub mod boot;
pub mod boot_switch;
mod card_network;
mod card_updates;
mod child;
pub mod clock;
pub mod configuration;
mod confinement;
pub mod console;
pub mod core;
pub mod crash;
pub mod data;
mod errand;
pub mod hardening;
pub mod house;
pub mod identity_copy;
mod init;
pub mod journal;
pub mod lease_child;
pub mod led;
pub mod mounts;
pub mod netlink;
pub mod network;
pub mod owner_partition;
pub mod partitions;
mod power_key;
pub mod report;
mod reserve;
pub mod sandbox;
mod sealing;
pub mod seams;
pub mod settings;
pub mod slot_write;
pub mod time_child;
pub mod updater;
pub mod watchdog;
pub mod worker;

pub use init::run;

use seams::Parts;

impl Default for Parts {
    /// The parts of the card.
    fn default() -> Self {
        Self {
            network: Box::<card_network::CardNetwork>::default(),
            update: Box::<card_updates::CardUpdates>::default(),
            status_text: core::status_text::status_text,
        }
    }
}
