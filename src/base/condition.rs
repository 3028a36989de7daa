//! Something the owner should know about: one text for every place where it is shown.

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Part of becoming ready; goes by itself.
    Progress,
    /// Works, though not as wished.
    Warning,
    /// Does not work until somebody acts.
    Error,
}

/// One thing that holds now. Equal codes replace each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Stable name for searching, as `NET-01`: letters of the area, two digits.
    pub code: String,
    pub severity: Severity,
    /// What is so, in one sentence.
    pub what: String,
    /// Why, or since when; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What to do; may be empty when it goes by itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cure: String,
    /// Codes of conditions that explain this one: while one of them holds, this is not shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follows_from: Vec<String>,
}

impl Condition {
    #[must_use]
    pub fn new(code: &str, severity: Severity, what: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            severity,
            what: what.into(),
            why: String::new(),
            cure: String::new(),
            follows_from: Vec::new(),
        }
    }

    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    #[must_use]
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = cure.into();
        self
    }

    #[must_use]
    pub fn follows_from(mut self, codes: &[&str]) -> Self {
        self.follows_from = codes.iter().map(|code| (*code).to_owned()).collect();
        self
    }
}
