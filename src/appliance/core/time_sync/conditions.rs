//! What the owner is told about the clock.

use std::time::{Duration, Instant};

use super::TimeSync;
use crate::base::condition::{Condition, Severity};

/// Servers that can be reached answer within this time of the start.
const PATIENCE: Duration = Duration::from_mins(1);

/// Codes of the network's troubles that leave the clock unknown.
const CAUSES: [&str; 4] = ["NET-01", "NET-02", "NET-03", "NET-04"];

impl TimeSync {
    /// All that hold now, TIME-01 to TIME-03.
    #[must_use]
    pub fn conditions(&self, now: Instant) -> Vec<Condition> {
        let mut found = Vec::new();
        if self.source.is_none() {
            found.push(unknown(now.saturating_duration_since(self.started)));
        }
        if self.is_disputed {
            found.push(
                Condition::new("TIME-02", Severity::Warning, "The time servers contradict each other.")
                    .because("No two of them agree on the time, so none is believed.")
                    .cure("It goes by itself when more servers answer. If it stays, name others: servers = [\"...\"] in [time] of genkan.toml."),
            );
        }
        if self.is_early {
            found.push(
                Condition::new("TIME-03", Severity::Warning, "A time server shows a time that has been already.")
                    .because("The box knows a later one: from its program, its certificates or its last start.")
                    .cure("If the router is a time server, set its clock. If the box itself was once set to a wrong year, put a file called RESET on the card."),
            );
        }
        found
    }
}

fn unknown(waiting: Duration) -> Condition {
    if waiting < PATIENCE {
        let condition = Condition::new("TIME-01", Severity::Progress, "The time is being asked for.");
        return condition.follows_from(&CAUSES);
    }
    Condition::new("TIME-01", Severity::Error, "The box does not know what time it is.")
        .because("No time server has answered; until one does, no certificate can be ordered and nothing expires.")
        .cure("Look whether the internet works in the house, and whether the router lets UDP port 123 out. A time server of the house can be named: servers = [\"192.168.1.1\"] in [time] of genkan.toml.")
        .follows_from(&CAUSES)
}
