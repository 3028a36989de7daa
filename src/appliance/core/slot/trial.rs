//! What is remembered of an update from one boot to the next.

use serde::{Deserialize, Serialize};

use super::Slot;
use crate::appliance::core::health_watch::Health;

/// Longest memory, in bytes of JSON.
const LENGTH_MAX: usize = 256 * 1024;

/// One update, from the moment its slot is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Where it was written.
    pub slot: Slot,
    pub version: String,
    pub build: u64,
    /// How the box was before.
    #[serde(default)]
    pub health: Health,
    /// `None` until it is decided.
    #[serde(default)]
    pub outcome: Option<Outcome>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Confirmed,
    RolledBack { reason: String },
}

impl Trial {
    /// As JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text, numbers and booleans have a JSON form")
    }

    /// `None` for what is no memory: then nothing is remembered.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > LENGTH_MAX {
            return None;
        }
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_memory_survives_its_file() {
        let mut trial = Trial {
            slot: Slot::B,
            version: "1.2.3".into(),
            build: 9,
            health: Health::default(),
            outcome: None,
        };
        assert_eq!(Trial::decode(&trial.encode()), Some(trial.clone()));
        trial.outcome = Some(Outcome::RolledBack { reason: "no listener".into() });
        assert_eq!(Trial::decode(&trial.encode()), Some(trial));
    }

    proptest! {
        #[test]
        fn a_damaged_memory_is_none(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(Trial::decode(&bytes), None);
        }
    }
}
