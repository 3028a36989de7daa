//! The box: what a machine needs to become the entrance when nothing else runs on it. PID 1, partitions, network, clock,
//! watchdog, updates, and the sandbox of the worker.
//!
//! Two roles, one binary: `genkan init` is PID 1 and root; it reads nothing that comes from the network. `genkan serve` is the
//! worker (coordinator, tunnel, edge) and is not root. They talk over one socket pair: [`crate::wire::supervision`].
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
mod child;
pub mod configuration;
pub mod console;
pub mod core;
pub mod crash;
pub mod data;
pub mod hardening;
pub mod house;
pub mod identity_copy;
mod init;
pub mod journal;
pub mod led;
pub mod mounts;
pub mod owner_partition;
pub mod partitions;
mod power_key;
pub mod sandbox;
pub mod seams;
pub mod settings;
pub mod slot_write;
mod stand_ins;
pub mod updater;
pub mod watchdog;
pub mod worker;

pub use init::run;

use seams::Parts;

impl Default for Parts {
    /// The parts of this build.
    fn default() -> Self {
        Self {
            network: Box::new(stand_ins::Onlooker::default()),
            update: Box::new(stand_ins::NoUpdates),
            status_text: stand_ins::status_text,
        }
    }
}
