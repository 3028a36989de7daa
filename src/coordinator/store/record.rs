//! Records as bytes: a version, then postcard. The layout of a version never changes: a record that grows gets a new one.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::Fault;

const VERSION: u8 = 1;

pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Fault> {
    Ok(postcard::to_extend(value, vec![VERSION])?)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    Ok(postcard::from_bytes(body(bytes)?)?)
}

/// Bytes of another room, whose layout is that room's.
pub(super) fn stamp(body: &[u8]) -> Vec<u8> {
    [&[VERSION], body].concat()
}

/// What is behind the version.
pub(super) fn body(bytes: &[u8]) -> Result<&[u8], Fault> {
    match bytes.split_first() {
        Some((&VERSION, body)) => Ok(body),
        Some((&version, _)) => Err(Fault::Version(version)),
        None => Err(Fault::Empty),
    }
}
