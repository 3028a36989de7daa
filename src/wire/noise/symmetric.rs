//! The framework's symmetric state: a chaining key and a transcript hash that both sides carry through the handshake.

use blake2::{Blake2s256, Digest};
use hmac::{Mac, SimpleHmac};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::{Zeroize, Zeroizing};

use super::NoiseError;
use super::message::{KEY, SEALED_KEY, TAG};

const PROTOCOL: &[u8] = b"Noise_IK_25519_ChaChaPoly_BLAKE2s";

/// Chaining key and transcript hash (Noise section 5.2); key and counter of the cipher live only inside one step,
/// because in this pattern each derived key seals at most one message.
pub(super) struct Symmetric {
    chaining_key: Zeroizing<[u8; KEY]>,
    hash: [u8; KEY],
}

impl Symmetric {
    pub fn new(prologue: &[u8], responder_static: &[u8; KEY]) -> Self {
        let name: [u8; KEY] = Blake2s256::digest(PROTOCOL).into();
        let mut state = Self { chaining_key: Zeroizing::new(name), hash: name };
        state.mix_hash(prologue);
        state.mix_hash(responder_static);
        state
    }

    pub fn mix_hash(&mut self, data: &[u8]) {
        self.hash = Blake2s256::new().chain_update(self.hash).chain_update(data).finalize().into();
    }

    /// Mixes in a Diffie-Hellman result and gives the key it unlocks.
    pub fn mix_key(&mut self, shared: Option<[u8; KEY]>) -> Result<OneTimeKey, NoiseError> {
        let shared = Zeroizing::new(shared.ok_or(NoiseError::WeakKey)?);
        let (chaining_key, key) = hkdf(&self.chaining_key, shared.as_ref());
        self.chaining_key = chaining_key;
        Ok(OneTimeKey(cipher(&key)))
    }

    pub fn seal_static(&mut self, key: OneTimeKey, public: &[u8; KEY]) -> [u8; SEALED_KEY] {
        let mut sealed = [0; SEALED_KEY];
        sealed[..KEY].copy_from_slice(public);
        let tag = key.seal(&self.hash, &mut sealed[..KEY]);
        sealed[KEY..].copy_from_slice(&tag);
        self.mix_hash(&sealed);
        sealed
    }

    pub fn open_static(
        &mut self,
        key: OneTimeKey,
        sealed: &[u8; SEALED_KEY],
    ) -> Result<[u8; KEY], NoiseError> {
        let mut buffer = *sealed;
        let plain = key.open(&self.hash, &mut buffer)?;
        let public = plain.try_into().map_err(|_| NoiseError::Decrypt)?;
        self.mix_hash(sealed);
        Ok(public)
    }

    pub fn seal_nothing(&mut self, key: OneTimeKey) -> [u8; TAG] {
        let tag = key.seal(&self.hash, &mut []);
        self.mix_hash(&tag);
        tag
    }

    pub fn open_nothing(&mut self, key: OneTimeKey, tag: &[u8; TAG]) -> Result<(), NoiseError> {
        key.open(&self.hash, &mut tag.clone())?;
        self.mix_hash(tag);
        Ok(())
    }

    /// The transport's keys: initiator to responder, responder to initiator.
    pub fn split(self) -> (LessSafeKey, LessSafeKey) {
        let (forth, back) = hkdf(&self.chaining_key, &[]);
        (cipher(&forth), cipher(&back))
    }
}

/// A cipher that the handshake uses once, so its nonce is always zero.
pub(super) struct OneTimeKey(LessSafeKey);

impl OneTimeKey {
    fn seal(self, hash: &[u8; KEY], in_out: &mut [u8]) -> [u8; TAG] {
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key([0; 12]), Aad::from(hash), in_out)
            .expect("32 bytes are far below the cipher's limit");
        tag.as_ref().try_into().expect("a Poly1305 tag has 16 bytes")
    }

    fn open<'a>(self, hash: &[u8; KEY], in_out: &'a mut [u8]) -> Result<&'a mut [u8], NoiseError> {
        self.0
            .open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::from(hash), in_out)
            .map_err(|_| NoiseError::Decrypt)
    }
}

fn cipher(key: &[u8; KEY]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("a ChaCha20 key has 32 bytes"))
}

/// HKDF of Noise section 4.3 with two outputs.
fn hkdf(salt: &[u8; KEY], input: &[u8]) -> (Zeroizing<[u8; KEY]>, Zeroizing<[u8; KEY]>) {
    let mut secret = hmac(salt, &[input]);
    let first = hmac(&secret, &[&[1]]);
    let second = hmac(&secret, &[&first, &[2]]);
    secret.zeroize();
    (Zeroizing::new(first), Zeroizing::new(second))
}

fn hmac(key: &[u8; KEY], parts: &[&[u8]]) -> [u8; KEY] {
    let mut mac = SimpleHmac::<Blake2s256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
