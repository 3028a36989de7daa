//! The order of a boot as data: what was seen goes in, what to do next comes out, and what the owner should know.
//!
//! Nothing stops a boot. What fails leaves a condition, and the plan goes on with what is left: without a card the state
//! lives in memory, without a readable configuration the last good one runs, or none.

mod texts;

use crate::base::condition::Condition;

use texts::{
    config_condition, config_unreadable, crashed, data_lost, data_not_created, data_recreated, data_repaired,
    data_unusable, identity_not_restored, mounts_failed, no_boot_partition, no_card, not_grown,
    reset_not_finished,
};

/// What the shell does. Every step may be done again without harm: a boot that loses power begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// proc, sysfs, devtmpfs, /run, /tmp, pstore.
    Mounts,
    /// The kernel's settings that may be tightened at any time.
    Harden,
    FindCard,
    /// p1 at /boot, read-only.
    MountBoot,
    /// Check and repair the file system of p4.
    CheckData,
    /// Keep what fits of a file system that cannot be repaired.
    SetAside,
    /// Destroy the contents of p4.
    WipeData,
    /// Write an empty file system to p4, making the partition when it is missing.
    CreateData,
    MountData,
    /// Let partition and file system reach to the end of the card.
    GrowData,
    /// A data folder in memory, for want of a partition.
    MountMemory,
    /// Folders and their owners.
    PrepareData,
    /// Put the copy of the box's keys from p1 beside a state that is not there.
    RestoreIdentity,
    /// Remove the copy of the old keys, then the file `RESET`.
    FinishReset,
    /// Move what the kernel kept of a crash to the data partition.
    KeepCrashes,
    ReadConfig,
    StartNetwork,
    /// The kernel's settings that cannot be undone.
    Seal,
    StartWorker,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    Done,
    /// It could not be done; why.
    Failed(String),
    Card(CardFacts),
    Boot(BootFacts),
    Data(DataCheck),
    /// There was no database, and the copy of the keys is in its place.
    Restored,
    /// Crashes found, one text each.
    Crashes(Vec<String>),
    Config(ConfigFacts),
}

/// The card that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardFacts {
    pub has_data: bool,
}

/// What lies on the owner's partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootFacts {
    /// There is a file `RESET`.
    pub reset: bool,
    /// There is a copy of the box's keys.
    pub identity: bool,
}

/// What the file system check says; texts are its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataCheck {
    Clean,
    Repaired(String),
    /// Damaged beyond repair, or no file system at all.
    Unrepairable(String),
    /// There is a file system, but this system cannot use it: the card fails, or a newer system made it. It is left alone.
    Unusable(String),
}

/// Which configuration runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFacts {
    pub origin: Origin,
    /// Everything wrong in the owner's files, as `file:line:column: what`.
    pub errors: Vec<String>,
    pub warnings: usize,
}

/// Where the configuration that runs comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Owner,
    LastGood,
    Defaults,
}

/// Codes that say already that the box begins without its state.
const LOST: [&str; 4] = ["BOX-01", "DATA-02", "DATA-05", "DATA-06"];

/// Where a boot is.
#[derive(Debug, Clone)]
pub struct BootPlan {
    step: Option<Step>,
    has_data: bool,
    boot: BootFacts,
    /// The data partition holds a new file system.
    is_created: bool,
    conditions: Vec<Condition>,
}

impl BootPlan {
    #[must_use]
    pub fn new() -> Self {
        Self {
            step: Some(Step::Mounts),
            has_data: false,
            boot: BootFacts { reset: false, identity: false },
            is_created: false,
            conditions: Vec::new(),
        }
    }

    /// What to do now; `None` when the boot is done.
    #[must_use]
    pub fn step(&self) -> Option<Step> {
        self.step
    }

    /// Takes what came of [`BootPlan::step`] and moves on. After the last step it changes nothing.
    pub fn handle(&mut self, fact: Fact) {
        self.step = self.step.and_then(|step| self.after(step, fact));
    }

