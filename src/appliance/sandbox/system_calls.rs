//! seccomp: from the lists to filters in the kernel.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter, apply_filter_all_threads,
};

use super::calls::{self, Call, Check};

/// Lets the calling thread and those it starts make the worker's calls only; says how many.
pub fn restrict() -> Result<String, String> {
    for (calls, error) in calls::REFUSED {
        let refuse = SeccompAction::Errno(error.cast_unsigned());
        let filter = compile(calls, SeccompAction::Allow, refuse).map_err(|error| error.to_string())?;
        apply_filter(&filter).map_err(|error| error.to_string())?;
    }
    let allow = compile(calls::allowed(), SeccompAction::KillProcess, SeccompAction::Allow);
    apply_filter(&allow.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    Ok(format!("{} calls", calls::allowed().count()))
}

/// Ends the start for all threads of the process.
pub fn seal() -> Result<(), String> {
    let ended = calls::START_ONLY.iter().chain(calls::START_ONLY_WAYS);
    let filter = compile(ended, SeccompAction::Allow, SeccompAction::KillProcess);
    apply_filter_all_threads(&filter.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
}

/// A filter that does `found` on the calls named and `otherwise` on all others; a call of another architecture ends the process.
fn compile<'a>(
    calls: impl IntoIterator<Item = &'a Call>,
    otherwise: SeccompAction,
    found: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in calls {
        let ways = call
            .ways
            .iter()
            .map(|way| SeccompRule::new(way.iter().map(condition).collect::<Result<_, _>>()?));
        rules.insert(call.number, ways.collect::<Result<_, _>>()?);
    }
    SeccompFilter::new(rules, otherwise, found, std::env::consts::ARCH.try_into()?)?.try_into()
}

fn condition(check: &Check) -> Result<SeccompCondition, BackendError> {
    let (argument, operator, value) = match *check {
        Check::Is(argument, value) => (argument, SeccompCmpOp::Eq, value),
        Check::Not(argument, value) => (argument, SeccompCmpOp::Ne, value),
        Check::Below(argument, value) => (argument, SeccompCmpOp::Lt, value),
        Check::Bits(argument, mask, value) => (argument, SeccompCmpOp::MaskedEq(mask.into()), value),
        Check::OwnProcess(argument) => (argument, SeccompCmpOp::Eq, std::process::id()),
    };
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value.into())
}
