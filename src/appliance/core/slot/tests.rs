//! The machine against a model of both firmwares, with the power going away at every step.

use proptest::prelude::*;

use super::*;

/// What a version does when it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Healthy,
    Unhealthy,
    /// Never says anything: a crash, or a hang that the watchdog ends.
    Silent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Torn,
    Whole { id: u64, fate: Fate },
}

/// What outlives the power.
struct World {
    file: SwitchFile,
    switch: Vec<u8>,
    /// The Pi's request for one try: in a register, lost with the power.
    tryboot: bool,
    slots: [Content; 2],
    memory: Option<Vec<u8>>,
    /// Versions whose health was seen to hold.
    proven: Vec<u64>,
    /// Steps until the power goes.
    cut: Option<usize>,
    slots_machine: Option<Slots>,
}

/// The power went.
struct Cut;

impl World {
    fn new(file: SwitchFile) -> Self {
        let switch = file.encode(Switch { chosen: Slot::A, attempt: None }, 512).expect("fits");
        let slots = [Content::Whole { id: 0, fate: Fate::Healthy }; 2];
        let mut world = Self {
            file,
            switch,
            tryboot: false,
            slots,
            memory: None,
            proven: vec![0],
            cut: None,
            slots_machine: None,
        };
        world.start();
        world
    }