    /// What the owner should know, as far as it has come.
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    fn after(&mut self, step: Step, fact: Fact) -> Option<Step> {
        Some(match step {
            Step::Mounts => self.noting(&fact, mounts_failed, Step::Harden),
            Step::Harden => Step::FindCard,
            Step::FindCard => self.after_card(fact),
            Step::MountBoot => self.after_boot(fact),
            Step::CheckData => self.after_check(fact),
            Step::SetAside | Step::WipeData => Step::CreateData,
            Step::CreateData => self.after_create(fact),
            Step::MountData => self.after_mount(fact),
            Step::GrowData => self.noting(&fact, not_grown, Step::PrepareData),
            Step::MountMemory => self.noting(&fact, mounts_failed, Step::PrepareData),
            Step::PrepareData => self.after_prepare(&fact),
            Step::RestoreIdentity => self.after_restore(&fact),
            Step::FinishReset => self.noting(&fact, reset_not_finished, Step::KeepCrashes),
            Step::KeepCrashes => self.after_crashes(fact),
            Step::ReadConfig => self.after_config(fact),
            Step::StartNetwork => Step::Seal,
            Step::Seal => Step::StartWorker,
            Step::StartWorker => return None,
        })
    }

    fn noting(&mut self, fact: &Fact, text: fn(&str) -> Condition, next: Step) -> Step {
        if let Fact::Failed(why) = fact {
            self.conditions.push(text(why));
        }
        next
    }

    fn after_card(&mut self, fact: Fact) -> Step {
        match fact {
            Fact::Card(card) => {
                self.has_data = card.has_data;
                Step::MountBoot
            }
            Fact::Failed(why) => self.give_up_data(no_card(&why)),
            _ => self.give_up_data(no_card("")),
        }
    }

    fn after_boot(&mut self, fact: Fact) -> Step {
        match fact {
            Fact::Boot(boot) => self.boot = boot,
            Fact::Failed(why) => self.conditions.push(no_boot_partition(&why)),
            _ => {}
        }
        match (self.boot.reset, self.has_data) {
            (true, true) => Step::WipeData,
            (false, true) => Step::CheckData,
            (_, false) => Step::CreateData,
        }
    }

    fn after_check(&mut self, fact: Fact) -> Step {
        match fact {
            Fact::Data(DataCheck::Unrepairable(why)) => {
                self.conditions.push(data_recreated(&why));
                Step::SetAside
            }
            Fact::Data(DataCheck::Unusable(why)) | Fact::Failed(why) => {
                self.give_up_data(data_unusable(&why))
            }
            Fact::Data(DataCheck::Repaired(what)) => {
                self.conditions.push(data_repaired(&what));
                Step::MountData
            }
            _ => Step::MountData,
        }
    }

    fn after_create(&mut self, fact: Fact) -> Step {
        if let Fact::Failed(why) = fact {
            return self.give_up_data(data_not_created(&why));
        }
        self.is_created = true;
        Step::MountData
    }

    /// A sound file system that cannot be mounted is not replaced: the other slot's kernel may know it.
    fn after_mount(&mut self, fact: Fact) -> Step {
        match fact {
            Fact::Failed(why) if self.is_created => self.give_up_data(data_not_created(&why)),
            Fact::Failed(why) => self.give_up_data(data_unusable(&why)),
            _ => Step::GrowData,
        }
    }

    fn after_prepare(&mut self, fact: &Fact) -> Step {
        let next = if self.boot.reset {
            if self.is_created { Step::FinishReset } else { Step::KeepCrashes }
        } else if self.boot.identity {
            Step::RestoreIdentity
        } else {
            Step::KeepCrashes
        };
        self.noting(fact, mounts_failed, next)
    }

    /// A repair may have lost the database, too.
    fn after_restore(&mut self, fact: &Fact) -> Step {
        let is_told = self.conditions.iter().any(|told| LOST.contains(&told.code.as_str()));
        if *fact == Fact::Restored && !is_told {
            self.conditions.push(data_lost());
        }
        self.noting(fact, identity_not_restored, Step::KeepCrashes)
    }

    fn after_crashes(&mut self, fact: Fact) -> Step {
        if let Fact::Crashes(crashes) = fact
            && let Some(last) = crashes.last()
        {
            self.conditions.push(crashed(last, crashes.len()));
        }
        Step::ReadConfig
    }

    fn after_config(&mut self, fact: Fact) -> Step {
        match fact {
            Fact::Config(facts) => self.conditions.extend(config_condition(&facts)),
            Fact::Failed(why) => self.conditions.push(config_unreadable(&why)),
            _ => {}
        }
        Step::StartNetwork
    }

    fn give_up_data(&mut self, why: Condition) -> Step {
        self.is_created = false;
        self.conditions.push(why);
        Step::MountMemory
    }
}

impl Default for BootPlan {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
