//! Administration of the tailnet: one method for each command.

use ipnet::IpNet;

use super::{Ledger, Refusal};
use crate::coordinator::core::admin_view::{
    KeyRequest, KeyView, NodeExpiry, NodeView, UserRequest, UserView,
};
use crate::coordinator::core::auth_key::KeyId;
use crate::wire::control::{NodeId, UserId};

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
