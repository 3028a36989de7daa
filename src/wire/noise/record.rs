//! Transport records: type 0x04, length, ciphertext; one cipher and one counter per direction.

use ring::aead::{Aad, LessSafeKey, Nonce};

use super::NoiseError;

const TYPE_RECORD: u8 = 0x04;
const TAG: usize = 16;

/// Bytes before a record's ciphertext: type (1), length (2).
pub const RECORD_HEADER: usize = 3;

/// Longest record on the wire, with its header; the protocol's limit.
pub const MAX_RECORD: usize = 4096;

/// Longest plaintext of one record.
pub const MAX_PLAINTEXT: usize = MAX_RECORD - RECORD_HEADER - TAG;

/// The channel after the handshake, from one side's view.
pub struct Transport {
    pub sealer: Sealer,
    pub opener: Opener,
}

impl Transport {
    pub(super) fn new(sealing: LessSafeKey, opening: LessSafeKey) -> Self {
        Self { sealer: Sealer(Cipher::new(sealing)), opener: Opener(Cipher::new(opening)) }
    }
}

/// Encrypts what this side sends.
pub struct Sealer(Cipher);

impl Sealer {
    /// Appends one record holding `plaintext` to `out`.
    ///
    /// # Errors
    /// [`NoiseError::PlaintextLength`] above [`MAX_PLAINTEXT`]; [`NoiseError::Exhausted`] after 2^64 - 1 records.
    pub fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), NoiseError> {
        if plaintext.len() > MAX_PLAINTEXT {
            return Err(NoiseError::PlaintextLength);
        }
        let nonce = self.0.next_nonce()?;
        let length = u16::try_from(plaintext.len() + TAG).expect("checked against the limit above");
        out.push(TYPE_RECORD);
        out.extend_from_slice(&length.to_be_bytes());
        let start = out.len();
        out.extend_from_slice(plaintext);
        let tag = self
            .0
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), &mut out[start..])
            .expect("4077 bytes are far below the cipher's limit");
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }
}

/// Decrypts what the other side sent.
pub struct Opener(Cipher);

impl Opener {
    /// Decrypts the `ciphertext` of one record (without its header) in place; the plaintext may be empty.
    ///
    /// # Errors
    /// [`NoiseError::Decrypt`] when it is not the next record of the peer; [`NoiseError::Exhausted`].
    pub fn open<'a>(&mut self, ciphertext: &'a mut [u8]) -> Result<&'a mut [u8], NoiseError> {
        let nonce = self.0.next_nonce()?;
        self.0.key.open_in_place(nonce, Aad::empty(), ciphertext).map_err(|_| NoiseError::Decrypt)
    }
}

/// Length of a whole record, in bytes with its header, as that header tells it.
///
/// # Errors
/// [`NoiseError::MessageType`] and [`NoiseError::RecordLength`].
pub fn record_len(header: [u8; RECORD_HEADER]) -> Result<usize, NoiseError> {
    let [kind, high, low] = header;
    if kind != TYPE_RECORD {
        return Err(NoiseError::MessageType(kind));
    }
    let length = RECORD_HEADER + usize::from(u16::from_be_bytes([high, low]));
    if !(RECORD_HEADER + TAG..=MAX_RECORD).contains(&length) {
        return Err(NoiseError::RecordLength);
    }
    Ok(length)
}

struct Cipher {
    key: LessSafeKey,
    counter: u64,
}

impl Cipher {
    fn new(key: LessSafeKey) -> Self {
        Self { key, counter: 0 }
    }

    fn next_nonce(&mut self) -> Result<Nonce, NoiseError> {
        let counter = self.counter;
        self.counter = counter.checked_add(1).ok_or(NoiseError::Exhausted)?;
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&counter.to_be_bytes());
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::aead::{CHACHA20_POLY1305, UnboundKey};

    use super::*;

