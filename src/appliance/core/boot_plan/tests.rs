//! Whole boots by what is seen, and arbitrary sequences of facts.

use proptest::prelude::*;

use super::*;

/// Boots with `answer` for each step; every step not answered is done.
fn boot(answer: impl Fn(Step) -> Option<Fact>) -> (Vec<Step>, Vec<String>) {
    let mut plan = BootPlan::new();
    let mut steps = Vec::new();
    while let Some(step) = plan.step() {
        steps.push(step);
        plan.handle(answer(step).unwrap_or(Fact::Done));
    }
    (steps, plan.conditions().iter().map(|condition| condition.code.clone()).collect())
}

fn card(has_data: bool) -> Fact {
    Fact::Card(CardFacts { has_data })
}

fn owner(reset: bool, identity: bool) -> Fact {
    Fact::Boot(BootFacts { reset, identity })
}

#[test]
fn an_ordinary_boot_touches_nothing() {
    let (steps, conditions) = boot(|step| match step {
        Step::FindCard => Some(card(true)),
        Step::MountBoot => Some(owner(false, true)),
        Step::CheckData => Some(Fact::Data(DataCheck::Clean)),
        _ => None,
    });
    let destructive = [Step::SetAside, Step::WipeData, Step::CreateData, Step::FinishReset];
    assert!(steps.iter().all(|step| !destructive.contains(step)), "{steps:?}");
    assert_eq!(conditions, Vec::<String>::new());
    assert_eq!(steps.last(), Some(&Step::StartWorker));
}

#[test]
fn damage_beyond_repair_keeps_the_identity() {
    let (steps, conditions) = boot(|step| match step {
        Step::FindCard => Some(card(true)),
        Step::MountBoot => Some(owner(false, true)),
        Step::CheckData => Some(Fact::Data(DataCheck::Unrepairable("bad magic".into()))),
        _ => None,
    });
    let expected = [
        Step::SetAside,
        Step::CreateData,
        Step::MountData,
        Step::GrowData,
        Step::PrepareData,
        Step::RestoreIdentity,
    ];
    assert!(steps.windows(expected.len()).any(|window| window == expected), "{steps:?}");
    assert_eq!(conditions, ["DATA-02"]);
}

#[test]
fn a_repair_that_lost_the_state_is_told_as_such() {
    let restored = |check: DataCheck| {
        boot(move |step| match step {
            Step::FindCard => Some(card(true)),
            Step::MountBoot => Some(owner(false, true)),
            Step::CheckData => Some(Fact::Data(check.clone())),
            Step::RestoreIdentity => Some(Fact::Restored),
            _ => None,
        })
    };
    assert_eq!(restored(DataCheck::Repaired("much".into())).1, ["DATA-01", "DATA-02"]);
    assert_eq!(restored(DataCheck::Unrepairable("all".into())).1, ["DATA-02"], "once");
    assert_eq!(restored(DataCheck::Unusable("new".into())).1, ["DATA-05"]);
}

#[test]
fn reset_gives_a_new_identity_and_ends_with_its_own_removal() {
    let (steps, conditions) = boot(|step| match step {
        Step::FindCard => Some(card(true)),
        Step::MountBoot => Some(owner(true, true)),
        _ => None,
    });
    assert!(!steps.contains(&Step::RestoreIdentity) && !steps.contains(&Step::CheckData), "{steps:?}");
    let place = |wanted: Step| steps.iter().position(|step| *step == wanted);
    assert!(
        place(Step::WipeData) < place(Step::CreateData)
            && place(Step::PrepareData) < place(Step::FinishReset)
    );
    assert_eq!(conditions, Vec::<String>::new());
}

#[test]
fn a_reset_that_could_not_erase_is_not_called_finished() {
    let (steps, conditions) = boot(|step| match step {
        Step::FindCard => Some(card(true)),
        Step::MountBoot => Some(owner(true, true)),
        Step::CreateData => Some(Fact::Failed("write-protected".into())),
        _ => None,
    });
    assert!(!steps.contains(&Step::FinishReset), "{steps:?}");
    assert_eq!(conditions, ["DATA-06"]);
}

#[test]
fn a_sound_file_system_that_does_not_mount_is_left_alone() {
    let (steps, conditions) = boot(|step| match step {
        Step::FindCard => Some(card(true)),
        Step::CheckData => Some(Fact::Data(DataCheck::Clean)),
        Step::MountData => Some(Fact::Failed("unknown feature".into())),
        _ => None,
    });
    assert!(!steps.contains(&Step::CreateData) && steps.contains(&Step::MountMemory), "{steps:?}");
    assert_eq!(conditions, ["DATA-05"]);
}

#[test]
fn every_problem_of_the_configuration_has_its_place() {
    let mut plan = BootPlan::new();
    while plan.step() != Some(Step::ReadConfig) {
        plan.handle(Fact::Done);
    }
    let errors = (1..=30).map(|line| format!("genkan.toml:{line}:1: wrong")).collect();
    plan.handle(Fact::Config(ConfigFacts { origin: Origin::LastGood, errors, warnings: 0 }));
    let condition = plan.conditions().last().expect("it has errors");
    assert_eq!(condition.code, "CFG-01");
    assert!(
        condition.why.contains("genkan.toml:20:1") && condition.why.ends_with("and 10 more"),
        "{condition:?}"
    );
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let check = prop_oneof![
        Just(DataCheck::Clean),
        Just(DataCheck::Repaired("r".into())),
        Just(DataCheck::Unrepairable("u".into())),
        Just(DataCheck::Unusable("x".into())),
    ];
    prop_oneof![
        Just(Fact::Done),
        Just(Fact::Restored),
        Just(Fact::Failed("f".into())),
        any::<bool>().prop_map(card),
        any::<(bool, bool)>().prop_map(|(reset, identity)| owner(reset, identity)),
        check.prop_map(Fact::Data),
        Just(Fact::Crashes(vec!["c".into()])),
    ]
}

proptest! {
    #[test]
    fn whatever_is_seen_the_worker_starts_and_data_is_lost_only_for_a_reason(
        facts in proptest::collection::vec(any_fact(), 40),
    ) {
        let mut plan = BootPlan::new();
        let mut seen = Vec::new();
        for fact in facts {
            let Some(step) = plan.step() else { break };
            seen.push((step, fact.clone()));
            plan.handle(fact);
        }
        prop_assert_eq!(plan.step(), None, "{:?}", seen);
        prop_assert_eq!(seen.last().map(|(step, _)| *step), Some(Step::StartWorker));
        let place = |wanted: Step| seen.iter().position(|(step, _)| *step == wanted);
        if place(Step::CreateData).is_some() {
            let has_data = seen.iter().any(|(step, fact)| *step == Step::FindCard && *fact == card(true));
            let is_lost = seen.iter().any(|(step, fact)| *step == Step::CheckData && matches!(fact, Fact::Data(DataCheck::Unrepairable(_))));
            prop_assert!(!has_data || is_lost || place(Step::WipeData).is_some());
            prop_assert!(!is_lost || place(Step::SetAside) < place(Step::CreateData));
        }
        prop_assert!(place(Step::WipeData).is_none() || place(Step::RestoreIdentity).is_none());
        let before = plan.conditions().to_vec();
        plan.handle(Fact::Failed("late".into()));
        prop_assert_eq!(plan.conditions(), before);
    }
}
