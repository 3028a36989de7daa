//! What an update says about itself.

use std::collections::BTreeSet;

use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::FormatError;
use crate::base::wall_time::UnixTime;

/// The only manifest format there is. A box that knows less than an update needs refuses it.
pub const MANIFEST_FORMAT: u32 = 1;

/// The file that becomes a slot: an image of its FAT file system, compressed with zstd.
pub const SLOT_IMAGE: &str = "slot.img.zst";

const FILES_MAX: usize = 16;
const BOARDS_MAX: usize = 32;
const NAME_MAX: usize = 64;
/// Longest file, packed or unpacked, in bytes.
const FILE_SIZE_MAX: u64 = 128 << 20;

/// Signed as a whole. Members that this version does not know are ignored: what must not be ignored raises `format`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    pub version: Version,
    /// Grows with each release; a box goes to an equal or greater one only. Seconds since 1970 do.
    pub build: u64,
    /// The oldest version that can go to this one directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_from: Option<Version>,
    /// Boards it is made for, as `rpi-4` or `qemu-virt`.
    pub boards: Vec<String>,
    pub created: UnixTime,
    /// In the order of their bytes.
    pub files: Vec<FileEntry>,
}

/// One file of an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// 1 to 64 of `a-z 0-9 . _ -`, not beginning with `.`: never a path.
    pub name: String,
    #[serde(flatten)]
    pub packed: Extent,
    /// What zstd makes of it, when it is compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpacked: Option<Extent>,
}

/// So many bytes with this hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Bytes.
    pub size: u64,
    pub sha256: Digest,
}

/// SHA-256; 64 hexadecimal digits in JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Manifest {
    /// Strict JSON within the limits above.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| FormatError::Manifest(error.to_string()))?;
        manifest.check()?;
        Ok(manifest)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, FormatError> {
        self.check()?;
        serde_json::to_vec(self).map_err(|error| FormatError::Manifest(error.to_string()))
    }

    /// Entry of a file, and how many bytes of other files stand before it.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<(&FileEntry, u64)> {
        let at = self.files.iter().position(|file| file.name == name)?;
        let before = self.files[..at].iter().map(|file| file.packed.size).sum();
        Some((&self.files[at], before))
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.packed.size).sum()
    }

    fn check(&self) -> Result<(), FormatError> {
        let fault = |text: String| Err(FormatError::Manifest(text));
        if self.format != MANIFEST_FORMAT {
            return fault(format!("it has format {}, this genkan reads {MANIFEST_FORMAT}", self.format));
        }
        if self.files.is_empty() || self.files.len() > FILES_MAX {
            return fault(format!("it has {} files, not 1 to {FILES_MAX}", self.files.len()));
        }
        if self.boards.is_empty() || self.boards.len() > BOARDS_MAX {
            return fault(format!("it has {} boards, not 1 to {BOARDS_MAX}", self.boards.len()));
        }
        let names = self.boards.iter().chain(self.files.iter().map(|file| &file.name));
        if let Some(name) = names.into_iter().find(|name| !is_plain(name)) {
            return fault(format!("{name:?} is not a plain name"));
        }
        let unique: BTreeSet<_> = self.files.iter().map(|file| &file.name).collect();
        if unique.len() != self.files.len() {
            return fault("it names a file twice".into());
        }
        let mut extents = self.files.iter().flat_map(|file| [Some(file.packed), file.unpacked]).flatten();
        if extents.any(|extent| extent.size > FILE_SIZE_MAX) {
            return fault(format!("a file is longer than {FILE_SIZE_MAX} bytes"));
        }
        Ok(())
    }
}

impl Digest {
    /// The hash of what went through `context`.
    #[must_use]
    pub fn of(context: ring::digest::Context) -> Self {
        Self(context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut digest = [0; 32];
        let text = String::deserialize(deserializer)?;
        hex::decode_to_slice(&text, &mut digest).map_err(serde::de::Error::custom)?;
        Ok(Self(digest))
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    (1..=NAME_MAX).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain)
}
