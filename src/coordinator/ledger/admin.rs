//! Administration of the tailnet: one method for each command.

use ipnet::IpNet;

use super::{Ledger, Refusal};
use crate::base::secret::Secret;
use crate::base::wall_time::UnixTime;
use crate::coordinator::core::admin_view::{
    ApiKeyRequest, ApiKeyView, KeyRequest, KeyView, NodeExpiry, NodeView, UserRequest, UserView,
};
use crate::coordinator::core::auth_key::KeyId;
use crate::wire::api_key::{ApiKeyText, Pin};
use crate::wire::control::{NodeId, UserId};

const UNKNOWN_KEY: &str = "this API key is not known here: it was deleted or mistyped; make another on the box (genkan apikeys create), or by an empty file genkan/API-KEY.txt on its card";
const ENDED_KEY: &str = "this API key has ended; make another on the box (genkan apikeys create), or by an empty file genkan/API-KEY.txt on its card";

/// A command that answers `Ok` is durable, and viewers are on their way to know; a refusal's text says what to do instead.
impl Ledger {
    pub async fn create_user(&self, request: UserRequest) -> Result<UserView, Refusal> {
        self.execute(move |turn| turn.tailnet.decide_create_user(&request, turn.wall)).await
    }

    #[must_use]
    pub fn users(&self) -> Vec<UserView> {
        self.snapshot().user_views()
    }

    pub async fn rename_user(&self, user: UserId, name: String) -> Result<UserView, Refusal> {
        self.execute(move |turn| turn.tailnet.decide_rename_user(user, &name)).await
    }

    /// Only a user without nodes can be deleted; the user's keys go too.
    pub async fn delete_user(&self, user: UserId) -> Result<(), Refusal> {
        self.execute(move |turn| turn.tailnet.decide_delete_user(user)).await
    }

    /// The answer is the only one that holds the whole key.
    pub async fn create_key(&self, request: KeyRequest) -> Result<KeyView, Refusal> {
        self.execute(move |turn| turn.tailnet.decide_create_key(&request, turn.wall, turn.rng)).await
    }

    #[must_use]
    pub fn keys(&self) -> Vec<KeyView> {
        self.snapshot().key_views()
    }

    pub async fn expire_key(&self, key: KeyId) -> Result<KeyView, Refusal> {
        self.execute(move |turn| turn.tailnet.decide_expire_key(key)).await
    }

    /// Nodes that joined with it stay.
    pub async fn delete_key(&self, key: KeyId) -> Result<(), Refusal> {
        self.execute(move |turn| turn.tailnet.decide_delete_key(key)).await
    }

    /// The answer is the only one that holds the key; `pin` is what clients know this box by.
    pub async fn create_api_key(&self, request: ApiKeyRequest, pin: Pin) -> Result<Secret<String>, Refusal> {
        self.execute(move |turn| turn.tailnet.decide_create_api_key(request, pin, turn.wall, turn.rng)).await
    }

    /// For the card: the key's text, and its end when the clock is known.
    pub async fn create_card_key(&self, pin: Pin) -> Result<(Secret<String>, Option<UnixTime>), Refusal> {
        self.execute(move |turn| Ok(turn.tailnet.decide_card_key(pin, turn.wall, turn.rng))).await
    }

    #[must_use]
    pub fn api_keys(&self) -> Vec<ApiKeyView> {
        self.snapshot().api_key_views()
    }

    pub async fn expire_api_key(&self, prefix: String) -> Result<(), Refusal> {
        self.execute(move |turn| turn.tailnet.decide_expire_api_key(&prefix, turn.wall)).await
    }

    pub async fn delete_api_key(&self, prefix: String) -> Result<(), Refusal> {
        self.execute(move |turn| turn.tailnet.decide_delete_api_key(&prefix)).await
    }

    /// Whether `text` is a key of this box that has not ended; its use is noted.
    pub async fn authenticate(&self, text: &str) -> Result<(), Refusal> {
        let (wall, snapshot) = (self.wall_time(), self.snapshot());
        let shown = ApiKeyText::parse(text).map_err(|error| Refusal::unauthorized(error.to_string()))?;
        let key = snapshot.api_keys().get(&shown.prefix).filter(|key| key.matches(shown.secret.expose()));
        let key = key.ok_or_else(|| Refusal::unauthorized(UNKNOWN_KEY))?;
        if key.is_ended(wall) {
            return Err(Refusal::unauthorized(ENDED_KEY));
        }
        if key.noted(wall).is_some() {
            let note = move |turn: &mut super::Turn<'_>| {
                Ok(((), turn.tailnet.decide_api_key_seen(&shown.prefix, turn.wall)))
            };
            // Who has the key may work also while the note cannot be stored.
            let _ = self.execute(note).await;
        }
        Ok(())
    }

    #[must_use]
    pub fn nodes(&self) -> Vec<NodeView> {
        self.snapshot().node_views()
    }

    pub async fn delete_node(&self, node: NodeId) -> Result<(), Refusal> {
        self.execute(move |turn| turn.tailnet.decide_delete_node(node)).await
    }

    pub async fn expire_node(&self, node: NodeId, expiry: NodeExpiry) -> Result<NodeView, Refusal> {
        self.execute(move |turn| turn.tailnet.decide_expire_node(node, expiry, turn.wall)).await
    }

    pub async fn rename_node(&self, node: NodeId, name: String) -> Result<NodeView, Refusal> {
        self.execute(move |turn| turn.tailnet.decide_rename_node(node, &name)).await
    }

    pub async fn tag_node(&self, node: NodeId, tags: Vec<String>) -> Result<NodeView, Refusal> {
        self.execute(move |turn| turn.tailnet.decide_tag_node(node, tags)).await
    }

    pub async fn approve_routes(&self, node: NodeId, routes: Vec<IpNet>) -> Result<NodeView, Refusal> {
        self.execute(move |turn| turn.tailnet.decide_approve_routes(node, &routes)).await
    }
}
