//! Two slots, one switch, and never a step from which the box would not start.
//!
//! ```text
//!           handle_update                 handle_written                 the firmware, once
//!   Idle ────────────────────▶ Writing ─────────────────────▶ Written ──────────────────────▶ Trying (another boot)
//!    ▲  Switch, Forget, Write     │ handle_failed   Remember, Switch, Restart          handle_held │ │ handle_lost,
//!    └────────────────────────────┘                              Confirmed ◀── Switch, Remember ───┘ │ crash, hang
//!                                                                                   RolledBack ◀─────┘ Remember, Restart
//! ```
//!
//! Three facts outlive a power cut: the slots' contents, the switch, and the memory of the update under way ([`Trial`]). The actions
//! that a call returns are done in order; after any of them the power may go. What holds all the time: the switch chooses a slot
//! that is whole and has been healthy; the slot that runs, and the slot to fall back to, are never written.

mod switch;
#[cfg(test)]
mod tests;
mod trial;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::health_watch::Health;
pub use switch::{Switch, SwitchError, SwitchFile};
pub use trial::{Outcome, Trial};

/// One of the two partitions that the box starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    A,
    B,
}

impl Slot {
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Number of its partition on the card.
    #[must_use]
    pub fn partition(self) -> u8 {
        match self {
            Self::A => 2,
            Self::B => 3,
        }
    }

    #[must_use]
    pub fn from_partition(number: u32) -> Option<Self> {
        [Self::A, Self::B].into_iter().find(|slot| u32::from(slot.partition()) == number)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }
}

impl FromStr for Slot {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "a" => Ok(Self::A),
            "b" => Ok(Self::B),
            _ => Err("a slot is a or b"),
        }
    }
}

/// How this boot came about, as the firmware tells it: the device tree on a Pi, the kernel's command line in QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    pub slot: Slot,
    /// The firmware was asked to try this slot once, and will not try it again by itself.
    pub tried: bool,
}

/// How far an update is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Idle,
    /// The other slot is being written.
    Writing,
    /// It is written and compared; the next boot tries it.
    Written,
    /// This boot is the try: it counts when the health is as it was.
    Trying,
    /// The slot that was tried is the one from now on.
    Confirmed,
    /// The slot that was tried is not taken, and why.
    RolledBack(String),
}

/// One thing to do, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the switch say this, durably, in one write of one sector.
    Switch(Switch),
    /// Keep this memory durably, in place of the one before.
    Remember(Box<Trial>),
    /// Lose the memory durably.
    Forget,
    /// Verify the update and write it to this slot.
    Write(Slot),
    /// Restart in good order; `tryboot` asks the firmware to try the other slot once.
    Restart { tryboot: bool },
}

/// Why no update begins now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    #[error("another update is being written; wait until it is done")]
    Writing,
    #[error("another update is written; the box restarts into it")]
    Written,
    #[error("the box is trying another update; wait until it is confirmed, some minutes")]
    Trying,
}

/// See the module.
#[derive(Debug)]
pub struct Slots {
    boot: Boot,
    state: State,
    trial: Option<Trial>,
}

/// A try that did not end with a word: the box is back where it was.
const SILENT: &str =
    "the new version did not come up (a crash, a hang or a power cut), or the firmware did not try it";

impl Slots {
    /// What this boot is, seen from what is remembered.
    #[must_use]
    pub fn at_boot(boot: Boot, trial: Option<Trial>) -> (Self, Vec<Action>) {
        let mut slots = Self { boot, state: State::Idle, trial };
        let actions = slots.judge_boot();
        (slots, actions)
    }

    #[must_use]
    pub fn boot(&self) -> Boot {
        self.boot
    }

    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The last update that was tried, or is.
    #[must_use]
    pub fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// Somebody brought an update. The switch is set before a byte is written: a slot that may be half-written is tried by nobody.
    pub fn handle_update(&mut self) -> Result<Vec<Action>, Busy> {
        match self.state {
            State::Writing => return Err(Busy::Writing),
            State::Written => return Err(Busy::Written),
            State::Trying => return Err(Busy::Trying),
            State::Idle | State::Confirmed | State::RolledBack(_) => {}
        }
        self.state = State::Writing;
        self.trial = None;
        let keep = Switch { chosen: self.boot.slot, attempt: None };
        Ok(vec![Action::Switch(keep), Action::Forget, Action::Write(self.boot.slot.other())])
    }

