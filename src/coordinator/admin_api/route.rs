//! From method and path to a command of the ledger.

use std::collections::BTreeMap;

use http::request::Parts;
use http::{Method, Request};
use hyper::body::Body;
use serde_json::json;

use super::AdminApi;
use super::answer::{Answer, BodyError, read, refusal, success};
use super::policy::stored_policy;
use crate::coordinator::core::admin_view::{ApiKeyRequest, NodeView, UserView};
use crate::coordinator::core::auth_key::KeyId;
use crate::coordinator::ledger::Refusal;
use crate::wire::admin::{
    ApiKey, ApiKeyAnswer, ApiKeysAnswer, ApproveRoutes, CreateApiKey, CreatePreAuthKey, CreateUser,
    ExpireApiKey, ExpireNode, ExpirePreAuthKey, Health, Node, NodeAnswer, NodesAnswer, Policy, PreAuthKey,
    PreAuthKeyAnswer, PreAuthKeysAnswer, SetTags, User, UserAnswer, UsersAnswer, decode_segment,
};
use crate::wire::control::{NodeId, UserId};

const PREFIX: &str = "/api/v1/";

/// The values of a query, decoded, by their names.
type Query = BTreeMap<String, String>;

/// Answers one request; every failure is an answer too.
pub async fn respond<B: Body<Error: Into<BodyError>>>(api: &AdminApi, request: Request<B>) -> Answer {
    route(api, request).await.unwrap_or_else(refusal)
}

async fn route<B: Body<Error: Into<BodyError>>>(
    api: &AdminApi,
    request: Request<B>,
) -> Result<Answer, Refusal> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().strip_prefix(PREFIX).ok_or_else(|| unknown(head.uri.path()))?;
    let segments: Option<Vec<String>> = path.split('/').map(decode_segment).collect();
    let segments = segments.ok_or_else(|| Refusal::bad_request("the path is not percent-encoded UTF-8"))?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let query = parse_query(head.uri.query().unwrap_or_default())?;
    let rest = &segments[1..];
    match segments[0] {
        "user" => users(api, &head.method, rest, &query, body).await,
        "preauthkey" => keys(api, &head.method, rest, &query, body).await,
        "node" => nodes(api, &head.method, rest, &query, body).await,
        "apikey" => api_keys(api, &head.method, rest, body).await,
        "update" => update(api, &head, rest, body).await,
        "policy" => policy(api, &head.method, rest, body).await,
        "health" if rest.is_empty() => {
            success(&Health { database_connectivity: stored_policy(&api.store).is_ok() })
        }
        _ => Err(unknown(head.uri.path())),
    }
}

async fn users<B: Body<Error: Into<BodyError>>>(
    api: &AdminApi,
    method: &Method,
    path: &[&str],
    query: &Query,
    body: B,
) -> Result<Answer, Refusal> {
    match (method, path) {
        (&Method::GET, []) => {
            let mut users = api.ledger.users();
            users.retain(|user| is_asked_for(user, query));
            success(&UsersAnswer { users: users.into_iter().map(User::from).collect() })
        }
        (&Method::POST, []) => {
            let request: CreateUser = read(body).await?;
            success(&UserAnswer { user: api.ledger.create_user(request.into()).await?.into() })
        }
        (&Method::POST, [id, "rename", name]) => {
            let user = api.ledger.rename_user(UserId(number(id)?), (*name).to_owned()).await?;
            success(&UserAnswer { user: user.into() })
        }
        (&Method::DELETE, [id]) => {
            api.ledger.delete_user(UserId(number(id)?)).await?;
            success(&json!({}))
        }
        _ => Err(unknown("that operation on users")),
    }
}

async fn keys<B: Body<Error: Into<BodyError>>>(
    api: &AdminApi,
    method: &Method,
    path: &[&str],
    query: &Query,
    body: B,
) -> Result<Answer, Refusal> {
    match (method, path) {
        (&Method::GET, []) => {
            let keys = api.ledger.keys().into_iter().map(PreAuthKey::from).collect();
            success(&PreAuthKeysAnswer { pre_auth_keys: keys })
        }
        (&Method::POST, []) => {
            let request: CreatePreAuthKey = read(body).await?;
            let key = api.ledger.create_key(request.into()).await?;
            success(&PreAuthKeyAnswer { pre_auth_key: key.into() })
        }
        (&Method::POST, ["expire"]) => {
            let request: ExpirePreAuthKey = read(body).await?;
            api.ledger.expire_key(KeyId(request.id)).await?;
            success(&json!({}))
        }
        (&Method::DELETE, []) => {
            let id = query.get("id").ok_or_else(|| Refusal::bad_request("which key? add ?id=NUMBER"))?;
            api.ledger.delete_key(KeyId(number(id)?)).await?;
            success(&json!({}))
        }
        _ => Err(unknown("that operation on pre-auth keys")),
    }
}

