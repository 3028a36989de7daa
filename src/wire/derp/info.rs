//! The two sealed introductions of the handshake: JSON in a NaCl box (X25519, XSalsa20-Poly1305) between node and relay key.

use crypto_box::aead::Aead;
use crypto_box::{PublicKey, SalsaBox, SecretKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{NONCE, PROTOCOL_VERSION};
use crate::wire::key::{NodePrivate, NodePublic};

/// What a client says about itself. Members of meshed relays are not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientInfo {
    pub version: u32,
    /// Go and Rust clients spell the members differently.
    #[serde(rename = "CanAckPings", alias = "can_ack_pings")]
    pub can_ack_pings: bool,
    #[serde(rename = "IsProber", alias = "is_prober")]
    pub is_prober: bool,
}

/// What the relay says about itself. The optional rate limits are left out: none is imposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerInfo {
    pub version: u32,
}

/// What the other side did wrong in its introduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InfoError {
    #[error("the sealed introduction does not open with the key it names")]
    BadSeal,
    #[error("the introduction is not the JSON it should be")]
    BadJson,
    #[error("protocol version {0}; only 2 is spoken")]
    Version(u32),
}

impl Default for ClientInfo {
    fn default() -> Self {
        Self { version: PROTOCOL_VERSION, can_ack_pings: false, is_prober: false }
    }
}

impl Default for ServerInfo {
    fn default() -> Self {
        Self { version: PROTOCOL_VERSION }
    }
}

impl ClientInfo {
    /// Opens the box of the client that claims `client`. Success proves that it holds that key.
    pub fn open(
        relay: &NodePrivate,
        client: NodePublic,
        nonce: &[u8; NONCE],
        sealed: &[u8],
    ) -> Result<Self, InfoError> {
        let info: Self = open(relay, client, nonce, sealed)?;
        if info.version == PROTOCOL_VERSION { Ok(info) } else { Err(InfoError::Version(info.version)) }
    }

    /// The box to send to `relay`. `None` when that key is a low-order point.
    #[must_use]
    pub fn seal(&self, client: &NodePrivate, relay: NodePublic, nonce: &[u8; NONCE]) -> Option<Vec<u8>> {
        seal(client, relay, nonce, self)
    }
}

impl ServerInfo {
    pub fn open(
        client: &NodePrivate,
        relay: NodePublic,
        nonce: &[u8; NONCE],
        sealed: &[u8],
    ) -> Result<Self, InfoError> {
        open(client, relay, nonce, sealed)
    }

    /// The box to send to `client`. `None` when that key is a low-order point.
    #[must_use]
    pub fn seal(&self, relay: &NodePrivate, client: NodePublic, nonce: &[u8; NONCE]) -> Option<Vec<u8>> {
        seal(relay, client, nonce, self)
    }
}

fn open<T: for<'de> Deserialize<'de>>(
    own: &NodePrivate,
    theirs: NodePublic,
    nonce: &[u8; NONCE],
    sealed: &[u8],
) -> Result<T, InfoError> {
    let salsa_box = salsa_box(own, theirs).ok_or(InfoError::BadSeal)?;
    let json = salsa_box.decrypt(nonce.into(), sealed).map_err(|_| InfoError::BadSeal)?;
    serde_json::from_slice(&json).map_err(|_| InfoError::BadJson)
}

fn seal(
    own: &NodePrivate,
    theirs: NodePublic,
    nonce: &[u8; NONCE],
    info: &impl Serialize,
) -> Option<Vec<u8>> {
    let json = serde_json::to_vec(info).ok()?;
    salsa_box(own, theirs)?.encrypt(nonce.into(), json.as_slice()).ok()
}

/// `None` for a low-order point: everybody knows the secret shared with it, so its box would prove nothing.
fn salsa_box(own: &NodePrivate, theirs: NodePublic) -> Option<SalsaBox> {
    own.diffie_hellman(theirs.as_bytes()).map(Zeroizing::new)?;
    Some(SalsaBox::new(&PublicKey::from(*theirs.as_bytes()), &SecretKey::from(*own.expose())))
}
