//! Commands about keys of the administration interface.

use crate::base::rng::SeededRng;
use crate::base::secret::Secret;
use crate::base::wall_time::{UnixTime, WallTime};
use crate::coordinator::core::admin_view::ApiKeyRequest;
use crate::coordinator::core::api_key::{ApiKey, CARD_KEY_LIFE};
use crate::coordinator::core::change::Mutation;
use crate::coordinator::core::digest;
use crate::coordinator::core::refusal::Refusal;
use crate::coordinator::core::tailnet::Tailnet;
use crate::wire::api_key::{ApiKeyText, Pin};

use super::Decision;

/// Each person and script has one or two.
const API_KEYS_MAX: usize = 1000;

impl Tailnet {
    /// The answer is the only place where the whole key is ever shown; `pin` is this box's.
    ///
    /// # Errors
    /// 400 for an end in the past, 409 when there are too many.
    pub fn decide_create_api_key(
        &self,
        request: ApiKeyRequest,
        pin: Pin,
        wall: WallTime,
        rng: &mut SeededRng,
    ) -> Result<Decision<Secret<String>>, Refusal> {
        if request.expiration.is_some_and(|end| wall.is_past(end)) {
            return Err(Refusal::bad_request("the expiration is in the past"));
        }
        if self.view.api_keys.len() >= API_KEYS_MAX {
            return Err(Refusal::conflict("too many API keys: delete those that are not needed"));
        }
        let (text, key) = self.new_api_key(request.expiration, pin, wall, rng);
        Ok((text, vec![Mutation::ApiKey(key)]))
    }

    /// A key for the card, at the wish of who holds it. It takes the place of those made so before that nobody used: their
    /// texts may never have reached the card.
    pub fn decide_card_key(
        &self,
        pin: Pin,
        wall: WallTime,
        rng: &mut SeededRng,
    ) -> Decision<(Secret<String>, Option<UnixTime>)> {
        let end = card_key_end(wall);
        let (text, key) = self.new_api_key(end, pin, wall, rng);
        let unused = self.view.api_keys.values().filter(|key| key.from_card && !key.used);
        let mut mutations: Vec<_> = unused.map(|key| Mutation::ApiKeyRemoved(key.prefix.clone())).collect();
        mutations.push(Mutation::ApiKey(ApiKey { from_card: true, ..key }));
        ((text, end), mutations)
    }

    /// Gives keys that the box made without knowing the time their end.
    #[must_use]
    pub fn decide_card_key_ends(&self, wall: WallTime) -> Vec<Mutation> {
        let Some(end) = card_key_end(wall) else { return Vec::new() };
        let endless = self.view.api_keys.values().filter(|key| key.from_card && key.expiration.is_none());
        endless.map(|key| Mutation::ApiKey(ApiKey { expiration: Some(end), ..key.clone() })).collect()
    }

    /// # Errors
    /// 404 for an unknown key.
    pub fn decide_expire_api_key(&self, prefix: &str, wall: WallTime) -> Result<Decision<()>, Refusal> {
        let key = self.api_key_or_refusal(prefix)?;
        let expiration = match (key.expiration, wall.known()) {
            (Some(end), Some(now)) => Some(end.min(now)),
            (end, now) => now.or(end),
        };
        Ok(((), vec![Mutation::ApiKey(ApiKey { revoked: true, expiration, ..key.clone() })]))
    }

    /// # Errors
    /// 404 for an unknown key.
    pub fn decide_delete_api_key(&self, prefix: &str) -> Result<Decision<()>, Refusal> {
        let key = self.api_key_or_refusal(prefix)?;
        Ok(((), vec![Mutation::ApiKeyRemoved(key.prefix.clone())]))
    }

    /// Notes that the key was shown. Its first use is kept at once, later ones with the reports of nodes.
    #[must_use]
    pub fn decide_api_key_seen(&self, prefix: &str, wall: WallTime) -> Vec<Mutation> {
        let Some(key) = self.view.api_keys.get(prefix) else { return Vec::new() };
        let note = if key.used { Mutation::ApiKeySeen } else { Mutation::ApiKey };
        key.noted(wall).map(note).into_iter().collect()
    }

    fn new_api_key(
        &self,
        expiration: Option<UnixTime>,
        pin: Pin,
        wall: WallTime,
        rng: &mut SeededRng,
    ) -> (Secret<String>, ApiKey) {
        let text = ApiKeyText::mint(rng, pin);
        let highest = self.view.api_keys.values().map(|key| key.id).max().unwrap_or(0);
        let key = ApiKey {
            id: highest + 1,
            digest: digest::of(text.secret.expose()),
            expiration,
            revoked: false,
            created: wall.known(),
            used: false,
            last_seen: None,
            from_card: false,
            prefix: text.prefix.clone(),
        };
        (text.whole(), key)
    }

    fn api_key_or_refusal(&self, prefix: &str) -> Result<&ApiKey, Refusal> {
        self.view.api_keys.get(prefix).ok_or_else(|| {
            Refusal::not_found(format!(
                "there is no API key with prefix {prefix:?}; genkan apikeys list shows those that are"
            ))
        })
    }
}

fn card_key_end(wall: WallTime) -> Option<UnixTime> {
    wall.known().map(|now| now.saturating_add(std::time::Duration::from_secs(CARD_KEY_LIFE)))
}
