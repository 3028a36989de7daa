//! Where PID 1 is joined to the other parts of the box. Each part owns its descriptors, children and deadlines, and the one
//! loop of PID 1 asks them in turn; none may block.

use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::unistd::Pid;

use super::core::options::Options;
use crate::base::condition::Condition;
use crate::config::model::Model;
use crate::wire::supervision::{BoxStatus, FromInit, FromWorker};

/// The parts beside the core of PID 1.
pub struct Parts {
    pub network: Box<dyn Networker>,
    pub update: Box<dyn Updates>,
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
    fn start(&mut self, model: &Model, data: &Path, options: &Options) -> Result<(), String>;

    /// What to wait for: each wakes the loop when it can be read.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;

    /// When to ask again at the latest.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Reads what has come and does what is due.
    fn poll(&mut self, now: Instant) -> Vec<NetworkNews>;

    /// A child ended; whether it was one of its own.
    fn handle_exit(&mut self, child: Pid, now: Instant) -> bool;

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

/// What updates need to know of the card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardDevices {
    /// The whole of it.
    pub device: PathBuf,
    /// The first sector of the owner's partition.
    pub owner_start: u64,
    /// The slots' partitions.
    pub slots: [PathBuf; 2],
}

/// Writing and judging the inactive slot.
pub trait Updates {
    /// Learns what this boot is. `data` is the root folder of the data partition.
    fn start(&mut self, card: &CardDevices, data: &Path, options: &Options, now: Instant);

    /// Everything the worker says: an update may be among it, and how well the worker is.
    fn hear(&mut self, message: &FromWorker, now: Instant);

    /// Nothing the worker said holds any more.
    fn handle_worker_gone(&mut self);

    /// For a worker that has just started.
    fn greeting(&self) -> Option<FromInit>;

    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;

    /// Reads what has come and does what is due; once a second at least. `own` is everything PID 1 knows of itself.
    fn poll(&mut self, own: &[Condition], now: Instant) -> Vec<UpdateNews>;
}

/// What updates want done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateNews {
    /// For whoever asked for the update.
    Tell(FromInit),
    Holds(Condition),
    HoldsNoLonger(String),
    /// Restart in good order; with a word for the firmware, as `0 tryboot`.
    Restart(Option<CString>),
}

/// The conditions that a part told last, and what has changed since.
#[derive(Debug, Default)]
pub struct Told(Vec<Condition>);

impl Told {
    /// What holds and was not told so, and the codes of what holds no longer.
    pub fn differences(&mut self, now: Vec<Condition>) -> (Vec<Condition>, Vec<String>) {
        let fresh = now.iter().filter(|condition| !self.0.contains(condition)).cloned().collect();
        let held = |code: &str| now.iter().any(|condition| condition.code == code);
        let gone = self.0.iter().map(|condition| condition.code.clone()).filter(|code| !held(code)).collect();
        self.0 = now;
        (fresh, gone)
    }
}
