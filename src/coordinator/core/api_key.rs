//! Keys of the administration interface: who shows one over the network may do everything.

use serde::{Deserialize, Serialize};

use crate::base::wall_time::{UnixTime, WallTime};

use super::digest::{self, Digest};

/// How long a key lives that the box makes by itself, in seconds: ninety days.
pub const CARD_KEY_LIFE: u64 = 90 * 24 * 3600;

/// How much later a use must be to be noted, in seconds: a script that asks every second is one use.
const NOTE_INTERVAL: i64 = 60;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Positive, for lists; that of a deleted key may be given again. Commands name a key by its prefix.
    pub id: u64,
    /// Unique. No secret.
    pub prefix: String,
    /// Of the secret's text.
    pub digest: Digest,
    /// `None`: never, but for a key of the card, which gets its end when the clock is known.
    pub expiration: Option<UnixTime>,
    /// Ended by hand, whatever the clock says.
    pub revoked: bool,
    pub created: Option<UnixTime>,
    /// Somebody showed it.
    pub used: bool,
    /// When somebody last did, to about a minute.
    pub last_seen: Option<UnixTime>,
    /// The box wrote it onto its card by itself, at its owner's wish.
    pub from_card: bool,
}

impl ApiKey {
    /// Whether `secret` is this key's. Takes the same time for every wrong one.
    #[must_use]
    pub fn matches(&self, secret: &str) -> bool {
        digest::matches(&self.digest, secret)
    }

    #[must_use]
    pub fn is_ended(&self, wall: WallTime) -> bool {
        self.revoked || self.expiration.is_some_and(|end| wall.is_past(end))
    }

    /// The key after a use at `wall`, when that is worth noting.
    #[must_use]
    pub fn noted(&self, wall: WallTime) -> Option<Self> {
        let last_seen = wall.known().or(self.last_seen);
        let is_later = match (self.last_seen, wall.known()) {
            (Some(before), Some(now)) => now.0.saturating_sub(before.0) >= NOTE_INTERVAL,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        (is_later || !self.used).then(|| Self { used: true, last_seen, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ApiKey {
        ApiKey {
            id: 1,
            prefix: "00".into(),
            digest: digest::of("secret"),
            expiration: Some(UnixTime(1000)),
            revoked: false,
            created: None,
            used: false,
            last_seen: None,
            from_card: false,
        }
    }

    fn at(time: i64) -> WallTime {
        WallTime::Known(UnixTime(time))
    }

    #[test]
    fn a_key_opens_by_its_secret_until_its_end() {
        assert!(key().matches("secret") && !key().matches("Secret") && !key().matches(""));
        assert!(!key().is_ended(at(999)) && key().is_ended(at(1000)) && !key().is_ended(WallTime::Unknown));
        assert!(ApiKey { revoked: true, ..key() }.is_ended(WallTime::Unknown));
    }

    #[test]
    fn the_first_use_is_noted_and_then_one_a_minute() {
        let first = key().noted(WallTime::Unknown).expect("the first use");
        assert_eq!((first.used, first.last_seen), (true, None));
        assert_eq!(first.noted(WallTime::Unknown), None);
        let dated = first.noted(at(100)).expect("the first with a date");
        assert_eq!(dated.last_seen, Some(UnixTime(100)));
        assert_eq!(dated.noted(at(159)), None);
        assert_eq!(dated.noted(at(50)), None, "the clock was set back");
        assert_eq!(dated.noted(at(160)).and_then(|key| key.last_seen), Some(UnixTime(160)));
    }
}
