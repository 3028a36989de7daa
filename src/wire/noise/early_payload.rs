//! JSON that the responder puts before its first HTTP/2 frame: a challenge for the initiator's node key.
//!
//! Its first bytes cannot begin an HTTP/2 frame that a client would accept; that is how a client tells it is there.

use serde::{Deserialize, Serialize};

use super::NoiseError;
use crate::wire::key::ChallengePublic;

const MAGIC: [u8; 5] = [0xff, 0xff, 0xff, b'T', b'S'];
const HEADER: usize = MAGIC.len() + 4;

/// Longest JSON accepted from a server: what Tailscale's Rust client accepts, ten times what is sent.
const MAX_JSON: usize = 1024;

#[derive(Serialize, Deserialize)]
struct EarlyPayload {
    #[serde(rename = "nodeKeyChallenge")]
    node_key_challenge: ChallengePublic,
}

/// What the first plaintext bytes of a responder turn out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// More bytes are needed to tell.
    Incomplete,
    /// HTTP/2 begins at once.
    Absent,
    /// HTTP/2 begins after `length` bytes.
    Present { challenge: ChallengePublic, length: usize },
}

/// Plaintext to send first: magic (5), length (4, big-endian), JSON.
#[must_use]
pub fn encode(challenge: ChallengePublic) -> Vec<u8> {
    let json = format!("{{\"nodeKeyChallenge\":\"{challenge}\"}}");
    let length = u32::try_from(json.len()).expect("about a hundred bytes");
    [&MAGIC[..], &length.to_be_bytes(), json.as_bytes()].concat()
}

/// Looks at the first plaintext `bytes` of a responder.
///
/// # Errors
/// [`NoiseError::EarlyPayload`] when there is one, but too long or not the expected JSON.
pub fn decode(bytes: &[u8]) -> Result<Decoded, NoiseError> {
    let seen = bytes.len().min(MAGIC.len());
    if bytes[..seen] != MAGIC[..seen] {
        return Ok(Decoded::Absent);
    }
    let Some(&length) = bytes.get(MAGIC.len()..).and_then(|rest| rest.first_chunk()) else {
        return Ok(Decoded::Incomplete);
    };
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| NoiseError::EarlyPayload)?;
    if length > MAX_JSON {
        return Err(NoiseError::EarlyPayload);
    }
    let Some(json) = bytes.get(HEADER..HEADER + length) else { return Ok(Decoded::Incomplete) };
    let payload: EarlyPayload = serde_json::from_slice(json).map_err(|_| NoiseError::EarlyPayload)?;
    Ok(Decoded::Present { challenge: payload.node_key_challenge, length: HEADER + length })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn challenge() -> ChallengePublic {
        ChallengePublic::from_bytes([0xab; 32])
    }

    #[test]
    fn it_round_trips_and_every_prefix_is_incomplete() {
        let bytes = encode(challenge());
        assert!(bytes.len() < 200, "Tailscale's Rust client refuses long ones");
        assert_eq!(bytes[..9], [0xff, 0xff, 0xff, b'T', b'S', 0, 0, 0, 95]);
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), Ok(Decoded::Incomplete), "{end}");
        }
        let length = bytes.len();
        let followed = [bytes, b"PRI".to_vec()].concat();
        assert_eq!(decode(&followed), Ok(Decoded::Present { challenge: challenge(), length }));
    }

    #[test]
    fn a_settings_frame_is_no_early_payload() {
        assert_eq!(decode(&[0, 0, 18, 4, 0, 0, 0, 0, 0]), Ok(Decoded::Absent));
    }

    #[test]
    fn length_is_refused_before_it_is_waited_for() {
        assert_eq!(decode(&[0xff, 0xff, 0xff, b'T', b'S', 0, 0, 4, 1]), Err(NoiseError::EarlyPayload));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(tail in prop::collection::vec(any::<u8>(), 0..64), magic: bool) {
            let bytes = if magic { [&MAGIC[..], &[0, 0], &tail].concat() } else { tail };
            if let Ok(Decoded::Present { length, .. }) = decode(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
