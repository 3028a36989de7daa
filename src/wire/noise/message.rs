//! Layout of the handshake's messages.

use super::NoiseError;

const TYPE_INITIATION: u8 = 0x01;
const TYPE_RESPONSE: u8 = 0x02;
const TYPE_ERROR: u8 = 0x03;

pub(super) const KEY: usize = 32;
pub(super) const TAG: usize = 16;
pub(super) const SEALED_KEY: usize = KEY + TAG;

const INITIATION_HEADER: usize = 5;
const RESPONSE_HEADER: usize = 3;
const INITIATION_BODY: u16 = 96;
const RESPONSE_BODY: u16 = 48;

/// Length of the first message in bytes: version (2), type (1), length (2), ephemeral key (32), sealed static key (48), tag (16).
pub const INITIATION_LEN: usize = INITIATION_HEADER + INITIATION_BODY as usize;

/// Length of the second message in bytes: type (1), length (2), ephemeral key (32), tag (16).
pub const RESPONSE_LEN: usize = RESPONSE_HEADER + RESPONSE_BODY as usize;

/// Longest text an error message carries: it is a sentence for a log line, and its reader allocates for it.
const MAX_ERROR_TEXT: usize = 512;

/// The initiator's first message, taken apart but not yet trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initiation {
    /// The initiator's capability version; part of the prologue.
    pub capability: u16,
    pub(super) ephemeral: [u8; KEY],
    pub(super) sealed_static: [u8; SEALED_KEY],
    pub(super) tag: [u8; TAG],
}

impl Initiation {
    /// # Errors
    /// [`NoiseError::MessageLength`] or [`NoiseError::MessageType`] when `bytes` is no initiation.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoiseError> {
        let bytes: &[u8; INITIATION_LEN] = bytes.try_into().map_err(|_| NoiseError::MessageLength)?;
        let ([high, low, kind, length @ ..], body) = split::<INITIATION_HEADER, 96, INITIATION_LEN>(bytes);
        expect_header(*kind, *length, TYPE_INITIATION, INITIATION_BODY)?;
        let (ephemeral, body) = split::<KEY, 64, 96>(body);
        let (sealed_static, tag) = split::<SEALED_KEY, TAG, 64>(body);
        Ok(Self {
            capability: u16::from_be_bytes([*high, *low]),
            ephemeral: *ephemeral,
            sealed_static: *sealed_static,
            tag: *tag,
        })
    }

    pub(super) fn encode(&self) -> [u8; INITIATION_LEN] {
        let mut out = [0; INITIATION_LEN];
        out[..2].copy_from_slice(&self.capability.to_be_bytes());
        out[2] = TYPE_INITIATION;
        out[3..5].copy_from_slice(&INITIATION_BODY.to_be_bytes());
        out[5..37].copy_from_slice(&self.ephemeral);
        out[37..85].copy_from_slice(&self.sealed_static);
        out[85..].copy_from_slice(&self.tag);
        out
    }
}

/// The responder's only handshake message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    pub ephemeral: [u8; KEY],
    pub tag: [u8; TAG],
}

impl Response {
    pub fn decode(bytes: &[u8]) -> Result<Self, NoiseError> {
        let bytes: &[u8; RESPONSE_LEN] = bytes.try_into().map_err(|_| NoiseError::MessageLength)?;
        let ([kind, length @ ..], body) = split::<RESPONSE_HEADER, 48, RESPONSE_LEN>(bytes);
        expect_header(*kind, *length, TYPE_RESPONSE, RESPONSE_BODY)?;
        let (ephemeral, tag) = split::<KEY, TAG, 48>(body);
        Ok(Self { ephemeral: *ephemeral, tag: *tag })
    }

    pub fn encode(&self) -> [u8; RESPONSE_LEN] {
        let mut out = [0; RESPONSE_LEN];
        out[0] = TYPE_RESPONSE;
        out[1..3].copy_from_slice(&RESPONSE_BODY.to_be_bytes());
        out[3..35].copy_from_slice(&self.ephemeral);
        out[35..].copy_from_slice(&self.tag);
        out
    }
}

