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

/// One thing that holds now. Conditions with the same code about the same thing replace each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Stable name for searching, as `NET-01`: letters of the area, two digits.
    pub code: String,
    /// Which of several things it is about, as a host name; empty where there is only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    pub severity: Severity,
    /// What is so, in one sentence.
    pub what: String,
    /// Why, or since when; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What to do; may be empty when it goes by itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cure: String,
    /// What explains this one: while one of them holds, this is not shown. Each is a code, or a code and what it is about, as
    /// `JOIN-02/machine-a`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follows_from: Vec<String>,
}

impl Condition {
    #[must_use]
    pub fn new(code: &str, severity: Severity, what: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            about: String::new(),
            severity,
            what: what.into(),
            why: String::new(),
            cure: String::new(),
            follows_from: Vec::new(),
        }
    }

    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
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

    /// Whether `entry` of somebody's `follows_from` means this condition.
    #[must_use]
    pub fn is_named_by(&self, entry: &str) -> bool {
        match entry.split_once('/') {
            Some((code, about)) => code == self.code && about == self.about,
            None => entry == self.code,
        }
    }
}

/// What people are shown of `all` that holds: without what follows from another one, each once, the worst first, then by code. Of two
/// with the same code about the same thing the first is taken.
#[must_use]
pub fn shown(all: &[Condition]) -> Vec<Condition> {
    let is_explained = |one: &Condition| {
        one.follows_from.iter().any(|entry| all.iter().any(|other| other.is_named_by(entry)))
    };
    let mut shown: Vec<Condition> = all.iter().filter(|one| !is_explained(one)).cloned().collect();
    shown.sort_by(|a, b| (&a.code, &a.about).cmp(&(&b.code, &b.about)));
    shown.dedup_by(|later, first| later.code == first.code && later.about == first.about);
    shown.sort_by_key(|one| std::cmp::Reverse(one.severity));
    shown
}

/// A text as a sentence: a large first letter, unless the first word is the name of a file or of a place in one, and a full
/// stop where it ends without a sign.
#[must_use]
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let word = text.split_whitespace().next().unwrap_or_default().trim_end_matches(['.', ':', ',']);
    let is_name = word.contains(['.', ':', '/', '_']);
    let first =
        letters.next().map(|first| if is_name { first.to_string() } else { first.to_uppercase().collect() });
    let first = first.unwrap_or_default();
    let end = if text.is_empty() || text.ends_with(['.', '!', '?', ':', ')']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(code: &str, severity: Severity) -> Condition {
        Condition::new(code, severity, "x")
    }

    #[test]
    fn a_sentence_leaves_names_as_they_are() {
        assert_eq!(sentence("no link"), "No link.");
        assert_eq!(sentence("genkan.toml:2:1: a key too much"), "genkan.toml:2:1: a key too much.");
        assert_eq!(sentence("wait."), "Wait.");
        assert_eq!(sentence(""), "");
    }

    #[test]
    fn a_cause_hides_its_consequences_and_the_worst_comes_first() {
        let all = [
            condition("PUB-04", Severity::Warning),
            condition("PUB-02", Severity::Error).about("b").follows_from(&["NET-01"]),
            condition("PUB-02", Severity::Error).about("a"),
            condition("TUN-02", Severity::Error).follows_from(&["JOIN-02/machine-a"]),
            condition("JOIN-02", Severity::Warning).about("machine-b"),
            condition("PUB-02", Severity::Error).about("a").because("later"),
        ];
        let codes = |all: &[Condition]| -> Vec<String> {
            shown(all).iter().map(|one| format!("{}/{}", one.code, one.about)).collect()
        };
        assert_eq!(codes(&all), ["PUB-02/a", "PUB-02/b", "TUN-02/", "JOIN-02/machine-b", "PUB-04/"]);
        assert_eq!(shown(&all)[0].why, "");
        let mut all = all.to_vec();
        all.push(condition("NET-01", Severity::Error));
        all.push(condition("JOIN-02", Severity::Warning).about("machine-a"));
        assert_eq!(codes(&all), ["NET-01/", "PUB-02/a", "JOIN-02/machine-a", "JOIN-02/machine-b", "PUB-04/"]);
    }

    #[test]
    fn texts_of_different_authors_become_sentences() {
        for (text, expected) in
            [("no link", "No link."), ("No link.", "No link."), ("", ""), ("écoute!", "Écoute!")]
        {
            assert_eq!(sentence(text), expected);
        }
    }

    #[test]
    fn the_wire_form_leaves_out_what_is_empty() {
        let text = serde_json::to_string(&condition("NET-01", Severity::Progress)).expect("text");
        assert_eq!(text, r#"{"code":"NET-01","severity":"progress","what":"x"}"#);
        let back: Condition = serde_json::from_str(&text).expect("the same");
        assert_eq!(back, condition("NET-01", Severity::Progress));
    }
}
