//! Strict reading of a [`Document`]: every key must be known and of its kind, and all problems are told at once.

use super::document::{Document, Node, Value};
use super::problem::{Place, Problem};
use super::suggest;

/// Beyond this many, one mistake is being told again and again.
const PROBLEMS_MAX: usize = 100;

/// The keys a table may have.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    /// What the table is, for messages: "a layer4 server".
    pub of: &'static str,
    pub known: &'static [&'static str],
    /// Keys that the language has and genkan does not act on yet.
    pub planned: &'static [&'static str],
}

/// Reads one document and collects what is wrong with it.
pub struct Decoder<'d> {
    document: &'d Document,
    problems: Vec<Problem>,
}

/// A table whose keys have been checked.
#[derive(Clone, Copy)]
pub struct Table<'d> {
    node: &'d Node,
    takes_any_case: bool,
}

impl<'d> Decoder<'d> {
    #[must_use]
    pub fn new(document: &'d Document) -> Self {
        Self { document, problems: Vec::new() }
    }

    #[must_use]
    pub fn finish(self) -> Vec<Problem> {
        self.problems
    }

    /// Notes `problem` at the byte offset of a key or value.
    pub fn report(&mut self, at: usize, problem: Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            let place = self.document.place(at);
            self.report_at(place, problem);
        }
    }

    /// Notes `problem` at a place that was worked out before.
    pub fn report_at(&mut self, place: Place, problem: Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem.at(place));
        }
    }

    #[must_use]
    pub fn place(&self, node: &Node) -> Place {
        self.document.place(node.at)
    }

    /// The table `node`, after telling which of its keys are not among `keys`.
    pub fn table(&mut self, node: &'d Node, keys: &Keys) -> Option<Table<'d>> {
        let Value::Table(members) = &node.value else {
            self.wrong_kind(node, keys.of, "a table");
            return None;
        };
        let takes_any_case = self.document.takes_any_case();
        for member in members {
            let is = |known: &&str| same(&member.key, known, takes_any_case);
            if keys.planned.iter().any(is) {
                self.report(member.key_at, not_supported(&member.key, keys.of));
            } else if !keys.known.iter().any(is) {
                let all: Vec<&str> = keys.known.iter().chain(keys.planned).copied().collect();
                self.report(member.key_at, unknown_key(&member.key, keys.of, &all));
            }
        }
        Some(Table { node, takes_any_case })
    }

    /// The members of a table whose keys are names that the owner chose.
    pub fn named(&mut self, node: &'d Node, what: &str) -> Vec<(&'d str, usize, &'d Node)> {
        let Value::Table(members) = &node.value else {
            self.wrong_kind(node, what, "a table");
            return Vec::new();
        };
        members.iter().map(|member| (member.key.as_str(), member.key_at, &member.node)).collect()
    }

    pub fn list(&mut self, node: &'d Node, what: &str) -> &'d [Node] {
        let Value::List(items) = &node.value else {
            self.wrong_kind(node, what, "a list");
            return &[];
        };
        items
    }

    pub fn text(&mut self, node: &'d Node, what: &str) -> Option<&'d str> {
        let Value::Text(text) = &node.value else {
            self.wrong_kind(node, what, "a text in quotes");
            return None;
        };
        Some(text)
    }

    /// The texts of a list, each with the node it stands in.
    pub fn texts(&mut self, node: &'d Node, what: &str) -> Vec<(&'d str, &'d Node)> {
        let items = self.list(node, what);
        items.iter().filter_map(|item| Some((self.text(item, what)?, item))).collect()
    }

    pub fn boolean(&mut self, node: &'d Node, what: &str) -> Option<bool> {
        let Value::Boolean(value) = &node.value else {
            self.wrong_kind(node, what, "true or false");
            return None;
        };
        Some(*value)
    }

    /// The text of `key`, which must be one of `choices`; another one is told of and given all the same.
    pub fn choice(&mut self, table: Table<'d>, key: &str, choices: &[&str]) -> Option<&'d str> {
        let node = table.value(key)?;
        let text = self.text(node, key)?;
        if !choices.contains(&text) {
            let problem = Problem::error("bad-choice", format!("{key} cannot be \"{text}\""));
            self.report(node.at, problem.cure(suggest::cure(text, choices)));
        }
        Some(text)
    }

    /// A port from 1 to 65535.
    pub fn port(&mut self, node: &'d Node, what: &str) -> Option<u16> {
        self.number(node, what, 1..=u16::MAX, "bad-port")
    }

    /// A whole number within `range`; `code` names the problem of one beyond it.
    pub fn number(
        &mut self,
        node: &'d Node,
        what: &str,
        range: std::ops::RangeInclusive<u16>,
        code: &'static str,
    ) -> Option<u16> {
        let wanted = format!("a number from {} to {}", range.start(), range.end());
        let Value::Number(number) = &node.value else {
            self.wrong_kind(node, what, &wanted);
            return None;
        };
        let found = number.parse().ok().filter(|number| range.contains(number));
        if found.is_none() {
            let problem = Problem::error(code, format!("{what} must be {wanted}, not {number}"));
            self.report(node.at, problem.cure("Write such a number, without quotes."));
        }
        found
    }

    fn wrong_kind(&mut self, node: &Node, what: &str, wanted: &str) {
        let what = format!("{what} must be {wanted}, not {}", kind(&node.value));
        let cure = format!("Write {wanted} here, or leave the key out.");
        self.report(node.at, Problem::error("wrong-kind", what).cure(cure));
    }
}

impl<'d> Table<'d> {
    /// The value of `key`; `null` counts as absent.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&'d Node> {
        let Value::Table(members) = &self.node.value else { return None };
        let found = members.iter().rfind(|member| same(&member.key, key, self.takes_any_case))?;
        (found.node.value != Value::Null).then_some(&found.node)
    }
}

/// A key of the language that genkan does not act on yet.
#[must_use]
pub fn not_supported(key: &str, of: &str) -> Problem {
    Problem::error("not-supported", format!("\"{key}\" of {of} is not supported yet"))
        .because(
            "It is refused rather than ignored, so that nothing is open or closed otherwise than written.",
        )
        .cure("Leave it out.")
}

#[must_use]
pub fn unknown_key(key: &str, of: &str, known: &[&str]) -> Problem {
    Problem::error("unknown-key", format!("{of} has no key \"{key}\""))
        .because("An unknown key is refused, so that a typing mistake does not change what is open.")
        .cure(suggest::cure(key, known))
}

fn same(written: &str, known: &str, any_case: bool) -> bool {
    if any_case { written.eq_ignore_ascii_case(known) } else { written == known }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "true or false",
        Value::Number(_) => "a number",
        Value::Text(_) => "a text",
        Value::List(_) => "a list",
        Value::Table(_) => "a table",
        Value::Date => "a date",
    }
}
