//! `genkan-VERSION.gku`: an update of the box, signed by its makers.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `GENKANU1` |
//! | 8 | 1 | *S*: how many signatures follow, 1 to 4 |
//! | 9 | 3 | zero |
//! | 12 | 4 | *M*: length of the manifest, big-endian, 1 to 65,536 |
//! | 16 | 72 *S* | signatures, each 8 bytes that name a key and 64 bytes of Ed25519 (RFC 8032) |
//! | 16 + 72 *S* | *M* | the [`Manifest`], JSON in UTF-8 |
//! | behind it | | the files the manifest names, whole, in its order, without gaps; nothing behind them |
//!
//! Signed are the bytes `genkan update manifest` and one zero, then the manifest as it stands in the file. One signature by one key of
//! the box's list is enough: releases are signed by the release key, the recovery key lies elsewhere for the day that one is lost. The
//! manifest is not parsed before a signature over it holds, except to show it ([`Envelope::unverified`]).
//!
//! A key is named by the first 8 bytes of the SHA-256 of its public half. The name only saves attempts; it proves nothing.

mod contents;
mod key;
mod manifest;
mod progress;
#[cfg(test)]
mod tests;

use std::io::{self, Read};

pub use contents::Contents;
pub use key::{KeyError, PublicKey, PublicKeys, SigningKey};
pub use manifest::{Digest, Extent, FileEntry, MANIFEST_FORMAT, Manifest, SLOT_IMAGE};
pub use progress::{Phase, Progress};

/// Longest `.gku`, in bytes: twice what a slot holds.
pub const FILE_MAX: u64 = 128 << 20;

const MAGIC: [u8; 8] = *b"GENKANU1";
const PRELUDE_LENGTH: usize = 16;
const SIGNATURES_MAX: usize = 4;
const MANIFEST_MAX: usize = 64 * 1024;
const KEY_NAME_LENGTH: usize = 8;
const SIGNATURE_LENGTH: usize = KEY_NAME_LENGTH + 64;
const SIGNED_PREFIX: &[u8] = b"genkan update manifest\0";

/// Why bytes are not an update that may be believed.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("this is not an update of genkan: it does not begin with GENKANU1")]
    Magic,
    #[error("the update's head is damaged: {0}")]
    Prelude(&'static str),
    #[error("the update is cut off; fetch it again")]
    Truncated,
    #[error("the update has bytes behind its end; fetch it again")]
    Trailing,
    #[error("none of this box's release keys signed the update; take it from where genkan is released")]
    Signature,
    #[error("the update's manifest is wrong: {0}")]
    Manifest(String),
    #[error("{name} in the update is damaged: its SHA-256 is not the signed one; fetch it again")]
    Hash { name: String },
    #[error("reading the update failed: {0}")]
    Io(io::Error),
}

/// One signature and the name of the key it is said to come from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    key: [u8; KEY_NAME_LENGTH],
    bytes: [u8; 64],
}

/// What stands before the files: signatures and the manifest's bytes, not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    signatures: Vec<Signature>,
    manifest: Vec<u8>,
}

impl Envelope {
    /// Takes as many bytes as the envelope has from the beginning of a file, at most 66 KB; the files' bytes come next.
    pub fn read(from: &mut impl Read) -> Result<Self, FormatError> {
        let mut prelude = [0; PRELUDE_LENGTH];
        fill(from, &mut prelude)?;
        let (signatures, manifest) = decode_prelude(&prelude)?;
        let mut rest = vec![0; signatures * SIGNATURE_LENGTH + manifest];
        fill(from, &mut rest)?;
        let (signatures, manifest) = rest.split_at(signatures * SIGNATURE_LENGTH);
        let signatures = signatures.chunks_exact(SIGNATURE_LENGTH).filter_map(Signature::decode).collect();
        Ok(Self { signatures, manifest: manifest.to_vec() })
    }

