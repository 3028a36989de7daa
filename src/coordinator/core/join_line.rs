//! One host's line of `JOIN.txt`, as it is kept: its key's text until the key is used, for a text cannot be had again.

use serde::{Deserialize, Serialize};

use crate::base::secret::Secret;
use crate::base::wall_time::UnixTime;

use super::auth_key::KeyId;

/// How long a key on the sheet lives, in seconds: a week.
pub const JOIN_KEY_LIFE: u64 = 7 * 24 * 3600;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinLine {
    /// A host of the policy.
    pub host: String,
    /// The pre-auth key made for this line.
    pub key: KeyId,
    /// `None` once the key is used.
    #[serde(with = "secret_text")]
    pub text: Option<Secret<String>>,
    /// Set once the key is used.
    pub joined: Option<Joined>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// Absent when the clock was not known.
    pub at: Option<UnixTime>,
}

/// The one way a [`Secret`] of this room is written down: into the database.
mod secret_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Secret;

    #[allow(clippy::ref_option, reason = "the signature that serde calls")]
    pub fn serialize<S: Serializer>(text: &Option<Secret<String>>, to: S) -> Result<S::Ok, S::Error> {
        text.as_ref().map(Secret::expose).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret<String>>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Secret::new))
    }
}
