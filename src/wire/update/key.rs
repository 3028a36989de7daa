//! The makers' keys: whose signature a box believes, and the private half that signs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

use super::KEY_NAME_LENGTH;
use crate::base::secret::Secret;

/// Most keys in a list: release and recovery, and both again while they are exchanged.
const KEYS_MAX: usize = 16;

/// PKCS#8 around an Ed25519 seed (RFC 8410 section 7), as `openssl genpkey` writes it too.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    #[error("line {0} of the release keys is not 32 bytes in base64, and perhaps `# name` behind them")]
    Line(usize),
    #[error("there are more than {KEYS_MAX} release keys")]
    TooMany,
    #[error("there is no release key, so that no update can be believed")]
    Empty,
    #[error("this is not an Ed25519 key in PKCS#8, PEM; `genkan release keygen` makes one")]
    Private,
}

/// Public half, and what the list calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// For people: `release`, `recovery`; may be empty.
    pub name: String,
    bytes: [u8; 32],
}

impl PublicKey {
    /// First bytes of its SHA-256.
    #[must_use]
    pub fn id(&self) -> [u8; KEY_NAME_LENGTH] {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.bytes);
        *digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.bytes).verify(message, signature).is_ok()
    }

    /// One line of a list of keys.
    #[must_use]
    pub fn line(&self) -> String {
        let key = STANDARD.encode(self.bytes);
        if self.name.is_empty() { key } else { format!("{key} # {}", self.name) }
    }
}

/// Whose updates a box takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeys(Vec<PublicKey>);

impl PublicKeys {
    /// One key a line, base64, its name behind `#`; other lines are blank or begin with `#`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let (key, name) = line.split_once('#').unwrap_or((line, ""));
            if key.trim().is_empty() {
                continue;
            }
            let bytes = STANDARD.decode(key.trim()).ok().and_then(|bytes| bytes.try_into().ok());
            let bytes = bytes.ok_or(KeyError::Line(number))?;
            keys.push(PublicKey { name: name.trim().to_owned(), bytes });
        }
        match keys.len() {
            0 => Err(KeyError::Empty),
            1..=KEYS_MAX => Ok(Self(keys)),
            _ => Err(KeyError::TooMany),
        }
    }

    #[must_use]
    pub fn as_slice(&self) -> &[PublicKey] {
        &self.0
    }
}

/// Private half: on a maker's machine, never on a box.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// From the text that [`pem`](Self::pem) or `openssl genpkey -algorithm ed25519` wrote.
    pub fn from_pem(text: &Secret<Vec<u8>>) -> Result<Self, KeyError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(text.expose()).map_err(|_| KeyError::Private)?;
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der());
        key.map(Self).map_err(|_| KeyError::Private)
    }

    /// PEM of the key that grows from 32 random bytes.
    #[must_use]
    pub fn pem(seed: &Secret<[u8; 32]>) -> Secret<String> {
        let body = STANDARD.encode([PKCS8_PREFIX.as_slice(), seed.expose()].concat());
        Secret::new(format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"))
    }

    #[must_use]
    pub fn public(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes");
        PublicKey { name: String::new(), bytes }
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(redacted)")
    }
}