    fn pair() -> (Sealer, Opener) {
        let key = || LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[9; 32]).expect("32 bytes"));
        (Sealer(Cipher::new(key())), Opener(Cipher::new(key())))
    }

    #[test]
    fn the_counter_stands_big_endian_in_the_nonce() {
        let (mut sealer, _) = pair();
        sealer.0.counter = 0x0102;
        let nonce = sealer.0.next_nonce().expect("far from the end");
        assert_eq!(nonce.as_ref(), &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    }

    #[test]
    fn records_are_accepted_once_and_in_order() {
        let (mut sealer, mut opener) = pair();
        let mut first = Vec::new();
        sealer.seal(b"one", &mut first).expect("fits");
        let mut second = Vec::new();
        sealer.seal(b"", &mut second).expect("fits");
        assert_eq!(opener.open(&mut first.clone()[3..]).expect("next"), b"one");
        assert_eq!(opener.open(&mut first[3..]), Err(NoiseError::Decrypt));
        let (_, mut fresh) = pair();
        assert_eq!(fresh.open(&mut second[3..]), Err(NoiseError::Decrypt));
    }

    #[test]
    fn limits_are_exact() {
        let (mut sealer, _) = pair();
        let mut record = Vec::new();
        sealer.seal(&[0; MAX_PLAINTEXT], &mut record).expect("the longest that fits");
        assert_eq!(record.len(), MAX_RECORD);
        assert_eq!(record[..3], [4, 0x0f, 0xfd]);
        assert_eq!(sealer.seal(&[0; MAX_PLAINTEXT + 1], &mut record), Err(NoiseError::PlaintextLength));
        assert_eq!(record_len([4, 0x0f, 0xfd]), Ok(MAX_RECORD));
        assert_eq!(record_len([4, 0x0f, 0xfe]), Err(NoiseError::RecordLength));
        assert_eq!(record_len([4, 0, 16]), Ok(19));
        assert_eq!(record_len([4, 0, 15]), Err(NoiseError::RecordLength));
        assert_eq!(record_len([2, 0, 16]), Err(NoiseError::MessageType(2)));
    }

    proptest! {
        #[test]
        fn any_header_is_a_record_within_the_limits_or_none(header: [u8; RECORD_HEADER]) {
            if let Ok(length) = record_len(header) {
                prop_assert!((RECORD_HEADER + TAG..=MAX_RECORD).contains(&length));
            }
        }

        #[test]
        fn any_bytes_are_no_record_of_the_peer(mut bytes in prop::collection::vec(any::<u8>(), 0..MAX_RECORD)) {
            prop_assert_eq!(pair().1.open(&mut bytes), Err(NoiseError::Decrypt));
        }

        #[test]
        fn a_record_comes_back_whole_and_with_no_bit_changed(text in prop::collection::vec(any::<u8>(), 0..MAX_PLAINTEXT), bit: prop::sample::Index) {
            let (mut sealer, mut opener) = pair();
            let mut record = Vec::new();
            sealer.seal(&text, &mut record).expect("fits");
            prop_assert_eq!(record_len([record[0], record[1], record[2]]), Ok(record.len()));
            let mut bent = record[RECORD_HEADER..].to_vec();
            let bit = bit.index(bent.len() * 8);
            bent[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(pair().1.open(&mut bent), Err(NoiseError::Decrypt));
            prop_assert_eq!(opener.open(&mut record[RECORD_HEADER..]).map(|text| text.to_vec()), Ok(text));
        }
    }

    #[test]
    fn an_exhausted_counter_closes_the_direction() {
        let (mut sealer, mut opener) = pair();
        sealer.0.counter = u64::MAX;
        opener.0.counter = u64::MAX;
        assert_eq!(sealer.seal(b"", &mut Vec::new()), Err(NoiseError::Exhausted));
        assert_eq!(opener.open(&mut [0; 16]), Err(NoiseError::Exhausted));
    }
}
