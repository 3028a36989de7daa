//! The people that nodes belong to, and the one pseudo-user of all tagged nodes.

use serde::{Deserialize, Serialize};

use crate::base::wall_time::UnixTime;
use crate::wire::control::{UserId, UserProfile};

/// The user that exists from the start, so that a household never has to make one.
pub const FIRST_USER: UserId = UserId(1);
pub const FIRST_USER_NAME: &str = "owner";

/// Shown as the owner of tagged nodes, which belong to nobody (the number Headscale uses).
pub const TAGGED_DEVICES: UserId = UserId(2_147_455_555);
pub const TAGGED_DEVICES_NAME: &str = "tagged-devices";

/// Longest login name; an e-mail address is at most 254 bytes (RFC 5321, section 4.5.3.1.3).
const NAME_MAX: usize = 254;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    pub id: UserId,
    pub name: String,
    pub display_name: String,
    /// Absent when the clock was not known.
    pub created: Option<UnixTime>,
}

impl UserRecord {
    #[must_use]
    pub fn first() -> Self {
        Self { id: FIRST_USER, name: FIRST_USER_NAME.into(), display_name: String::new(), created: None }
    }

    #[must_use]
    pub fn tagged_devices() -> Self {
        Self {
            id: TAGGED_DEVICES,
            name: TAGGED_DEVICES_NAME.into(),
            display_name: "Tagged Devices".into(),
            created: None,
        }
    }

    /// As clients and policies write it: an e-mail as it is, a plain name with `@`. Never empty.
    #[must_use]
    pub fn login_name(&self) -> String {
        if self.name.contains('@') || self.id == TAGGED_DEVICES {
            self.name.clone()
        } else {
            format!("{}@", self.name)
        }
    }

    #[must_use]
    pub fn shown_name(&self) -> &str {
        if self.display_name.is_empty() { &self.name } else { &self.display_name }
    }

    #[must_use]
    pub fn profile(&self) -> UserProfile {
        UserProfile { id: self.id, login_name: self.login_name(), display_name: self.shown_name().to_owned() }
    }
}

/// Login names that a policy and every client can write: letters, digits and `._+-@`.
#[must_use]
pub fn is_valid_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_alphanumeric() || "._+-@".contains(c);
    (1..=NAME_MAX).contains(&name.len()) && name.chars().all(is_allowed) && !name.starts_with('@')
}

/// Text that clients can decode without unescaping: no quotes, backslashes or control characters.
#[must_use]
pub fn is_plain_text(text: &str) -> bool {
    text.len() <= NAME_MAX && !text.chars().any(|c| c.is_control() || matches!(c, '"' | '\\'))
}

/// Whether two login names mean the same user: case and an empty part after `@` do not matter.
#[must_use]
pub fn is_same_name(a: &str, b: &str) -> bool {
    let plain = |name: &str| name.strip_suffix('@').unwrap_or(name).to_lowercase();
    plain(a) == plain(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_names_are_never_empty_and_read_like_policies_write_them() {
        assert_eq!(UserRecord::first().login_name(), "owner@");
        let email = UserRecord { name: "a@example.com".into(), ..UserRecord::first() };
        assert_eq!(email.login_name(), "a@example.com");
        assert_eq!(UserRecord::tagged_devices().profile().login_name, "tagged-devices");
        assert!(is_same_name("Owner@", "owner") && !is_same_name("owner", "owner2"));
    }

    #[test]
    fn names_that_would_need_quoting_are_refused() {
        for name in ["", "a b", "a\"b", "@", "a\\b", "a\nb", &"a".repeat(255)] {
            assert!(!is_valid_name(name), "{name:?}");
        }
        assert!(is_valid_name("a.b+c@example.com") && is_valid_name("太郎"));
    }
}