    /// Signs `manifest` with each of `keys`, at most four. Errors: a manifest that no box would accept.
    pub fn sign(manifest: &Manifest, keys: &[SigningKey]) -> Result<Self, FormatError> {
        if keys.is_empty() || keys.len() > SIGNATURES_MAX {
            return Err(FormatError::Prelude("an update has one to four signatures"));
        }
        let manifest = manifest.encode()?;
        if manifest.len() > MANIFEST_MAX {
            return Err(FormatError::Manifest(format!("it is longer than {MANIFEST_MAX} bytes")));
        }
        let message = signed_bytes(&manifest);
        let signatures =
            keys.iter().map(|key| Signature { key: key.public().id(), bytes: key.sign(&message) });
        Ok(Self { signatures: signatures.collect(), manifest })
    }

    /// The manifest, and which key of `keys` vouches for it. Errors: no signature by one of them holds, or a manifest that breaks
    /// the format's rules in spite of its signature.
    pub fn open<'k>(&self, keys: &'k PublicKeys) -> Result<(Manifest, &'k PublicKey), FormatError> {
        let message = signed_bytes(&self.manifest);
        let signer = self.signatures.iter().find_map(|signature| {
            let mut named = keys.as_slice().iter().filter(|key| key.id() == signature.key);
            named.find(|key| key.verify(&message, &signature.bytes))
        });
        let signer = signer.ok_or(FormatError::Signature)?;
        Ok((Manifest::decode(&self.manifest)?, signer))
    }

    /// The manifest as anybody may have written it: for showing, never for installing.
    pub fn unverified(&self) -> Result<Manifest, FormatError> {
        Manifest::decode(&self.manifest)
    }

    /// Names of the keys that are said to have signed, hexadecimal.
    #[must_use]
    pub fn signers(&self) -> Vec<String> {
        self.signatures.iter().map(|signature| hex::encode(signature.key)).collect()
    }

    /// Length in bytes: where the first file begins.
    #[must_use]
    pub fn length(&self) -> u64 {
        let length = PRELUDE_LENGTH + self.signatures.len() * SIGNATURE_LENGTH + self.manifest.len();
        u64::try_from(length).expect("an envelope has at most 66 KB")
    }

    /// As [`read`](Self::read) takes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = u8::try_from(self.signatures.len()).expect("at most four signatures");
        let length = u32::try_from(self.manifest.len()).expect("at most 64 KiB of manifest");
        let mut out = MAGIC.to_vec();
        out.extend([count, 0, 0, 0]);
        out.extend(length.to_be_bytes());
        for signature in &self.signatures {
            out.extend(signature.key);
            out.extend(signature.bytes);
        }
        out.extend(&self.manifest);
        out
    }
}

impl Signature {
    /// `None` unless there are 72 bytes.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (key, rest) = bytes.split_first_chunk()?;
        Some(Self { key: *key, bytes: rest.try_into().ok()? })
    }
}

/// How many signatures follow, and how long the manifest is.
fn decode_prelude(bytes: &[u8; PRELUDE_LENGTH]) -> Result<(usize, usize), FormatError> {
    let [magic @ .., s, z1, z2, z3, m1, m2, m3, m4] = *bytes;
    if magic != MAGIC {
        return Err(FormatError::Magic);
    }
    if [z1, z2, z3] != [0; 3] {
        return Err(FormatError::Prelude("bytes 9 to 11 are not zero"));
    }
    let signatures = usize::from(s);
    if !(1..=SIGNATURES_MAX).contains(&signatures) {
        return Err(FormatError::Prelude("the number of signatures is not 1 to 4"));
    }
    match usize::try_from(u32::from_be_bytes([m1, m2, m3, m4])) {
        Ok(manifest @ 1..=MANIFEST_MAX) => Ok((signatures, manifest)),
        _ => Err(FormatError::Prelude("the manifest's length is not 1 to 65536")),
    }
}

fn signed_bytes(manifest: &[u8]) -> Vec<u8> {
    [SIGNED_PREFIX, manifest].concat()
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<(), FormatError> {
    from.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => FormatError::Truncated,
        _ => FormatError::Io(error),
    })
}
