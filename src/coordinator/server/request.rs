//! Request bodies: read whole, bounded in size and time.

use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::coordinator::ledger::Refusal;

/// The limit of the protocol's own servers; requests carry a few KiB.
pub const REQUEST_MAX: usize = 1 << 20;

/// What a connection may send before it has shown a node: strangers are many, and this is memory they hold.
pub const STRANGER_REQUEST_MAX: usize = 64 << 10;

/// Enough for [`REQUEST_MAX`] over a slow mobile link.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// Reads one JSON request of at most `limit` bytes.
pub async fn read_json<T: DeserializeOwned>(body: Incoming, limit: usize) -> Result<T, Refusal> {
    let collected = timeout(REQUEST_TIME, Limited::new(body, limit).collect()).await;
    let bytes = match collected {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(Refusal { status: 413, text: format!("the request is longer than {limit} bytes") });
        }
        Ok(Err(error)) => return Err(Refusal::bad_request(format!("the request did not arrive: {error}"))),
        Err(_) => return Err(Refusal { status: 408, text: "the request did not arrive in time".into() }),
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::bad_request(format!("the request is not understood: {error}")))
}
