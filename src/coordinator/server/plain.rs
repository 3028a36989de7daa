//! What is answered outside Noise.

use std::net::SocketAddr;

use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};

use super::request::{STRANGER_REQUEST_MAX, read_json};
use super::{Body, reply};
use crate::coordinator::ledger::Ledger;
use crate::coordinator::relay_server::RelayServer;
use crate::wire::key::{MachinePrivate, MachinePublic, NodePublic};

const RELAY_PROTOCOL: &str = "DERP";
const RELAY_VERSION: HeaderName = HeaderName::from_static("derp-version");
const RELAY_KEY: HeaderName = HeaderName::from_static("derp-public-key");

const CHALLENGE: HeaderName = HeaderName::from_static("x-tailscale-challenge");
const CHALLENGE_RESPONSE: HeaderName = HeaderName::from_static("x-tailscale-response");

/// Longest challenge echoed; clients send their own host name.
const CHALLENGE_MAX: usize = 63;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Keys {
    /// Of the protocol before Noise: the zero key says that it is not spoken.
    legacy_public_key: MachinePublic,
    public_key: MachinePublic,
}

/// `GET /key?v=<capability version>`.
pub fn key(query: Option<&str>, noise_key: &MachinePrivate) -> Response<Body> {
    let mut parameters = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    match parameters.find(|(name, _)| *name == "v").map(|(_, value)| value.parse::<u32>()) {
        Some(Ok(_)) => {
            reply::json(&Keys { legacy_public_key: MachinePublic::default(), public_key: noise_key.public() })
        }
        Some(Err(_)) | None => {
            reply::text(StatusCode::BAD_REQUEST, "the client's version is missing: /key?v=<number>")
        }
    }
}

pub fn health() -> Response<Body> {
    reply::json(&serde_json::json!({ "status": "pass" }))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AdmissionQuestion {
    node_public: NodePublic,
}

/// `POST /verify`: a DERP server elsewhere asks whether a node is one of this tailnet.
pub async fn verify(ledger: &Ledger, request: Request<Incoming>) -> Response<Body> {
    if request.method() != Method::POST {
        return reply::text(StatusCode::METHOD_NOT_ALLOWED, "only POST is understood here");
    }
    match read_json::<AdmissionQuestion>(request.into_body(), STRANGER_REQUEST_MAX).await {
        Ok(question) => reply::json(&serde_json::json!({ "Allow": ledger.admits(question.node_public) })),
        Err(refusal) => reply::refusal(refusal),
    }
}

/// Measured by clients and, because of its header, by browsers.
pub fn latency_check() -> Response<Body> {
    let mut response = reply::empty(StatusCode::OK);
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// A client behind a captive portal gets something else than this, or the wrong echo.
pub fn captive_portal_check(headers: &HeaderMap) -> Response<Body> {
    let mut response = reply::empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store"));
    if let Some(echo) = headers.get(CHALLENGE).and_then(challenge_response) {
        response.headers_mut().insert(CHALLENGE_RESPONSE, echo);
    }
    response
}

/// `GET /derp`: the connection becomes the relay's.
pub fn relay(relay: &RelayServer, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
    if !reply::asks_upgrade(request.headers(), RELAY_PROTOCOL) {
        return reply::text(
            StatusCode::UPGRADE_REQUIRED,
            "this is a DERP relay; it needs HTTP/1.1 with \"Upgrade: DERP\", which a proxy in between may have taken out",
        );
    }
    let mut response = reply::switch(RELAY_PROTOCOL);
    response.headers_mut().insert(RELAY_VERSION, HeaderValue::from_static("2"));
    if let Ok(key) = HeaderValue::try_from(hex::encode(relay.public_key().as_bytes())) {
        response.headers_mut().insert(RELAY_KEY, key);
    }
    let relay = relay.clone();
    tokio::spawn(async move {
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => relay.serve(TokioIo::new(upgraded), peer).await,
            Err(error) => tracing::debug!(%error, "relay client went away before the upgrade"),
        }
    });
    response
}

fn challenge_response(challenge: &HeaderValue) -> Option<HeaderValue> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
    let bytes = challenge.as_bytes();
    if bytes.is_empty() || bytes.len() > CHALLENGE_MAX || !bytes.iter().all(is_plain) {
        return None;
    }
    HeaderValue::from_bytes(&[b"response ", bytes].concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_given_to_those_who_say_their_version() {
        let noise_key = MachinePrivate::from_bytes([7; 32]);
        assert_eq!(key(Some("v=142"), &noise_key).status(), StatusCode::OK);
        for query in [None, Some(""), Some("v="), Some("v=x"), Some("w=142")] {
            assert_eq!(key(query, &noise_key).status(), StatusCode::BAD_REQUEST, "{query:?}");
        }
    }

    #[test]
    fn only_plain_challenges_are_echoed() {
        let echo = |text| challenge_response(&HeaderValue::from_static(text));
        assert_eq!(echo("ts_a-1.example"), Some(HeaderValue::from_static("response ts_a-1.example")));
        assert_eq!(echo("two words"), None);
        assert_eq!(echo(""), None);
        assert_eq!(echo("0123456789012345678901234567890123456789012345678901234567890123"), None);
    }
}
