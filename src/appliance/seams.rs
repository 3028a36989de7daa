//! Where PID 1 is joined to the other parts of the box. Each part owns its descriptors, children and deadlines, and the one
//! loop of PID 1 asks them in turn; none may block.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Instant;

use nix::unistd::Pid;

use crate::base::condition::Condition;
use crate::config::model::Model;
use crate::wire::supervision::{BoxStatus, FromInit};

/// The parts beside the core of PID 1.
pub struct Parts {
    pub network: Box<dyn Networker>,
    pub update: Box<dyn Updater>,
    pub status_text: StatusText,
}

/// The text of `STATUS.txt`: the box, all conditions that are shown, and the worker's lines.
pub type StatusText = fn(&BoxStatus, &[Condition], &[String]) -> String;

/// Link, addresses and clock.
pub trait Networker {
    /// Begins; it never ends. `data` is the root folder of the data partition, where a saved clock may lie in `box/clock`.
    ///
    /// # Errors
    /// Why there will be no network, for the log and a condition.
    fn start(&mut self, model: &Model, data: &Path) -> Result<(), String>;

    /// What to wait for: each wakes the loop when it can be read.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;

    /// When to ask again at the latest.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Reads what has come and does what is due.
    fn poll(&mut self, now: Instant) -> Vec<NetworkNews>;

    /// A child ended; whether it was one of its own. `status` is the exit code, or 128 and the signal.
    fn handle_exit(&mut self, child: Pid, status: i32) -> bool;

    /// The box goes down.
    fn stop(&mut self);
}

/// What the network has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkNews {
    Link(bool),
    /// All addresses, each with prefix length and interface, as text.
    Addresses(Vec<String>),
    /// Whether the system's clock is true now, and by whom.
    Clock {
        known: bool,
        source: String,
    },
    Holds(Condition),
    /// The condition of this code holds no longer.
    HoldsNoLonger(String),
}

/// Writing and judging the inactive slot.
pub trait Updater {
    /// A package lies at `package`, unverified. Starts a child that verifies and writes it.
    ///
    /// # Errors
    /// Why not, for the owner.
    fn begin(&mut self, package: &Path) -> Result<(), String>;

    /// A child ended; `None` when it was not one of its own.
    fn handle_exit(&mut self, child: Pid, status: i32) -> Option<Vec<UpdateNews>>;

    /// Once a second with what is known: whether a worker is ready, and all conditions. Judges a slot on trial.
    fn poll(&mut self, is_ready: bool, conditions: &[Condition], now: Instant) -> Vec<UpdateNews>;
}

/// What the updater wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateNews {
    /// For whoever asked for the update.
    Tell(FromInit),
    Holds(Condition),
    HoldsNoLonger(String),
    /// Restart in good order; with a word for the firmware, as `0 tryboot`.
    Restart(Option<std::ffi::CString>),
}
