//! Requests' bodies and responses.

use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::coordinator::ledger::Refusal;
use crate::wire::admin::ErrorBody;

/// Longest body of a request, in bytes: a policy far longer than a person would write.
const MAX_BODY: usize = 1 << 20;

/// For the body of a request to come whole.
const BODY_DEADLINE: Duration = Duration::from_secs(20);

pub type Answer = Response<Full<Bytes>>;

/// The body as JSON; an empty one is an empty object, since many commands have nothing to add to their path.
pub async fn read<T: DeserializeOwned>(body: impl Body<Error: Into<BodyError>>) -> Result<T, Refusal> {
    let body = tokio::time::timeout(BODY_DEADLINE, Limited::new(body, MAX_BODY).collect()).await;
    let body = body.map_err(|_| Refusal { status: 408, text: "the request's body did not come".into() })?;
    let body = body.map_err(|error| Refusal::bad_request(format!("the request's body: {error}")))?;
    let mut bytes = body.aggregate();
    let bytes = bytes.copy_to_bytes(bytes.remaining());
    let json = if bytes.is_empty() { b"{}".as_slice() } else { &bytes };
    serde_json::from_slice(json).map_err(|error| Refusal::bad_request(format!("the request's JSON: {error}")))
}

/// What `Limited` asks of a body's error.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

pub fn success(value: &impl Serialize) -> Result<Answer, Refusal> {
    let json = serde_json::to_vec(value)
        .map_err(|error| Refusal { status: 500, text: format!("the answer cannot be written: {error}") })?;
    Ok(response(StatusCode::OK, json))
}

pub fn refusal(refusal: Refusal) -> Answer {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let error = ErrorBody { code: grpc_code(status), message: refusal.text, details: Vec::new() };
    response(status, serde_json::to_vec(&error).unwrap_or_default())
}

fn response(status: StatusCode, json: Vec<u8>) -> Answer {
    let mut response = Response::new(Full::new(json.into()));
    *response.status_mut() = status;
    let json_type = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json_type);
    response
}

/// gRPC's numbers, as the gateway in front of Headscale maps them (`google.rpc.Code`).
fn grpc_code(status: StatusCode) -> u8 {
    match status.as_u16() {
        400 => 3,
        401 => 16,
        403 => 7,
        404 => 5,
        405 | 501 => 12,
        409 => 6,
        429 => 8,
        503 => 14,
        _ => 13,
    }
}
