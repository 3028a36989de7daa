//! A problem in the configuration: what it is, where, why it matters and what to do.

use std::fmt;

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// Where in the configuration something stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Name of the file within the directory.
    pub file: Box<str>,
    /// From 1; 0 when the whole file is meant.
    pub line: u32,
    /// From 1, in characters; 0 when the whole file is meant.
    pub column: u32,
    /// The key that leads there, as `apps.http.servers.web.listen[0]`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub path: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable name of the kind of problem, in kebab case.
    pub code: &'static str,
    pub severity: Severity,
    #[serde(flatten)]
    pub place: Place,
    pub what: Box<str>,
    pub why: Box<str>,
    pub cure: Box<str>,
}

impl Place {
    /// A file as a whole.
    #[must_use]
    pub fn file(name: &str) -> Self {
        Self { file: name.into(), ..Self::default() }
    }
}

/// `file:line:column`, or the file alone.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

impl Problem {
    /// Something that keeps the configuration from being used, or from doing what it says.
    #[must_use]
    pub fn error(code: &'static str, what: impl Into<Box<str>>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            place: Place::default(),
            what: what.into(),
            why: Box::default(),
            cure: Box::default(),
        }
    }

    /// Something that works, though perhaps not as wished.
    #[must_use]
    pub fn warning(code: &'static str, what: impl Into<Box<str>>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, what) }
    }

    #[must_use]
    pub fn because(mut self, why: impl Into<Box<str>>) -> Self {
        self.why = why.into();
        self
    }

    #[must_use]
    pub fn cure(mut self, cure: impl Into<Box<str>>) -> Self {
        self.cure = cure.into();
        self
    }

    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// One line: place, code, what; then why and the cure when there are any.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.place, self.what, self.code)?;
        for more in [&self.why, &self.cure].into_iter().filter(|text| !text.is_empty()) {
            write!(f, " {more}")?;
        }
        Ok(())
    }
}
