//! `genkan check`: where the three files disagree, and what follows from them for the router, the DNS and the machines.
//!
//! [`run`] loads a directory and gives a [`Report`]: data for programs (JSON), rendered for people (`text`).

mod access;
mod dns;
mod forwards;
mod inside;
mod least_privilege;
mod listeners;
mod names;
mod rules;
mod text;

use std::path::Path;

use serde::Serialize;

use super::load::{Assembled, load_with_places};
use super::problem::{Place, Problem};
use super::seal::SECRETS_FOLDER;

pub use access::{Access, Reach};
pub use dns::DnsRecord;
pub use forwards::Forward;
pub use inside::Inside;
pub use least_privilege::LeastPrivilege;
pub use rules::Permission;

/// What a configuration comes to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub problems: Vec<Problem>,
    /// The router's port-forward table.
    pub forwards: Vec<Forward>,
    pub dns: Vec<DnsRecord>,
    /// What is reached from outside, by which way in.
    pub access: Vec<Access>,
    /// The policy's rules: who may reach what inside the tailnet.
    pub rules: Vec<Permission>,
    /// The policy that allows the routes and nothing else; `None` when some file could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least_privilege: Option<LeastPrivilege>,
    /// For the machines in the house, where the router has no hairpin NAT.
    pub inside: Vec<Inside>,
}

/// Exit status when nothing, or nothing but warnings, was found.
pub const EXIT_FINE: u8 = 0;
/// Exit status when there are errors.
pub const EXIT_PROBLEMS: u8 = 1;
/// Exit status when the command itself was called wrongly.
pub const EXIT_USAGE: u8 = 2;

/// Checks the configuration in `dir`.
#[must_use]
pub fn run(dir: &Path) -> Report {
    let (assembled, problems) = load_with_places(dir, &dir.join(SECRETS_FOLDER));
    let Some(assembled) = assembled else { return Report { problems, ..Report::default() } };
    Report {
        problems,
        forwards: forwards::derive(&assembled),
        dns: dns::derive(&assembled),
        access: access::derive(&assembled),
        rules: rules::derive(&assembled),
        least_privilege: Some(least_privilege::derive(&assembled)),
        inside: inside::derive(&assembled),
    }
}

/// Where the files disagree. They still make a model: what the policy forbids stays forbidden, whatever is routed.
pub fn disagreements(assembled: &Assembled) -> Vec<Problem> {
    let mut problems = listeners::conflicts(assembled);
    problems.extend(names::problems(assembled));
    // A rule that could not be read may be the one that allows.
    if !assembled.doubts.policy {
        problems.extend(access::problems(assembled));
    }
    problems
}

impl Report {
    /// [`EXIT_FINE`] or [`EXIT_PROBLEMS`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.problems.iter().any(Problem::is_error) { EXIT_PROBLEMS } else { EXIT_FINE }
    }

    /// For people; with ANSI colours when `colour`.
    #[must_use]
    pub fn text(&self, colour: bool) -> String {
        text::render(self, colour)
    }

    /// For programs: one JSON object, indented.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report holds nothing that JSON cannot")
    }
}

#[cfg(test)]
mod tests;
