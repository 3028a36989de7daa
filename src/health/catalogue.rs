//! Every code that the worker raises. The table in this room's README is held to this list by a test.

use std::time::Duration;

use crate::base::condition::{Condition, Severity};
use crate::base::condition_board::Timing;

/// A kind of condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// `AREA-NN`; never used for anything else later.
    pub code: &'static str,
    pub severity: Severity,
    /// How long it must hold before it is shown, in seconds.
    pub patience: u64,
    /// After how many seconds it is believed no longer, unless it is set again; 0 holds until cleared.
    pub lapse: u64,
    /// Codes that explain it whatever it is about.
    pub follows_from: &'static [&'static str],
    /// For the catalogue.
    pub meaning: &'static str,
}

/// The box's own codes for a network that is not there; what needs it follows from them.
const NO_NETWORK: [&str; 4] = ["NET-01", "NET-02", "NET-03", "NET-04"];

const fn kind(code: &'static str, severity: Severity, meaning: &'static str) -> Kind {
    Kind { code, severity, patience: 0, lapse: 0, follows_from: &[], meaning }
}

pub const NOT_LISTENING: Kind = kind(
    "PUB-01",
    Severity::Error,
    "A port could not be opened: another program has it, or it is forbidden.",
);
pub const NO_CERTIFICATE: Kind = Kind {
    follows_from: &[NO_CLOCK.code, NO_NETWORK[0], NO_NETWORK[1], NO_NETWORK[2], NO_NETWORK[3]],
    ..kind("PUB-02", Severity::Error, "A certificate could not be had; says why, and when it is tried again.")
};
pub const CERTIFICATE_ENDS: Kind = Kind {
    follows_from: &[NO_CLOCK.code, NO_NETWORK[0], NO_NETWORK[1], NO_NETWORK[2], NO_NETWORK[3]],
    ..kind("PUB-03", Severity::Warning, "A certificate could not be renewed and is over soon.")
};
pub const NO_NAME: Kind = kind(
    "PUB-04",
    Severity::Warning,
    "The entrance has no public name: machines outside the house cannot join.",
);
pub const ORDERING: Kind =
    Kind { patience: 5, ..kind("PUB-05", Severity::Progress, "A certificate is being ordered.") };
pub const TUNNEL_DOWN: Kind =
    kind("TUN-01", Severity::Error, "The tunnel does not run: no machine of the tailnet is reached.");
/// A dial that failed is news for ten minutes: nobody dials an upstream that nobody asks for.
pub const UPSTREAM_SILENT: Kind = Kind {
    patience: 3,
    lapse: 600,
    follows_from: &[TUNNEL_DOWN.code, NO_NETWORK[0], NO_NETWORK[1], NO_NETWORK[2]],
    ..kind(
        "TUN-02",
        Severity::Warning,
        "A service did not answer when it was last asked for; says since when.",
    )
};
pub const NOBODY_JOINED: Kind = kind("JOIN-01", Severity::Progress, "No machine has joined the tailnet yet.");
pub const NODE_OFFLINE: Kind = Kind {
    patience: 5,
    follows_from: &[NO_NETWORK[0], NO_NETWORK[1], NO_NETWORK[2]],
    ..kind("JOIN-02", Severity::Warning, "A machine that services lead to is not connected; says since when.")
};
pub const NODE_EXPIRED: Kind = kind(
    "JOIN-03",
    Severity::Warning,
    "The key of a machine that services lead to is over: it must join again.",
);
pub const NODE_MISSING: Kind = Kind {
    follows_from: &[NOBODY_JOINED.code],
    ..kind("JOIN-04", Severity::Warning, "Services lead to an address of the tailnet that no machine has.")
};
pub const NO_CLOCK: Kind = Kind {
    patience: 5,
    follows_from: &["TIME-01", "TIME-02", "TIME-03"],
    ..kind(
        "TIME-10",
        Severity::Progress,
        "The time is not known: no certificate is ordered, nothing expires.",
    )
};
pub const DATABASE_LOST: Kind = kind(
    "DATA-10",
    Severity::Error,
    "The database was damaged: it is set aside and a new one begun, with the same keys.",
);
pub const NOT_APPLIED: Kind = kind(
    "CFG-10",
    Severity::Error,
    "The files were changed and not applied: what was in force before goes on.",
);
pub const NEXT_START: Kind =
    kind("CFG-11", Severity::Progress, "Some changes of genkan.toml wait for the next start.");

/// All of them, by area.
pub const ALL: [Kind; 15] = [
    NOT_LISTENING,
    NO_CERTIFICATE,
    CERTIFICATE_ENDS,
    NO_NAME,
    ORDERING,
    TUNNEL_DOWN,
    UPSTREAM_SILENT,
    NOBODY_JOINED,
    NODE_OFFLINE,
    NODE_EXPIRED,
    NODE_MISSING,
    NO_CLOCK,
    DATABASE_LOST,
    NOT_APPLIED,
    NEXT_START,
];

impl Kind {
    /// A condition of this kind.
    #[must_use]
    pub fn condition(&self, what: impl Into<String>) -> Condition {
        Condition::new(self.code, self.severity, what).follows_from(self.follows_from)
    }

    const fn timing(&self) -> Timing {
        let lapse = if self.lapse == 0 { None } else { Some(Duration::from_secs(self.lapse)) };
        Timing { patience: Duration::from_secs(self.patience), lapse }
    }
}

/// How the conditions of a code are timed; one that is not in the catalogue is shown at once and stays.
#[must_use]
pub fn timing(code: &str) -> Timing {
    ALL.iter().find(|kind| kind.code == code).map(Kind::timing).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn the_readme_has_this_catalogue() {
        let mut table =
            String::from("| code | severity | what it means | shown after |\n|---|---|---|---|\n");
        for kind in ALL {
            let severity = format!("{:?}", kind.severity).to_lowercase();
            let Kind { code, meaning, patience, .. } = kind;
            writeln!(table, "| {code} | {severity} | {meaning} | {patience} s |").expect("a string");
        }
        assert!(include_str!("README.md").contains(&table), "the README should say:\n{table}");
    }

    #[test]
    fn codes_are_unique_well_formed_and_explain_each_other_without_circles() {
        for (index, kind) in ALL.iter().enumerate() {
            let (area, number) = kind.code.split_once('-').expect("AREA-NN");
            assert!(area.bytes().all(|byte| byte.is_ascii_uppercase()), "{}", kind.code);
            assert!(number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit()), "{}", kind.code);
            assert!(ALL.iter().skip(index + 1).all(|other| other.code != kind.code), "{} twice", kind.code);
            for cause in kind.follows_from {
                let cause = ALL.iter().find(|other| other.code == *cause);
                let back = cause.is_some_and(|cause| cause.follows_from.contains(&kind.code));
                assert!(!back, "{} explains itself", kind.code);
            }
        }
    }
}