    /// The other slot holds `version`, read again and compared; `health` is how the box is now.
    #[must_use]
    pub fn handle_written(&mut self, version: &str, build: u64, health: Health) -> Vec<Action> {
        if self.state != State::Writing {
            return Vec::new();
        }
        self.state = State::Written;
        let target = self.boot.slot.other();
        let trial = Trial { slot: target, version: version.to_owned(), build, health, outcome: None };
        self.trial = Some(trial.clone());
        let arm = Switch { chosen: self.boot.slot, attempt: Some(target) };
        vec![Action::Remember(Box::new(trial)), Action::Switch(arm), Action::Restart { tryboot: true }]
    }

    /// Nothing came of the update: refused, or the card could not be written, or a step after it failed.
    #[must_use]
    pub fn handle_failed(&mut self) -> Vec<Action> {
        match self.state {
            State::Writing => {
                self.state = State::Idle;
                Vec::new()
            }
            State::Written => {
                self.state = State::Idle;
                self.trial = None;
                vec![Action::Switch(Switch { chosen: self.boot.slot, attempt: None }), Action::Forget]
            }
            _ => Vec::new(),
        }
    }

    /// While a slot is tried: what it has to come up to. A memory that is lost, or of another slot, asks for the least.
    #[must_use]
    pub fn expected(&self) -> Option<Health> {
        (self.state == State::Trying).then(|| match &self.trial {
            Some(trial) if trial.slot == self.boot.slot => trial.health.clone(),
            _ => Health::default(),
        })
    }

    /// The health is as it was: this slot is the one from now on.
    #[must_use]
    pub fn handle_held(&mut self) -> Vec<Action> {
        if self.state != State::Trying {
            return Vec::new();
        }
        self.state = State::Confirmed;
        let choose = Action::Switch(Switch { chosen: self.boot.slot, attempt: None });
        std::iter::once(choose).chain(self.end(Outcome::Confirmed)).collect()
    }

    /// The health did not come back, or the switch could not be set.
    #[must_use]
    pub fn handle_lost(&mut self, reason: &str) -> Vec<Action> {
        if !matches!(self.state, State::Trying | State::Confirmed) {
            return Vec::new();
        }
        self.state = State::RolledBack(reason.to_owned());
        let mut actions = self.end(Outcome::RolledBack { reason: reason.to_owned() });
        actions.push(Action::Restart { tryboot: false });
        actions
    }

    fn judge_boot(&mut self) -> Vec<Action> {
        let Boot { slot, tried } = self.boot;
        if tried {
            self.state = State::Trying;
            return Vec::new();
        }
        let Some(trial) = &self.trial else { return Vec::new() };
        let outcome = match &trial.outcome {
            // Also when the power went after the switch was set and before the memory said so.
            _ if trial.slot == slot => Outcome::Confirmed,
            Some(Outcome::RolledBack { reason }) => Outcome::RolledBack { reason: reason.clone() },
            Some(Outcome::Confirmed) | None => Outcome::RolledBack { reason: SILENT.into() },
        };
        self.state = match &outcome {
            Outcome::Confirmed => State::Confirmed,
            Outcome::RolledBack { reason } => State::RolledBack(reason.clone()),
        };
        if trial.outcome.as_ref() == Some(&outcome) { Vec::new() } else { self.end(outcome) }
    }

    /// Writes the outcome into the memory, if there is one.
    fn end(&mut self, outcome: Outcome) -> Vec<Action> {
        let trial = self.trial.as_mut();
        let ended = trial.map(|trial| {
            trial.outcome = Some(outcome);
            Action::Remember(Box::new(trial.clone()))
        });
        ended.into_iter().collect()
    }
}
