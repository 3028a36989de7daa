//! What a boot leaves for the owner to read.

use crate::base::condition::{Condition, Severity};

use super::{ConfigFacts, Origin};

/// Problems named in one condition; the log has them all.
const PROBLEMS_SHOWN: usize = 20;

pub(super) fn mounts_failed(why: &str) -> Condition {
    Condition::new("BOX-04", Severity::Error, "A part of the system could not be set up.").because(why)
}

pub(super) fn no_card(why: &str) -> Condition {
    Condition::new("BOX-01", Severity::Error, "The card was not found: nothing is kept beyond a restart.")
        .because(why)
        .cure("Write the image to the card again, or try another card.")
}

pub(super) fn no_boot_partition(why: &str) -> Condition {
    Condition::new("BOX-05", Severity::Error, "The partition GENKAN of the card cannot be read.")
        .because(why)
        .cure("Check the drive GENKAN on a computer, or write the image to the card again.")
}

pub(super) fn data_repaired(what: &str) -> Condition {
    Condition::new("DATA-01", Severity::Warning, "The data partition was damaged and has been repaired.")
        .because(what)
        .cure("If this comes again without a power cut, replace the card.")
}

pub(super) fn data_recreated(why: &str) -> Condition {
    Condition::new(
        "DATA-02",
        Severity::Error,
        "The data partition was damaged beyond repair and begins anew.",
    )
    .because(why)
    .cure("Let every machine join again with a new key; replace the card if this comes again.")
}

pub(super) fn data_lost() -> Condition {
    Condition::new(
        "DATA-02",
        Severity::Error,
        "What the box knew of its machines was lost; it has kept its keys.",
    )
    .cure("Let every machine join again with a new key; replace the card if this comes again.")
}

pub(super) fn data_unusable(why: &str) -> Condition {
    Condition::new(
        "DATA-05",
        Severity::Error,
        "The data partition cannot be used: nothing is kept beyond a restart.",
    )
    .because(why)
    .cure("Replace the card; or put a file named RESET on the drive GENKAN to erase the data and begin anew.")
}

pub(super) fn data_not_created(why: &str) -> Condition {
    Condition::new(
        "DATA-06",
        Severity::Error,
        "No data partition could be made: nothing is kept beyond a restart.",
    )
    .because(why)
    .cure("Check that the card is not write-protected and has 2 GB or more, or replace it.")
}

pub(super) fn not_grown(why: &str) -> Condition {
    Condition::new("DATA-04", Severity::Warning, "The data partition does not use the whole card.")
        .because(why)
}

pub(super) fn identity_not_restored(why: &str) -> Condition {
    Condition::new(
        "DATA-07",
        Severity::Warning,
        "The copy of the box's keys could not be used: the box has new ones.",
    )
    .because(why)
    .cure("Let every machine join again with a new key.")
}

pub(super) fn reset_not_finished(why: &str) -> Condition {
    Condition::new(
        "DATA-08",
        Severity::Error,
        "The data was erased, but the file RESET could not be removed: the next start erases again.",
    )
    .because(why)
    .cure("Remove the file RESET from the drive GENKAN.")
}

pub(super) fn crashed(last: &str, count: usize) -> Condition {
    let more = if count > 1 { format!(" ({count} records)") } else { String::new() };
    Condition::new("BOX-02", Severity::Warning, format!("The box restarted after a crash: {last}{more}"))
        .cure("If it comes again, report it with the files in box/crash of the data partition.")
}

pub(super) fn config_condition(facts: &ConfigFacts) -> Option<Condition> {
    let what = match facts.origin {
        Origin::Owner if facts.errors.is_empty() => return None,
        Origin::Owner => "The configuration is used, but parts of it disagree.",
        Origin::LastGood => "The configuration has errors: the last good one runs.",
        Origin::Defaults => "The configuration has errors and there is no earlier one: the defaults run.",
    };
    let severity = if facts.origin == Origin::Owner { Severity::Warning } else { Severity::Error };
    let mut shown: Vec<&str> = facts.errors.iter().take(PROBLEMS_SHOWN).map(String::as_str).collect();
    let more = format!("and {} more", facts.errors.len().saturating_sub(PROBLEMS_SHOWN));
    if facts.errors.len() > PROBLEMS_SHOWN {
        shown.push(&more);
    }
    let condition = Condition::new("CFG-01", severity, what).because(shown.join("\n"));
    Some(condition.cure("Correct the files in the folder genkan of the drive GENKAN."))
}

pub(super) fn config_unreadable(why: &str) -> Condition {
    Condition::new("CFG-01", Severity::Error, "The configuration cannot be read: the defaults run.")
        .because(why)
        .cure("Check the folder genkan of the drive GENKAN.")
}
