//! Commands about pre-auth keys.

use crate::base::rng::SeededRng;
use crate::base::secret::Secret;
use crate::base::wall_time::WallTime;
use crate::coordinator::core::admin_view::{KeyRequest, KeyView};
use crate::coordinator::core::auth_key::{self, AuthKey, KeyId};
use crate::coordinator::core::change::{Issued, Mutation};
use crate::coordinator::core::refusal::Refusal;
use crate::coordinator::core::tailnet::Tailnet;
use crate::coordinator::core::user::FIRST_USER;
use crate::wire::control::UserId;

use super::Decision;

/// Keys are looked through at each attempt to join; a household has a handful.
pub(super) const KEYS_MAX: usize = 10_000;

impl Tailnet {
    /// The answer is the only place where the whole key is ever shown.
    ///
    /// # Errors
    /// 400 for a request that no node could join by, 404 for an unknown user or host.
    pub fn decide_create_key(
        &self,
        request: &KeyRequest,
        wall: WallTime,
        rng: &mut SeededRng,
    ) -> Result<Decision<KeyView>, Refusal> {
        let user = request.user.unwrap_or(FIRST_USER);
        self.user_or_refusal(user)?;
        check_tags(&request.acl_tags)?;
        self.check_host(request.host.as_deref())?;
        if request.expiration.is_some_and(|end| wall.is_past(end)) {
            return Err(Refusal::bad_request("the expiration is in the past"));
        }
        if self.view.keys.len() >= KEYS_MAX {
            return Err(Refusal::conflict("too many pre-auth keys: delete those that are not needed"));
        }
        let (text, key) = minted(KeyId(self.issued.key.0 + 1), user, request, wall, rng);
        let view = KeyView { key: text.expose().clone(), ..self.view.key_view(&key) };
        let issued = Mutation::Issued(Issued { key: key.id, ..self.issued });
        Ok((view, vec![issued, Mutation::Key(key)]))
    }

    /// # Errors
    /// 404 for an unknown key.
    pub fn decide_expire_key(&self, key: KeyId) -> Result<Decision<KeyView>, Refusal> {
        let ended = AuthKey { revoked: true, ..self.key_or_refusal(key)?.clone() };
        Ok((self.view.key_view(&ended), vec![Mutation::Key(ended)]))
    }

    /// Nodes that joined with it stay.
    ///
    /// # Errors
    /// 404 for an unknown key.
    pub fn decide_delete_key(&self, key: KeyId) -> Result<Decision<()>, Refusal> {
        self.key_or_refusal(key)?;
        Ok(((), vec![Mutation::KeyRemoved(key)]))
    }

    fn key_or_refusal(&self, key: KeyId) -> Result<&AuthKey, Refusal> {
        self.view.keys.get(&key).ok_or_else(|| {
            Refusal::not_found(format!(
                "there is no pre-auth key {key}; genkan preauthkeys list shows those that are"
            ))
        })
    }

    fn check_host(&self, host: Option<&str>) -> Result<(), Refusal> {
        let Some(host) = host else { return Ok(()) };
        if self.reservations.address(host).is_some() {
            return Ok(());
        }
        let known = self.reservations.host_names().join(", ");
        Err(Refusal::not_found(format!(
            "the policy's hosts give no single address for {host}; those that have one: {known}"
        )))
    }
}

/// A fresh key as `request` wants it, and its text.
pub(super) fn minted(
    id: KeyId,
    user: UserId,
    request: &KeyRequest,
    wall: WallTime,
    rng: &mut SeededRng,
) -> (Secret<String>, AuthKey) {
    let minted = auth_key::mint(rng);
    let key = AuthKey {
        id,
        prefix: minted.prefix,
        digest: minted.digest,
        user: Some(user),
        reusable: request.reusable,
        ephemeral: request.ephemeral,
        used: false,
        expiration: request.expiration,
        revoked: false,
        created: wall.known(),
        tags: request.acl_tags.clone(),
        host: request.host.clone(),
    };
    (minted.text, key)
}

/// Tags as policies write them: `tag:` and a name that begins with a letter.
pub(super) fn check_tags(tags: &[String]) -> Result<(), Refusal> {
    let is_tag = |tag: &String| {
        let name = tag.strip_prefix("tag:").unwrap_or_default();
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    match tags.iter().find(|tag| !is_tag(tag)) {
        None => Ok(()),
        Some(tag) => Err(Refusal::bad_request(format!(
            "{tag:?} is no tag: a tag is written tag:name, with letters, digits and hyphens"
        ))),
    }
}
