//! What the owner and the worker read about updates.

use crate::appliance::boot_switch::BootSwitchError;
use crate::appliance::core::slot::{Slots, State};
use crate::base::condition::{Condition, Severity};
use crate::wire::supervision::FromInit;

/// The last word, and whether the worker has heard it.
#[derive(Debug)]
pub struct Status {
    last: Option<Word>,
    said: bool,
    /// The last update was not installed, and why; until the next one begins.
    failure: Option<String>,
    switch: Option<String>,
}

#[derive(Debug, Clone)]
struct Word {
    text: String,
    done: bool,
    failed: bool,
}

impl Status {
    pub fn at_boot(slots: &Slots, switch: Option<BootSwitchError>) -> Self {
        let switch = switch.map(|error| error.to_string());
        let mut status = Self { last: None, said: true, failure: None, switch };
        status.decided(slots);
        status
    }

    pub fn progress(&mut self, text: &str) {
        self.failure = None;
        self.say(text, false, false);
    }

    /// The update under way came to nothing.
    pub fn fail(&mut self, reason: String) {
        self.say(&reason, true, true);
        self.failure = Some(reason);
    }

    /// An update did not even begin; one that is under way goes on.
    pub fn refuse(&mut self, reason: String) {
        tracing::warn!(reason, "update refused");
        self.fail(reason);
    }

    /// What this boot is, or what came of a try.
    pub fn decided(&mut self, slots: &Slots) {
        let version = slots.trial().map_or("the new version", |trial| trial.version.as_str());
        match slots.state() {
            State::Trying => {
                self.say(&format!("trying {version}: is everything as it was before?"), false, false);
            }
            State::Confirmed => self.say(&format!("{version} is installed"), true, false),
            State::RolledBack(reason) => self.say(&rolled_back(version, reason), true, true),
            State::Idle | State::Writing | State::Written => {}
        }
    }

    pub fn take_message(&mut self) -> Option<FromInit> {
        if std::mem::replace(&mut self.said, true) { None } else { self.message() }
    }

    pub fn message(&self) -> Option<FromInit> {
        let Word { text, done, failed } = self.last.clone()?;
        Some(FromInit::Update { text, done, failed })
    }

    pub fn conditions(&self, slots: &Slots) -> Vec<Condition> {
        let last = self.last.as_ref().map(|word| word.text.clone()).unwrap_or_default();
        let mut conditions = Vec::new();
        match slots.state() {
            State::Writing | State::Written => conditions.push(
                Condition::new("UPD-01", Severity::Progress, "An update is being installed.").because(last),
            ),
            State::Trying => conditions.push(
                Condition::new("UPD-02", Severity::Progress, "A new version is being tried.").because(last),
            ),
            State::RolledBack(reason) => conditions.push(went_back(slots, reason)),
            State::Idle | State::Confirmed => {}
        }
        if let Some(reason) = &self.failure {
            let condition = Condition::new("UPD-04", Severity::Warning, "The last update was not installed.");
            conditions.push(condition.because(reason).cure("Nothing was changed; the old version runs on."));
        }
        if let Some(reason) = &self.switch {
            let condition =
                Condition::new("UPD-05", Severity::Warning, "The choice of the slot cannot be read.");
            conditions.push(
                condition.because(reason).cure("Copy the file from the card's image, or install an update."),
            );
        }
        conditions
    }

    fn say(&mut self, text: &str, done: bool, failed: bool) {
        self.last = Some(Word { text: text.to_owned(), done, failed });
        self.said = false;
    }
}

fn went_back(slots: &Slots, reason: &str) -> Condition {
    let version = slots.trial().map_or("the new version", |trial| trial.version.as_str());
    Condition::new(
        "UPD-03",
        Severity::Warning,
        format!("The update to {version} was taken back; the old version runs."),
    )
    .because(reason)
    .cure("Put right what is named, and install the update again; or wait for the next one.")
}

fn rolled_back(version: &str, reason: &str) -> String {
    format!("{version} was taken back: {reason}")
}