    fn step(&mut self) -> Result<(), Cut> {
        match &mut self.cut {
            Some(0) => Err(Cut),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn content(&mut self, slot: Slot) -> &mut Content {
        &mut self.slots[usize::from(slot == Slot::B)]
    }

    /// The firmware's part. The Pi clears its flag, U-Boot rewrites the file, both before the slot starts.
    fn firmware(&mut self) -> Result<Boot, Cut> {
        let switch = self.file.decode(&self.switch).expect("one sector is written whole or not at all");
        let asked = match self.file {
            SwitchFile::Autoboot => std::mem::take(&mut self.tryboot).then(|| switch.chosen.other()),
            SwitchFile::SlotEnv => switch.attempt,
        };
        self.step()?;
        if self.file == SwitchFile::SlotEnv && switch.attempt.is_some() {
            let cleared = Switch { attempt: None, ..switch };
            self.switch = self.file.encode(cleared, self.switch.len()).expect("fits");
        }
        self.step()?;
        Ok(Boot { slot: asked.unwrap_or(switch.chosen), tried: asked.is_some() })
    }

    /// From power to a box that stays up, through as many starts as that takes.
    fn start(&mut self) {
        for _ in 0..8 {
            match self.boot_once() {
                Ok(true) => return,
                Ok(false) => {}
                Err(Cut) => self.lose_power(),
            }
        }
        panic!("the box restarts for ever");
    }

    fn lose_power(&mut self) {
        self.cut = None;
        self.tryboot = false;
        self.slots_machine = None;
    }

    /// Whether the box stays up.
    fn boot_once(&mut self) -> Result<bool, Cut> {
        let boot = self.firmware()?;
        let Content::Whole { id, fate } = *self.content(boot.slot) else { panic!("a torn slot was started") };
        assert!(boot.tried || self.proven.contains(&id), "version {id} is chosen and was never healthy");
        if fate == Fate::Silent {
            assert!(boot.tried, "a version that does not come up is chosen");
            self.step()?;
            return Ok(false);
        }
        let memory = self.memory.as_deref().and_then(Trial::decode);
        let (slots, actions) = Slots::at_boot(boot, memory);
        self.slots_machine = Some(slots);
        let mut stays = self.carry_out(actions)?;
        if self.machine().expected().is_some() {
            self.step()?;
            let actions = if fate == Fate::Healthy {
                self.proven.push(id);
                self.machine().handle_held()
            } else {
                self.machine().handle_lost("no listener")
            };
            stays = self.carry_out(actions)?;
        }
        Ok(stays)
    }

    fn machine(&mut self) -> &mut Slots {
        self.slots_machine.as_mut().expect("the box is up")
    }

    /// Whether the box stays up after these.
    fn carry_out(&mut self, actions: Vec<Action>) -> Result<bool, Cut> {
        for action in actions {
            self.step()?;
            match action {
                Action::Switch(switch) => {
                    let Content::Whole { id, .. } = *self.content(switch.chosen) else {
                        panic!("torn slot chosen")
                    };
                    assert!(self.proven.contains(&id), "version {id} is chosen and was never healthy");
                    self.switch = self.file.encode(switch, self.switch.len()).expect("fits");
                }
                Action::Remember(trial) => self.memory = Some(trial.encode()),
                Action::Forget => self.memory = None,
                Action::Write(_) => {}
                Action::Restart { tryboot } => {
                    self.tryboot = tryboot;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn update(&mut self, id: u64, fate: Fate) -> Result<(), Cut> {
        let running = self.machine().boot().slot;
        let actions = self.machine().handle_update().expect("an update at a time");
        let target = actions.iter().find_map(|action| match action {
            Action::Write(slot) => Some(*slot),
            _ => None,
        });
        assert!(self.carry_out(actions)?);
        let target = target.expect("something is written");
        assert_ne!(target, running);
        *self.content(target) = Content::Torn;
        self.step()?;
        *self.content(target) = Content::Whole { id, fate };
        self.step()?;
        let actions = self.machine().handle_written("1.0.0", id, Health::default());
        assert!(!self.carry_out(actions)?, "the box restarts into the update");
        self.start();
        Ok(())
    }

    fn running(&mut self) -> u64 {
        let slot = self.machine().boot().slot;
        match *self.content(slot) {
            Content::Whole { id, .. } => id,
            Content::Torn => panic!("a torn slot runs"),
        }
    }
}

fn files() -> impl Strategy<Value = SwitchFile> {
    prop_oneof![Just(SwitchFile::Autoboot), Just(SwitchFile::SlotEnv)]
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![Just(Fate::Healthy), Just(Fate::Unhealthy), Just(Fate::Silent)]
}

#[test]
fn an_update_ends_in_the_new_version_or_in_the_old_one() {
    for file in [SwitchFile::Autoboot, SwitchFile::SlotEnv] {
        let mut world = World::new(file);
        assert!(world.update(1, Fate::Healthy).is_ok());
        assert_eq!((world.running(), world.machine().state().clone()), (1, State::Confirmed));
        assert!(world.update(2, Fate::Unhealthy).is_ok());
        assert_eq!(world.running(), 1);
        assert_eq!(world.machine().state(), &State::RolledBack("no listener".into()));
        assert!(world.update(3, Fate::Silent).is_ok());
        assert_eq!((world.running(), world.machine().state().clone()), (1, State::RolledBack(SILENT.into())));
        assert!(world.update(4, Fate::Healthy).is_ok());
        assert_eq!(world.running(), 4);
    }
}

#[test]
fn a_box_that_tries_an_update_takes_no_other() {
    let (mut slots, _) = Slots::at_boot(Boot { slot: Slot::B, tried: true }, None);
    assert_eq!(slots.handle_update(), Err(Busy::Trying));
    assert_eq!(slots.expected(), Some(Health::default()), "without a memory the least is asked for");
    let choose = Action::Switch(Switch { chosen: Slot::B, attempt: None });
    assert_eq!(slots.handle_held(), [choose]);
    assert!(slots.handle_update().is_ok());
    assert_eq!(slots.handle_update(), Err(Busy::Writing));
}

#[test]
fn a_call_out_of_turn_changes_nothing() {
    let (mut slots, actions) = Slots::at_boot(Boot { slot: Slot::A, tried: false }, None);
    assert!(actions.is_empty());
    assert!(
        slots.handle_held().is_empty()
            && slots.handle_lost("x").is_empty()
            && slots.handle_failed().is_empty()
    );
    assert!(slots.handle_written("1.0.0", 1, Health::default()).is_empty());
    assert_eq!(slots.state(), &State::Idle);
}

#[test]
fn what_fails_after_writing_is_taken_back() {
    let (mut slots, _) = Slots::at_boot(Boot { slot: Slot::A, tried: false }, None);
    slots.handle_update().expect("idle");
    assert!(slots.handle_failed().is_empty(), "nothing is armed while it is written");
    slots.handle_update().expect("idle again");
    assert_eq!(slots.handle_written("1.0.0", 1, Health::default()).len(), 3);
    let disarm = Action::Switch(Switch { chosen: Slot::A, attempt: None });
    assert_eq!(slots.handle_failed(), [disarm, Action::Forget]);
    assert_eq!(slots.state(), &State::Idle);
}

proptest! {
    #[test]
    fn whatever_happens_a_whole_proven_slot_starts(
        file in files(),
        updates in prop::collection::vec((fates(), prop::option::of(0_usize..24)), 1..8),
    ) {
        let mut world = World::new(file);
        for (id, (fate, cut)) in (1..).zip(updates) {
            let before = world.running();
            world.cut = cut;
            if world.update(id, fate).is_err() {
                world.lose_power();
                world.start();
            }
            let power_held = cut.is_none() || world.cut.is_some();
            world.cut = None;
            let after = world.running();
            prop_assert!(after == before || (after == id && fate == Fate::Healthy));
            if power_held {
                prop_assert_eq!(after, if fate == Fate::Healthy { id } else { before });
            }
        }
    }
}
