//! The status of the house as one value, shown as a page, as JSON and as lines of text.
//!
//! The application fills a [`Status`] from its rooms when somebody asks ([`Source`]); nothing here knows where it comes from.

mod answer;
mod html;
mod lines;
mod page;
mod when;

use serde::Serialize;

use crate::base::condition::Condition;
use crate::base::wall_time::UnixTime;
use crate::wire::supervision::BoxStatus;

pub use answer::answer;

/// Rows of each table; a page of more would be read by nobody. What is left out is counted.
pub const ROWS_MAX: usize = 500;

/// Where the status comes from.
pub trait Source: Send + Sync {
    /// How things are now. Asked for every page, so it must not wait.
    fn status(&self) -> Status;
}

/// Everything the owner may want to know. No secret has a place in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Status {
    pub version: String,
    /// The public name.
    pub name: Option<String>,
    /// The domain of the machines' names.
    pub base_domain: String,
    /// Where machines in the house join: `http://address:port`.
    pub join_url: Option<String>,
    /// Absent while the clock is not known.
    pub time: Option<UnixTime>,
    pub running_seconds: u64,
    /// Of the house's network, as far as known.
    pub addresses: Vec<String>,
    /// What PID 1 tells; absent where genkan is a program among others.
    #[serde(rename = "box")]
    pub machine: Option<BoxStatus>,
    /// What people are told, the worst first; PID 1's among them.
    pub conditions: Vec<Condition>,
    pub nodes: Vec<Node>,
    pub listeners: Vec<Listener>,
    pub certificates: Vec<Certificate>,
    pub update: Option<Update>,
}

/// A machine of the tailnet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Node {
    pub name: String,
    pub addresses: Vec<String>,
    pub online: bool,
    pub last_seen: Option<UnixTime>,
    pub state: State,
}

/// A port, and where what comes in there goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// As `443/tcp`.
    pub port: String,
    /// Host names of a site, or the name of a service.
    pub name: String,
    pub upstreams: Vec<String>,
    pub state: State,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Certificate {
    pub name: String,
    pub expires: Option<UnixTime>,
    /// Whole days until then.
    pub days_left: Option<i64>,
    pub next_try: Option<UnixTime>,
    pub state: State,
}

/// How far an update is, or how the last one ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Update {
    pub text: String,
    pub done: bool,
    pub failed: bool,
}

/// How something is, in a word or a sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct State {
    pub level: Level,
    pub text: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    #[default]
    Good,
    /// Neither good nor bad: away, or not asked for.
    Quiet,
    /// Becoming ready.
    Waiting,
    Bad,
}

impl State {
    pub fn new(level: Level, text: impl Into<String>) -> Self {
        Self { level, text: text.into() }
    }
}

impl Status {
    /// As one JSON object.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a status holds nothing that JSON cannot")
    }

    /// As a page.
    #[must_use]
    pub fn page(&self) -> String {
        page::render(self)
    }

    /// The rooms as lines of text, without conditions: what PID 1 writes into `STATUS.txt`. They change only when something happens, not
    /// with every second.
    #[must_use]
    pub fn summary(&self) -> Vec<String> {
        lines::render(self)
    }
}

#[cfg(test)]
mod tests;
