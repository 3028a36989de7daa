//! The keys that make this box itself, and a copy of them as a file, by which a box whose database was lost stays the one
//! that its clients know.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use blake2::{Blake2s256, Digest};
use redb::ReadableTableMetadata;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::base::rng::SeededRng;
use crate::wire::key::{MachinePrivate, NodePrivate};

use super::error::Fault;
use super::{NODES, SINGLES, Store, StoreError, record, sync_directory};

const IDENTITY: &str = "identity";

/// What a copy begins with; then the record in hex, a space, and the first bytes of its hash in hex.
const BEGINNING: &str = "genkan identity ";
/// Bytes of the hash: against a torn write, not against a forger, who could as well write the keys.
const HASH: usize = 8;
/// Longest copy, in bytes.
const COPY_MAX: u64 = 4096;

/// Made once: clients remember the public halves, and would not speak to a box with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Noise static key of the control channel.
    pub noise: MachinePrivate,
    /// Key of the DERP relay.
    pub relay: NodePrivate,
    pub gateway_machine: MachinePrivate,
    pub gateway_node: NodePrivate,
}

/// As stored.
#[derive(Serialize, Deserialize)]
struct Scalars {
    noise: [u8; 32],
    relay: [u8; 32],
    gateway_machine: [u8; 32],
    gateway_node: [u8; 32],
}

impl Store {
    /// The box's own keys, made at the first call.
    ///
    /// # Errors
    /// They are missing although nodes exist: new ones would strand every client.
    pub fn identity(&self, rng: &mut SeededRng) -> Result<Identity, StoreError> {
        let stored = self.read(|transaction| {
            let singles = transaction.open_table(SINGLES)?;
            let scalars = singles.get(IDENTITY)?.map(|bytes| record::decode::<Scalars>(bytes.value()));
            match scalars.transpose()? {
                None if !transaction.open_table(NODES)?.is_empty()? => Err(Fault::IdentityLost),
                found => Ok(found.map(Identity::from)),
            }
        })?;
        match stored {
            Some(identity) => Ok(identity),
            None => self.make_identity(rng),
        }
    }

    /// As [`Store::identity`], with a copy in the file `copy`: a database without keys takes those of the copy, and keys
    /// that the copy does not hold are written to it. A copy that is damaged is replaced; one that cannot be written is
    /// told of in the log.
    ///
    /// # Errors
    /// As [`Store::identity`].
    pub fn identity_beside(&self, copy: &Path, rng: &mut SeededRng) -> Result<Identity, StoreError> {
        let found = read_copy(copy);
        if let Some(identity) = found.as_ref().filter(|_| self.is_unborn().unwrap_or(false)) {
            self.put_identity(identity)?;
            tracing::warn!("the keys of this box are taken from {}", copy.display());
        }
        let identity = self.identity(rng)?;
        if found.as_ref() != Some(&identity)
            && let Err(error) = write_copy(copy, &identity)
        {
            tracing::warn!(%error, "there is no copy of the keys of this box in {}", copy.display());
        }
        Ok(identity)
    }

    /// Whether there are neither keys nor nodes that know any.
    fn is_unborn(&self) -> Result<bool, StoreError> {
        self.read(|transaction| {
            let has_keys = transaction.open_table(SINGLES)?.get(IDENTITY)?.is_some();
            Ok(!has_keys && transaction.open_table(NODES)?.is_empty()?)
        })
    }

    fn make_identity(&self, rng: &mut SeededRng) -> Result<Identity, StoreError> {
        let identity = Identity {
            noise: MachinePrivate::generate(rng),
            relay: NodePrivate::generate(rng),
            gateway_machine: MachinePrivate::generate(rng),
            gateway_node: NodePrivate::generate(rng),
        };
        self.put_identity(&identity)?;
        Ok(identity)
    }

    fn put_identity(&self, identity: &Identity) -> Result<(), StoreError> {
        self.write(|transaction| {
            let bytes = record::encode(&Scalars::from(identity))?;
            transaction.open_table(SINGLES)?.insert(IDENTITY, bytes.as_slice())?;
            Ok(())
        })
    }
}

impl Identity {
    /// One line of text.
    fn to_copy(&self) -> Zeroizing<String> {
        let record = Zeroizing::new(record::encode(&Scalars::from(self)).expect("plain data"));
        Zeroizing::new(format!("{BEGINNING}{} {}\n", hex::encode(&*record), hex::encode(hash(&record))))
    }

    /// `None` when `text` is no whole copy.
    fn from_copy(text: &str) -> Option<Self> {
        let (record, check) = text.trim().strip_prefix(BEGINNING)?.split_once(' ')?;
        let record = Zeroizing::new(hex::decode(record).ok()?);
        let is_whole = hex::decode(check).is_ok_and(|check| check == hash(&record));
        if !is_whole {
            return None;
        }
        record::decode::<Scalars>(&record).ok().map(Self::from)
    }
}

fn hash(record: &[u8]) -> [u8; HASH] {
    let whole: [u8; 32] = Blake2s256::digest(record).into();
    std::array::from_fn(|at| whole[at])
}

fn read_copy(path: &Path) -> Option<Identity> {
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(path).ok()?.take(COPY_MAX).read_to_string(&mut text).ok()?;
    let identity = Identity::from_copy(&text);
    if identity.is_none() {
        tracing::warn!("{} is no whole copy of keys", path.display());
    }
    identity
}

/// Beside its place first, then moved there.
fn write_copy(path: &Path, identity: &Identity) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(identity.to_copy().as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    sync_directory(path)
}

impl From<Scalars> for Identity {
    fn from(scalars: Scalars) -> Self {
        Self {
            noise: MachinePrivate::from_bytes(scalars.noise),
            relay: NodePrivate::from_bytes(scalars.relay),
            gateway_machine: MachinePrivate::from_bytes(scalars.gateway_machine),
            gateway_node: NodePrivate::from_bytes(scalars.gateway_node),
        }
    }
}

impl From<&Identity> for Scalars {
    fn from(identity: &Identity) -> Self {
        Self {
            noise: *identity.noise.expose(),
            relay: *identity.relay.expose(),
            gateway_machine: *identity.gateway_machine.expose(),
            gateway_node: *identity.gateway_node.expose(),
        }
    }
}
