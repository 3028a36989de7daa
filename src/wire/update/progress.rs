//! What `genkan slot-write` says to PID 1 on its standard output: one JSON object a line.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Signature and hashes of the file; nothing is written yet.
    Verify,
    /// The inactive slot is overwritten.
    Write,
    /// The slot is read again from the card and compared.
    Compare,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    Step {
        phase: Phase,
        /// 0 to 100 of this phase.
        percent: u8,
    },
    /// The slot holds this version, bit by bit as signed. The last line.
    Written { version: String, build: u64 },
    /// Why not, in one sentence. The last line.
    Failed { text: String },
}

impl Progress {
    /// With its line end.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut line = serde_json::to_string(self).expect("text and numbers have a JSON form");
        line.push('\n');
        line
    }

    /// `None` for what is not such a line.
    #[must_use]
    pub fn decode(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Step { phase: Phase::Verify, percent } => write!(f, "verifying the update, {percent} %"),
            Self::Step { phase: Phase::Write, percent } => write!(f, "writing the other slot, {percent} %"),
            Self::Step { phase: Phase::Compare, percent } => write!(f, "reading it again, {percent} %"),
            Self::Written { version, .. } => write!(f, "version {version} is written"),
            Self::Failed { text } => f.write_str(text),
        }
    }
}