async fn api_keys<B: Body<Error: Into<BodyError>>>(
    api: &AdminApi,
    method: &Method,
    path: &[&str],
    body: B,
) -> Result<Answer, Refusal> {
    match (method, path) {
        (&Method::GET, []) => {
            let keys = api.ledger.api_keys().into_iter().map(ApiKey::from).collect();
            success(&ApiKeysAnswer { api_keys: keys })
        }
        (&Method::POST, []) => {
            let CreateApiKey { expiration } = read(body).await?;
            let key = api.ledger.create_api_key(ApiKeyRequest { expiration }, api.pin).await?;
            success(&ApiKeyAnswer { api_key: key.expose().clone() })
        }
        (&Method::POST, ["expire"]) => {
            let ExpireApiKey { prefix } = read(body).await?;
            api.ledger.expire_api_key(prefix).await?;
            success(&json!({}))
        }
        (&Method::DELETE, [prefix]) => {
            api.ledger.delete_api_key((*prefix).to_owned()).await?;
            success(&json!({}))
        }
        _ => Err(unknown("that operation on API keys")),
    }
}

async fn update<B: Body<Error: Into<BodyError>>>(
    api: &AdminApi,
    head: &Parts,
    path: &[&str],
    body: B,
) -> Result<Answer, Refusal> {
    match (&head.method, path) {
        (&Method::GET, []) => success(&api.updates.progress()?),
        (&Method::POST, []) => success(&api.updates.take(body).await?),
        _ => Err(unknown("that operation on updates")),
    }
}

async fn nodes<B: Body<Error: Into<BodyError>>>(
    api: &AdminApi,
    method: &Method,
    path: &[&str],
    query: &Query,
    body: B,
) -> Result<Answer, Refusal> {
    match (method, path) {
        (&Method::GET, []) => {
            let mut nodes = api.ledger.nodes();
            nodes.retain(|node| query.get("user").is_none_or(|user| node.user.name == *user));
            success(&NodesAnswer { nodes: nodes.into_iter().map(Node::from).collect() })
        }
        (&Method::GET, [id]) => {
            let id = NodeId(number(id)?);
            let node = api.ledger.nodes().into_iter().find(|node| node.id == id);
            let node = node.ok_or_else(|| Refusal::not_found(format!("there is no node {id}")))?;
            success(&NodeAnswer { node: node.into() })
        }
        (&Method::DELETE, [id]) => {
            api.ledger.delete_node(NodeId(number(id)?)).await?;
            success(&json!({}))
        }
        (&Method::POST, [id, change @ ..]) => {
            let node = change_node(api, NodeId(number(id)?), change, query, body).await?;
            success(&NodeAnswer { node: node.into() })
        }
        _ => Err(unknown("that operation on nodes")),
    }
}

async fn change_node<B: Body<Error: Into<BodyError>>>(
    api: &AdminApi,
    id: NodeId,
    change: &[&str],
    query: &Query,
    body: B,
) -> Result<NodeView, Refusal> {
    match change {
        ["expire"] => {
            let request = expire_request(query, read(body).await?)?;
            api.ledger.expire_node(id, request.into()).await
        }
        ["rename", name] => api.ledger.rename_node(id, (*name).to_owned()).await,
        ["tags"] => {
            let SetTags { tags } = read(body).await?;
            api.ledger.tag_node(id, tags).await
        }
        ["approve_routes"] => {
            let ApproveRoutes { routes } = read(body).await?;
            api.ledger.approve_routes(id, routes).await
        }
        _ => Err(unknown("that operation on nodes")),
    }
}

async fn policy<B: Body<Error: Into<BodyError>>>(
    api: &AdminApi,
    method: &Method,
    path: &[&str],
    body: B,
) -> Result<Answer, Refusal> {
    match (method, path) {
        (&Method::GET, []) => success(&Policy { policy: api.policy.text().await? }),
        (&Method::PUT, []) => {
            let request: Policy = read(body).await?;
            api.policy.replace(&request.policy).await?;
            success(&request)
        }
        (&Method::POST, ["check"]) => {
            let request: Policy = read(body).await?;
            api.policy.check(&request.policy)?;
            success(&json!({}))
        }
        _ => Err(unknown("that operation on the policy")),
    }
}

fn is_asked_for(user: &UserView, query: &Query) -> bool {
    query.get("name").is_none_or(|name| user.name == *name)
        && query.get("id").is_none_or(|id| user.id.to_string() == *id)
}

/// Headscale's own tools put the members into the query.
fn expire_request(query: &Query, mut request: ExpireNode) -> Result<ExpireNode, Refusal> {
    if let Some(time) = query.get("expiry") {
        let time =
            time.parse().map_err(|_| Refusal::bad_request(format!("\"{time}\" is not an RFC 3339 time")))?;
        request.expiry = Some(time);
    }
    request.disable_expiry |= query.get("disableExpiry").is_some_and(|value| value == "true");
    Ok(request)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|_| Refusal::bad_request(format!("\"{text}\" is not an identifier; it is a number")))
}

fn parse_query(query: &str) -> Result<Query, Refusal> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let decoded = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode_segment(name)?, decode_segment(value)?))
    });
    let query: Option<Query> = decoded.collect();
    query.ok_or_else(|| Refusal::bad_request("the query is not percent-encoded UTF-8"))
}

fn unknown(what: &str) -> Refusal {
    Refusal { status: 404, text: format!("there is no {what} in this interface") }
}
