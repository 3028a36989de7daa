//! The shell of a boot: does each step of [`super::core::boot_plan`] and says what came of it.

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::configuration::Places;
use super::core::boot_plan::{BootFacts, BootPlan, CardFacts, Fact, Origin, Step};
use super::core::card::{BOOT, DATA};
use super::core::options::Options;
use super::core::slot::Slot;
use super::journal::Journal;
use super::owner_partition::OwnerPartition;
use super::partitions::Card;
use super::seams::{CardDevices, Networker};
use super::settings::{Machine, Settings};
use super::watchdog::Feeder;
use super::worker::open_tun;
use super::{crash, data, hardening, identity_copy, mounts, reserve};
use crate::base::condition::Condition;
use crate::config::model::Model;

/// For a card that appears late.
const CARD_PATIENCE: Duration = Duration::from_secs(10);
const COMMAND_LINE: &str = "/proc/cmdline";

/// What a boot leaves behind for the life of the box.
pub struct Booted {
    pub options: Options,
    pub machine: Machine,
    pub feeder: Feeder,
    pub model: Model,
    /// `None` without a card.
    pub owner: Option<OwnerPartition>,
    /// As `owner`.
    pub card: Option<CardDevices>,
    pub conditions: Vec<Condition>,
    /// Whether what is written to the data folder outlives the box.
    pub keeps_data: bool,
}

struct Boot<'a> {
    settings: &'a Settings,
    journal: &'a Journal,
    network: &'a mut dyn Networker,
    options: Options,
    machine: Machine,
    feeder: Feeder,
    card: Option<Card>,
    owner: Option<OwnerPartition>,
    /// The beginning of a file system that was given up, until there is one to keep it in.
    aside: Option<Vec<u8>>,
    keeps_data: bool,
    model: Model,
}

/// Boots. Nothing is so wrong that it ends early.
pub fn run(settings: &Settings, journal: &Journal, network: &mut dyn Networker) -> Booted {
    let mut boot = Boot {
        settings,
        journal,
        network,
        options: Options::default(),
        machine: Machine::own(),
        feeder: Feeder::default(),
        card: None,
        owner: None,
        aside: None,
        keeps_data: false,
        model: Model::default(),
    };
    let mut plan = BootPlan::new();
    while let Some(step) = plan.step() {
        let begun = Instant::now();
        let fact = boot.perform(step);
        report(step, &fact, begun.elapsed());
        plan.handle(fact);
        boot.feeder.feed();
    }
    let conditions = plan.conditions().to_vec();
    let Boot { options, machine, feeder, model, owner, keeps_data, card, .. } = boot;
    let card = card.map(|card| CardDevices {
        device: card.device().to_owned(),
        owner_start: card.start(BOOT),
        slots: [Slot::A, Slot::B].map(|slot| card.partition(slot.partition().into())),
    });
    Booted { options, machine, feeder, model, owner, card, conditions, keeps_data }
}

fn report(step: Step, fact: &Fact, took: Duration) {
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match fact {
        Fact::Failed(why) => tracing::warn!(?step, milliseconds, "{why}"),
        fact => tracing::info!(?step, milliseconds, "{fact:?}"),
    }
}

