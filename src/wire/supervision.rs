//! What PID 1 and the worker say to each other: one JSON object a line over a socket pair, at most [`LINE_MAX`] bytes each.

use serde::{Deserialize, Serialize};

use crate::base::condition::Condition;

/// Longest line, in bytes; a longer one ends the conversation.
pub const LINE_MAX: usize = 256 * 1024;

/// Environment variable that names the worker's end, a descriptor number.
pub const DESCRIPTOR: &str = "GENKAN_INIT_FD";

/// The environment variable by which a worker takes its processor for one without AES instructions.
pub const NO_AES: &str = "GENKAN_NO_AES";

/// From the worker. PID 1 trusts none of it further than the type says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromWorker {
    /// Which loops have made a turn since the last beat; sent once a second.
    Beat(Beat),
    /// Every room is raised.
    Ready,
    /// All conditions that hold in the worker now.
    Conditions(Vec<Condition>),
    /// What is up now, by names that stay the same over restarts: connected nodes, and listeners as `443/tcp`. An update must
    /// bring it back. Sent when it changes, and once after [`Ready`](Self::Ready).
    Up { nodes: Vec<String>, listeners: Vec<String> },
    /// What the owner reads about the rooms, as lines of text: nodes, listeners, certificates.
    Summary(Vec<String>),
    /// The text of `JOIN.txt`.
    JoinSheet(String),
    /// The text of `API-KEY.txt`, a fresh key in it: the answer to [`FromInit::WantApiKey`].
    ApiKeySheet(String),
    /// An update lies in the state directory under this file name; it is not verified.
    Update { file: String },
    /// Reboot in good order.
    Reboot,
}

/// The loops without which the box is not an entrance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "one per loop")]
pub struct Beat {
    pub coordinator: bool,
    pub tunnel: bool,
    pub edge: bool,
    pub store: bool,
}

/// From PID 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromInit {
    /// Whether the system's clock shows a time that somebody vouched for.
    Clock { known: bool },
    /// The box itself, for the status page.
    Box(BoxStatus),
    /// The owner put an empty `API-KEY.txt` on the card.
    WantApiKey,
    /// How far an update is, or how it ended.
    Update { text: String, done: bool, failed: bool },
}

/// What PID 1 knows of the box.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BoxStatus {
    pub version: String,
    pub board: String,
    /// `a` or `b`.
    pub slot: String,
    /// Address with prefix length, per interface, as text.
    pub addresses: Vec<String>,
    pub link: bool,
    /// `unknown`, or where the time came from.
    pub clock: String,
    pub data: String,
    /// All conditions that PID 1 knows.
    pub conditions: Vec<Condition>,
}
