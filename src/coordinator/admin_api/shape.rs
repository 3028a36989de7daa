//! The ledger's values in the members of Headscale's JSON, and requests the other way.

use crate::coordinator::core::admin_view::{
    ApiKeyView, KeyRequest, KeyView, NodeExpiry, NodeView, UserRequest, UserView,
};
use crate::wire::admin::{ApiKey, CreatePreAuthKey, CreateUser, ExpireNode, Node, PreAuthKey, User};
use crate::wire::control::UserId;

impl From<UserView> for User {
    fn from(view: UserView) -> Self {
        let UserView { id, name, display_name, created_at } = view;
        Self { id: id.0, name, display_name, created_at, ..Self::default() }
    }
}

impl From<KeyView> for PreAuthKey {
    fn from(view: KeyView) -> Self {
        Self {
            user: view.user.map(User::from),
            id: view.id.0,
            key: view.key,
            reusable: view.reusable,
            ephemeral: view.ephemeral,
            used: view.used,
            expiration: view.expiration,
            created_at: view.created_at,
            acl_tags: view.acl_tags,
            host: view.host,
        }
    }
}

impl From<ApiKeyView> for ApiKey {
    fn from(view: ApiKeyView) -> Self {
        let ApiKeyView { id, prefix, expiration, created_at, last_seen } = view;
        Self { id, prefix, expiration, created_at, last_seen }
    }
}

impl From<NodeView> for Node {
    fn from(view: NodeView) -> Self {
        let is_served = |route: &&ipnet::IpNet| view.available_routes.contains(route);
        let subnet_routes = view.approved_routes.iter().filter(is_served).copied().collect();
        Self {
            id: view.id.0,
            machine_key: view.machine_key,
            node_key: view.node_key,
            disco_key: view.disco_key,
            ip_addresses: view.ip_addresses,
            name: view.name,
            user: view.user.into(),
            last_seen: view.last_seen,
            expiry: view.expiry,
            created_at: view.created_at,
            register_method: register_method(&view.register_method).to_owned(),
            given_name: view.given_name,
            online: view.online,
            approved_routes: view.approved_routes,
            available_routes: view.available_routes,
            subnet_routes,
            tags: view.tags,
            ephemeral: view.ephemeral,
            expired: view.expired,
            endpoints: view.endpoints,
            client_version: view.client_version,
        }
    }
}

impl From<CreateUser> for UserRequest {
    fn from(CreateUser { name, display_name }: CreateUser) -> Self {
        Self { name, display_name }
    }
}

impl From<CreatePreAuthKey> for KeyRequest {
    fn from(request: CreatePreAuthKey) -> Self {
        Self {
            user: request.user.map(|number| UserId(number.0)),
            reusable: request.reusable,
            ephemeral: request.ephemeral,
            expiration: request.expiration,
            acl_tags: request.acl_tags,
            host: request.host,
        }
    }
}

impl From<ExpireNode> for NodeExpiry {
    fn from(request: ExpireNode) -> Self {
        match request {
            ExpireNode { disable_expiry: true, .. } => Self::Never,
            ExpireNode { expiry: Some(time), .. } => Self::At(time),
            ExpireNode { expiry: None, .. } => Self::Now,
        }
    }
}

fn register_method(method: &str) -> &'static str {
    match method {
        "auth_key" => "REGISTER_METHOD_AUTH_KEY",
        _ => "REGISTER_METHOD_UNSPECIFIED",
    }
}
