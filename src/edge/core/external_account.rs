//! The account that an owner has with a certificate authority, by which it ties ACME accounts to customers (RFC 8555 section 7.3.4).

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

use crate::base::secret::Secret;

/// RFC 7518 section 3.2 asks for as many bits as the hash has; authorities hand out 32 bytes, some 16.
const KEY_LENGTH_MIN: usize = 16;

/// What the authority handed out. Neither part prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalAccount {
    pub key_id: Secret<String>,
    /// Decoded.
    pub hmac_key: Secret<Vec<u8>>,
}

impl ExternalAccount {
    /// Takes the key as authorities show it, in URL-safe base64. Errors: why it cannot be one, without showing it.
    pub fn new(key_id: &str, hmac_key: &str) -> Result<Self, &'static str> {
        let decoded = URL_SAFE_NO_PAD.decode(hmac_key).or_else(|_| URL_SAFE.decode(hmac_key));
        let hmac_key = Secret::new(decoded.map_err(|_| "it is not URL-safe base64 (A-Z a-z 0-9 - _)")?);
        if hmac_key.expose().len() < KEY_LENGTH_MIN {
            return Err("it is too short");
        }
        Ok(Self { key_id: Secret::new(key_id.to_owned()), hmac_key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_read_with_and_without_padding_and_never_printed() {
        let plain = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
        let account = ExternalAccount::new("kid-1", plain).expect("a key");
        assert_eq!(account.hmac_key.expose().len(), 48);
        assert!(ExternalAccount::new("kid-1", "AAAAAAAAAAAAAAAAAAAAAA==").is_ok());
        let printed = format!("{account:?}");
        assert!(!printed.contains("kid-1") && !printed.contains("zWND"), "{printed}");
    }

    #[test]
    fn what_cannot_be_a_key_is_refused() {
        for text in ["", "short", "AAAAAAAAAAAAAAAAAAAA+/", "not base64!", "AAAAAAAA"] {
            assert!(ExternalAccount::new("kid-1", text).is_err(), "{text}");
        }
    }
}
