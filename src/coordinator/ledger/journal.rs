//! What a person wants to find in the log of a tailnet: who joined, who left, who may.

use crate::coordinator::core::change::Mutation;
use crate::coordinator::core::policy::Policy;
use crate::coordinator::core::tailnet::Tailnet;

/// Logs a stored mutation; `before` tells what it changed.
pub fn record(mutation: &Mutation, before: &Tailnet) {
    let before = before.view();
    match mutation {
        Mutation::Node(node) => match before.node(node.id) {
            None => tracing::info!(node = node.id.0, name = node.name, "a node joined"),
            Some(old) if node.expired && !old.expired => {
                tracing::info!(node = node.id.0, name = node.name, "a node's key ended");
            }
            Some(old) if old.name != node.name => {
                tracing::info!(node = node.id.0, name = node.name, before = old.name, "a node was renamed");
            }
            Some(_) => tracing::info!(node = node.id.0, name = node.name, "a node changed"),
        },
        Mutation::NodeRemoved(node) => tracing::info!(node = node.0, "a node was removed"),
        Mutation::Key(key) if !before.keys().contains_key(&key.id) => {
            tracing::info!(key = key.id.0, reusable = key.reusable, "a pre-auth key was made");
        }
        Mutation::Key(key) => tracing::debug!(key = key.id.0, "a pre-auth key changed"),
        Mutation::KeyRemoved(key) => tracing::info!(key = key.0, "a pre-auth key was removed"),
        Mutation::ApiKey(key) if !before.api_keys().contains_key(&key.prefix) => {
            tracing::info!(prefix = key.prefix, "an API key was made");
        }
        Mutation::ApiKey(key) if key.revoked => tracing::info!(prefix = key.prefix, "an API key was ended"),
        Mutation::ApiKey(key) | Mutation::ApiKeySeen(key) => {
            tracing::debug!(prefix = key.prefix, "an API key changed");
        }
        Mutation::ApiKeyRemoved(prefix) => tracing::info!(prefix, "an API key was removed"),
        Mutation::JoinLine(line) => {
            tracing::info!(host = line.host, joined = line.joined.is_some(), "a line of JOIN.txt changed");
        }
        Mutation::JoinLineRemoved(host) => tracing::info!(host, "a line of JOIN.txt was removed"),
        Mutation::User(user) => tracing::info!(user = user.id.0, "a user was stored"),
        Mutation::UserRemoved(user) => tracing::info!(user = user.0, "a user was removed"),
        Mutation::Observed(node) => tracing::debug!(node = node.id.0, "a node reported"),
        Mutation::Issued(_) | Mutation::Policy(_) | Mutation::Relay(_) => {}
    }
}

/// Logs who moves so that the hosts of `policy` have their addresses to themselves.
pub fn record_moves(mutations: &[Mutation], before: &Tailnet, policy: &Policy) {
    for mutation in mutations {
        let Mutation::Node(after) = mutation else { continue };
        let Some(old) = before.view().node(after.id).filter(|old| old.ipv4 != after.ipv4) else { continue };
        if let Some(host) = policy.reserved_name(after.ipv4.into()) {
            tracing::info!(
                node = old.id.0,
                name = old.name,
                host,
                "the node of a host follows it to its new address"
            );
        } else if let Some(host) = policy.reserved_name(old.ipv4.into()) {
            tracing::warn!(
                node = old.id.0,
                name = old.name,
                host,
                "a node has the address that the policy sets aside for a host, and gets another: correct what uses its old \
                 address; if this machine is the host, join it again with: genkan preauthkeys create --host HOST"
            );
        }
    }
}
