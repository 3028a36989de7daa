//! Curve25519 keys of a tailnet, one type per role so that they cannot be mixed up, with Tailscale's text prefixes.
//!
//! Public keys print as `prefix:` + 64 hex digits; private keys never print.

use std::fmt;
use std::str::FromStr;

use rand_core::{CryptoRng, RngCore};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A key's text was not `prefix:` followed by 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected \"{prefix}\" followed by 64 hex digits")]
pub struct KeyTextError {
    prefix: &'static str,
}

macro_rules! public_key {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name([u8; 32]);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Clients write the zero key where they have none.
            #[must_use]
            pub fn is_zero(&self) -> bool {
                self.0 == [0; 32]
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}..", $prefix, hex::encode(&self.0[..4]))
            }
        }

        impl FromStr for $name {
            type Err = KeyTextError;

            fn from_str(text: &str) -> Result<Self, KeyTextError> {
                parse_hex(text, $prefix).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    if text.is_empty() {
                        return Ok(Self::default());
                    }
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; 32]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

macro_rules! private_key {
    ($(#[$doc:meta])* $name:ident => $public:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            pub fn generate(rng: &mut (impl RngCore + CryptoRng)) -> Self {
                Self(StaticSecret::random_from_rng(rng).to_bytes())
            }

            #[must_use]
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The scalar, for the store and for the crates that do the arithmetic.
            #[must_use]
            pub fn expose(&self) -> &[u8; 32] {
                &self.0
            }

            #[must_use]
            pub fn public(&self) -> $public {
                $public(PublicKey::from(&self.secret()).to_bytes())
            }

            /// X25519 with `their`; `None` when the result is the all-zero point (RFC 7748 section 6.1).
            #[must_use]
            pub fn diffie_hellman(&self, their: &[u8; 32]) -> Option<[u8; 32]> {
                let shared = self.secret().diffie_hellman(&PublicKey::from(*their));
                shared.was_contributory().then(|| shared.to_bytes())
            }

            fn secret(&self) -> StaticSecret {
                StaticSecret::from(self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    };
}

public_key!(
    /// Identity of one installation; known only to the coordinator.
    MachinePublic, "mkey:"
);
public_key!(
    /// Identity of a node in the tailnet: its WireGuard static key, and its DERP address.
    NodePublic, "nodekey:"
);
public_key!(
    /// Key of a node's path-discovery messages; new at each start of a client.
    DiscoPublic, "discokey:"
);
public_key!(
    /// Challenge sent in the control channel's early payload.
    ChallengePublic, "chalpub:"
);
private_key!(
    /// Noise static key: the coordinator's own, or an in-process node's.
    MachinePrivate => MachinePublic
);
private_key!(
    /// WireGuard static key, or the DERP server's key.
    NodePrivate => NodePublic
);
private_key!(
    /// Path-discovery key.
    DiscoPrivate => DiscoPublic
);
private_key!(
    /// Private half of the early payload's challenge.
    ChallengePrivate => ChallengePublic
);

fn parse_hex(text: &str, prefix: &'static str) -> Result<[u8; 32], KeyTextError> {
    let digits = text.strip_prefix(prefix).ok_or(KeyTextError { prefix })?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| KeyTextError { prefix })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::SeededRng;

    #[test]
    fn text_round_trips_and_names_the_prefix_it_wants() {
        let key = NodePrivate::generate(&mut SeededRng::new([1; 32])).public();
        assert_eq!(key.to_string().parse::<NodePublic>(), Ok(key));
        let error = key.to_string().parse::<DiscoPublic>().expect_err("another role's prefix");
        assert_eq!(error.to_string(), "expected \"discokey:\" followed by 64 hex digits");
    }

    #[test]
    fn private_keys_do_not_print() {
        let key = NodePrivate::from_bytes([0xab; 32]);
        assert_eq!(format!("{key:?}"), "NodePrivate(redacted)");
    }

    #[test]
    fn both_sides_agree_and_zero_points_are_refused() {
        let mut rng = SeededRng::new([2; 32]);
        let (a, b) = (DiscoPrivate::generate(&mut rng), DiscoPrivate::generate(&mut rng));
        assert_eq!(a.diffie_hellman(b.public().as_bytes()), b.diffie_hellman(a.public().as_bytes()));
        assert_eq!(a.diffie_hellman(&[0; 32]), None);
    }
}