/// What a responder writes, in the clear, in place of its response; the connection is closed after it.
/// Text beyond 512 bytes is cut.
#[must_use]
pub fn encode_error(text: &str) -> Vec<u8> {
    let text = &text[..text.floor_char_boundary(MAX_ERROR_TEXT)];
    let length = u16::try_from(text.len()).expect("cut to 512 bytes above");
    let mut out = Vec::with_capacity(RESPONSE_HEADER + text.len());
    out.push(TYPE_ERROR);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    out
}

fn expect_header(kind: u8, length: [u8; 2], want: u8, body: u16) -> Result<(), NoiseError> {
    if kind != want {
        return Err(NoiseError::MessageType(kind));
    }
    if u16::from_be_bytes(length) != body {
        return Err(NoiseError::MessageLength);
    }
    Ok(())
}

/// Splits an array by lengths the compiler checks: `HEAD + REST == ALL`.
fn split<const HEAD: usize, const REST: usize, const ALL: usize>(
    bytes: &[u8; ALL],
) -> (&[u8; HEAD], &[u8; REST]) {
    const { assert!(HEAD + REST == ALL) };
    let (head, rest) = bytes.split_at(HEAD);
    (head.try_into().expect("HEAD long"), rest.try_into().expect("ALL - HEAD long"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_initiation_keeps_its_layout() {
        let initiation =
            Initiation { capability: 142, ephemeral: [1; 32], sealed_static: [2; 48], tag: [3; 16] };
        let bytes = initiation.encode();
        assert_eq!(bytes[..6], [0, 142, 1, 0, 96, 1]);
        assert_eq!(Initiation::decode(&bytes), Ok(initiation));
    }

    #[test]
    fn a_response_keeps_its_layout() {
        let response = Response { ephemeral: [4; 32], tag: [5; 16] };
        let bytes = response.encode();
        assert_eq!(bytes[..4], [2, 0, 48, 4]);
        assert_eq!(Response::decode(&bytes), Ok(response));
    }

    #[test]
    fn each_header_field_is_checked() {
        let good =
            Initiation { capability: 1, ephemeral: [0; 32], sealed_static: [0; 48], tag: [0; 16] }.encode();
        assert_eq!(Initiation::decode(&good[1..]), Err(NoiseError::MessageLength));
        let mut wrong_type = good;
        wrong_type[2] = 4;
        assert_eq!(Initiation::decode(&wrong_type), Err(NoiseError::MessageType(4)));
        let mut wrong_length = good;
        wrong_length[4] = 95;
        assert_eq!(Initiation::decode(&wrong_length), Err(NoiseError::MessageLength));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Initiation::decode(&bytes).map_or(true, |found| found.encode() == bytes.as_slice()));
            prop_assert!(Response::decode(&bytes).map_or(true, |found| found.encode() == bytes.as_slice()));
        }

        #[test]
        fn what_is_as_long_as_a_message_is_taken_apart_as_it_stands(
            mut first in prop::collection::vec(any::<u8>(), INITIATION_LEN),
            mut second in prop::collection::vec(any::<u8>(), RESPONSE_LEN),
        ) {
            first[2..5].copy_from_slice(&[TYPE_INITIATION, 0, 96]);
            second[..3].copy_from_slice(&[TYPE_RESPONSE, 0, 48]);
            prop_assert_eq!(Initiation::decode(&first).map(|found| found.encode().to_vec()), Ok(first));
            prop_assert_eq!(Response::decode(&second).map(|found| found.encode().to_vec()), Ok(second));
        }

        #[test]
        fn any_text_makes_an_error_that_can_be_read(text: String) {
            let bytes = encode_error(&text);
            prop_assert_eq!(usize::from(u16::from_be_bytes([bytes[1], bytes[2]])), bytes.len() - RESPONSE_HEADER);
            prop_assert!(text.starts_with(std::str::from_utf8(&bytes[RESPONSE_HEADER..]).expect("text")));
        }
    }

    #[test]
    fn an_error_is_cut_between_characters() {
        assert_eq!(encode_error("no"), [3, 0, 2, b'n', b'o']);
        let long = encode_error(&"ä".repeat(400));
        assert!(long.len() <= 3 + MAX_ERROR_TEXT);
        assert!(std::str::from_utf8(&long[3..]).is_ok());
        let odd = encode_error(&format!("x{}", "ä".repeat(400)));
        assert_eq!(odd.len(), 3 + 511);
    }
}
