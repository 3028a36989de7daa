//! Answers in the forms this server uses.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde::Serialize;

use super::Body;
use crate::coordinator::ledger::Refusal;

/// A sentence for the person who reads it, in a browser or as a client's error.
pub fn text(status: StatusCode, sentence: impl Into<String>) -> Response<Body> {
    let mut sentence = sentence.into();
    sentence.push('\n');
    with_type(status, "text/plain; charset=utf-8", sentence.into())
}

pub fn refusal(refusal: Refusal) -> Response<Body> {
    text(StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), refusal.text)
}

pub fn json(value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(body) => with_type(StatusCode::OK, "application/json", body.into()),
        Err(error) => {
            tracing::error!(%error, "answer does not encode");
            text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the answer could not be encoded; see the coordinator's log",
            )
        }
    }
}

pub fn empty(status: StatusCode) -> Response<Body> {
    with_body(status, Bytes::new())
}

/// `101 Switching Protocols` to `protocol`.
pub fn switch(protocol: &'static str) -> Response<Body> {
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(protocol));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response
}

/// Whether `headers` ask to leave HTTP for `protocol` (RFC 9110 section 7.8): tokens in lists, in any case.
pub fn asks_upgrade(headers: &HeaderMap, protocol: &str) -> bool {
    has_token(headers, &CONNECTION, "upgrade") && has_token(headers, &UPGRADE, protocol)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let texts = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn with_type(status: StatusCode, media_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = with_body(status, body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

fn with_body(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upgrade_tokens_are_found_in_lists_and_in_any_case() {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("Tailscale-Control-Protocol"));
        assert!(!asks_upgrade(&headers, "tailscale-control-protocol"));
        headers.append(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        assert!(asks_upgrade(&headers, "tailscale-control-protocol"));
        assert!(!asks_upgrade(&headers, "derp"));
    }
}
