//! The text of an API key: all that a client needs to reach one box, and to know that it is that box.
//!
//! `gkapi-<prefix>-<secret>-<pin>` in lower-case hexadecimal digits. The prefix finds the key and may be shown. The secret is
//! the client's proof. The pin is the box's: the beginning of the SHA-256 of its certificate's public key, so that a client
//! gives the secret to nobody else, without any authority in between.

use std::fmt;

use ring::digest;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::base::rng::SeededRng;
use crate::base::secret::Secret;

/// How every key begins.
pub const FAMILY: &str = "gkapi-";

const PREFIX_LEN: usize = 6;
const SECRET_LEN: usize = 32;
/// Nobody can make a second public key for 128 bits of a digest.
const PIN_LEN: usize = 16;

/// Which public key the box's certificate must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; PIN_LEN]);

/// A whole key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyText {
    pub prefix: String,
    /// Its text, as it is hashed.
    pub secret: Secret<String>,
    pub pin: Pin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not a whole genkan API key: copy it again from gkapi- to its last character (three groups of 12, 64 and 32 digits and letters a to f)"
)]
pub struct NotAnApiKey;

impl Pin {
    /// Of the DER of a `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7).
    #[must_use]
    pub fn of(public_key: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, public_key);
        let mut pin = [0; PIN_LEN];
        pin.copy_from_slice(&digest.as_ref()[..PIN_LEN]);
        Self(pin)
    }

    /// Of the public key of a certificate in DER; `None` when it is none.
    #[must_use]
    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self::of(certificate.public_key().raw))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl ApiKeyText {
    /// Makes a new secret for the box with that pin.
    #[must_use]
    pub fn mint(rng: &mut SeededRng, pin: Pin) -> Self {
        let prefix = hex::encode(rng.bytes::<PREFIX_LEN>());
        let secret = Secret::new(hex::encode(rng.bytes::<SECRET_LEN>()));
        Self { prefix, secret, pin }
    }

    /// What a person copied, white space around it included.
    ///
    /// # Errors
    /// A part is missing, too long, or not made of the digits it must be made of.
    pub fn parse(text: &str) -> Result<Self, NotAnApiKey> {
        let parts = text.trim().strip_prefix(FAMILY).ok_or(NotAnApiKey)?;
        let mut parts = parts.split('-');
        let mut next = || parts.next().ok_or(NotAnApiKey);
        let (prefix, secret, pin) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(NotAnApiKey);
        }
        digits::<PREFIX_LEN>(prefix)?;
        digits::<SECRET_LEN>(secret)?;
        let pin = Pin(digits(pin)?);
        Ok(Self { prefix: prefix.to_owned(), secret: Secret::new(secret.to_owned()), pin })
    }

    /// As it is shown once.
    #[must_use]
    pub fn whole(&self) -> Secret<String> {
        Secret::new(format!("{FAMILY}{}-{}-{}", self.prefix, self.secret.expose(), self.pin))
    }
}

fn digits<const N: usize>(text: &str) -> Result<[u8; N], NotAnApiKey> {
    let mut bytes = [0; N];
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    hex::decode_to_slice(text, &mut bytes).ok().filter(|()| is_lower).map(|()| bytes).ok_or(NotAnApiKey)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> ApiKeyText {
        ApiKeyText::mint(&mut SeededRng::new([1; 32]), Pin::of(b"a public key"))
    }

    #[test]
    fn a_key_survives_being_copied() {
        let text = key().whole();
        assert_eq!(ApiKeyText::parse(&format!("  {}\r\n", text.expose())), Ok(key()));
        assert!(!format!("{:?}", key()).contains(key().secret.expose()));
    }

    #[test]
    fn half_a_key_is_none() {
        let whole = key().whole().expose().clone();
        for wrong in [
            "",
            "gkapi-",
            "gkapi---",
            &whole[..whole.len() - 1],
            &whole[1..],
            &format!("{whole}0"),
            &format!("{whole}-"),
            &whole.to_uppercase(),
            &whole.replacen("gkapi", "hskey", 1),
            &whole.replace('-', ""),
        ] {
            assert_eq!(ApiKeyText::parse(wrong), Err(NotAnApiKey), "{wrong}");
        }
    }

    fn certificate() -> Vec<u8> {
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = rcgen::CertificateParams::new(["box".to_owned()]).expect("a name").self_signed(&key);
        made.expect("a certificate").der().to_vec()
    }

    #[test]
    fn the_pin_is_of_the_key_and_not_of_the_certificate() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let pin = |name: &str| {
            let made = rcgen::CertificateParams::new([name.to_owned()]).expect("a name").self_signed(&key);
            Pin::of_certificate(made.expect("a certificate").der()).expect("a certificate")
        };
        assert_eq!(pin("a"), pin("b"));
        assert_ne!(Some(pin("a")), Pin::of_certificate(&certificate()));
        assert_eq!(Pin::of_certificate(b"no certificate"), None);
    }

    proptest! {
        #[test]
        fn what_parses_is_what_was_written(text in "(gkapi-)?[0-9a-f-]{0,130}|\\PC{0,140}") {
            if let Ok(key) = ApiKeyText::parse(&text) {
                let whole = key.whole();
                prop_assert_eq!(whole.expose().as_str(), text.trim());
            }
        }

        #[test]
        fn every_minted_key_parses(seed: [u8; 32], public_key: Vec<u8>) {
            let key = ApiKeyText::mint(&mut SeededRng::new(seed), Pin::of(&public_key));
            prop_assert_eq!(ApiKeyText::parse(key.whole().expose()), Ok(key));
        }

        #[test]
        fn a_damaged_certificate_has_another_pin_or_none(at: prop::sample::Index, byte: u8, tail: Vec<u8>) {
            let der = certificate();
            let mut damaged = der.clone();
            let at = at.index(der.len());
            damaged[at] = byte;
            let _ = Pin::of_certificate(&damaged);
            let _ = Pin::of_certificate(&damaged[..at]);
            let _ = Pin::of_certificate(&[&der[..at], &tail].concat());
            prop_assert!(Pin::of_certificate(&der).is_some());
        }

        #[test]
        fn one_wrong_character_is_another_key_or_none(at in 0..114_usize, other in "[0-9a-z-]") {
            let whole = key().whole().expose().clone();
            let mut changed = whole.clone();
            changed.replace_range(at..=at, &other);
            if changed != whole {
                prop_assert_ne!(ApiKeyText::parse(&changed), Ok(key()));
            }
        }
    }
}
