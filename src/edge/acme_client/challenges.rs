//! HTTP-01 challenges under way (RFC 8555 section 8.3): what the authority will ask on port 80, and the answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where the authority asks.
const PREFIX: &str = "/.well-known/acme-challenge/";

/// Token to key authorization; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Challenges(Arc<Mutex<HashMap<String, String>>>);

/// A challenge that is answered until this is dropped.
#[derive(Debug)]
pub struct Offered {
    challenges: Challenges,
    token: String,
}

impl Challenges {
    /// Answers requests for `token` with `proof` from now on.
    #[must_use]
    pub fn offer(&self, token: &str, proof: &str) -> Offered {
        self.locked().insert(token.to_owned(), proof.to_owned());
        Offered { challenges: self.clone(), token: token.to_owned() }
    }

    /// The answer to a request for `path`, if it is for a challenge under way.
    #[must_use]
    pub fn answer(&self, path: &str) -> Option<String> {
        self.locked().get(path.strip_prefix(PREFIX)?).cloned()
    }

    /// The map is right after every statement, so a panic elsewhere does not spoil it.
    fn locked(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        self.challenges.locked().remove(&self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_answered_while_it_is_offered() {
        let challenges = Challenges::default();
        let offered = challenges.offer("token", "token.thumbprint");
        assert_eq!(
            challenges.answer("/.well-known/acme-challenge/token").as_deref(),
            Some("token.thumbprint")
        );
        assert_eq!(challenges.answer("/.well-known/acme-challenge/other"), None);
        assert_eq!(challenges.answer("/token"), None);
        drop(offered);
        assert_eq!(challenges.answer("/.well-known/acme-challenge/token"), None);
    }
}