impl Boot<'_> {
    fn perform(&mut self, step: Step) -> Fact {
        match step {
            Step::Mounts => self.mount_kernel(),
            Step::Harden => done(hardening::early(&self.machine.sysctl)),
            Step::Seal => self.seal(),
            Step::FindCard => self.find_card(),
            Step::MountBoot => self.mount_boot(),
            Step::CheckData => self.check_data(),
            Step::SetAside => self.set_aside(),
            Step::WipeData => self.wipe_data(),
            Step::CreateData => self.create_data(),
            Step::MountData => self.mount_data(),
            Step::GrowData => self.grow_data(),
            Step::MountMemory => done(mounts::memory(&self.settings.data)),
            Step::PrepareData => done(self.prepare_data()),
            Step::RestoreIdentity => self.restore_identity(),
            Step::FinishReset => done(self.owner.as_ref().map_or(Ok(()), OwnerPartition::finish_reset)),
            Step::KeepCrashes => self.keep_crashes(),
            Step::ReadConfig => self.read_config(),
            Step::StartNetwork => done(self.network.start(&self.model, &self.settings.data, &self.options)),
            Step::StartWorker => done(open_tun()),
        }
    }

    fn mount_kernel(&mut self) -> Fact {
        let result = mounts::kernel();
        let found = || std::fs::read_to_string(COMMAND_LINE).unwrap_or_default();
        self.options = Options::parse(&self.settings.command_line.clone().unwrap_or_else(found));
        for unknown in &self.options.unknown {
            tracing::warn!("{unknown} on the kernel's command line means nothing");
        }
        if self.options.is_guest {
            self.machine = Machine::of_others();
        }
        self.feeder = Feeder::open(&self.machine.watchdog);
        done(result)
    }

    fn seal(&mut self) -> Fact {
        if let Err(error) = mounts::seal_root() {
            tracing::warn!(%error, "the root stays writable");
        }
        done(hardening::late(&self.machine.sysctl))
    }

    fn find_card(&mut self) -> Fact {
        match Card::find(self.options.card.as_deref(), CARD_PATIENCE) {
            Ok(card) => {
                tracing::info!(device = %card.device().display(), "the card");
                let facts = CardFacts { has_data: card.has_data() };
                self.card = Some(card);
                Fact::Card(facts)
            }
            Err(error) => Fact::Failed(error.to_string()),
        }
    }

    fn mount_boot(&mut self) -> Fact {
        let device = self.card().partition(BOOT);
        let folder = &self.settings.boot;
        if let Err(error) = mounts::boot(&device, folder, &self.options.boot_fs) {
            return Fact::Failed(format!("{}: {error}", device.display()));
        }
        let owner = OwnerPartition::new(folder, &device);
        let facts = BootFacts { reset: owner.asks_reset(), identity: owner.has_identity() };
        self.owner = Some(owner);
        Fact::Boot(facts)
    }

    fn check_data(&mut self) -> Fact {
        let device = self.data_device();
        let feeder = &mut self.feeder;
        let check = data::check(&self.settings.fsck, &device, &mut || feeder.feed());
        Fact::Data(check)
    }

    fn set_aside(&mut self) -> Fact {
        match data::set_aside(&self.data_device()) {
            Ok(aside) => {
                self.aside = Some(aside);
                Fact::Done
            }
            Err(error) => Fact::Failed(error.to_string()),
        }
    }

    fn wipe_data(&mut self) -> Fact {
        let device = self.data_device();
        let feeder = &mut self.feeder;
        done(data::wipe(&device, &self.settings.data, &mut || feeder.feed()))
    }

    fn create_data(&mut self) -> Fact {
        let feeder = &mut self.feeder;
        let card = self.card.as_mut().expect("a plan without a card makes no partition");
        done(data::create(card, &self.settings.pristine, &mut || feeder.feed()))
    }

    fn mount_data(&mut self) -> Fact {
        let result = mounts::data(&self.data_device(), &self.settings.data);
        self.keeps_data = result.is_ok();
        done(result)
    }

    fn grow_data(&mut self) -> Fact {
        let card = self.card.as_mut().expect("a plan without a card grows no partition");
        let feeder = &mut self.feeder;
        done(data::grow(card, &self.settings.data, &mut || feeder.feed()))
    }

    fn prepare_data(&mut self) -> io::Result<()> {
        data::prepare(&self.settings.data)?;
        if self.keeps_data
            && let Err(error) = reserve::tend(&self.settings.data)
        {
            tracing::warn!(%error, "no room is kept back");
        }
        let own = self.settings.data.join("box");
        if let Some(aside) = self.aside.take() {
            let mut file = File::create(own.join("set-aside.zst"))?;
            file.write_all(&aside)?;
            file.sync_all()?;
        }
        // In memory there is a log already.
        if self.keeps_data { self.journal.keep_in(&own.join("log")) } else { Ok(()) }
    }

    fn restore_identity(&mut self) -> Fact {
        match identity_copy::restore(&self.settings.boot, &self.settings.data.join("state")) {
            Ok(true) => Fact::Restored,
            Ok(false) => Fact::Done,
            Err(error) => Fact::Failed(error.to_string()),
        }
    }

    fn keep_crashes(&mut self) -> Fact {
        match crash::collect(&self.machine.pstore, &self.settings.data.join("box")) {
            Ok(told) => Fact::Crashes(told),
            Err(error) => Fact::Failed(error.to_string()),
        }
    }

    fn read_config(&mut self) -> Fact {
        let places = Places::new(&self.settings.boot, &self.settings.config, &self.settings.data);
        match places.read() {
            Ok(configured) => {
                self.model = configured.model;
                if configured.facts.origin == Origin::Owner {
                    self.move_secrets(&places);
                }
                Fact::Config(configured.facts)
            }
            Err(error) => Fact::Failed(error.to_string()),
        }
    }

    /// Only to where they outlive the box.
    fn move_secrets(&self, places: &Places) {
        let Some(owner) = self.owner.as_ref().filter(|_| self.keeps_data) else { return };
        match places.move_secrets(owner) {
            Ok(true) => tracing::info!("a secret of genkan.toml lies on the data partition now"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "a secret stays in genkan.toml, for it cannot be moved"),
        }
    }

    fn card(&self) -> &Card {
        self.card.as_ref().expect("a plan without a card touches no partition")
    }

    fn data_device(&self) -> std::path::PathBuf {
        self.card().partition(DATA)
    }
}

fn done(result: Result<(), impl std::fmt::Display>) -> Fact {
    match result {
        Ok(()) => Fact::Done,
        Err(error) => Fact::Failed(error.to_string()),
    }
}
