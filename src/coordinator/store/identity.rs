//! The keys that make this box itself.

use redb::ReadableTableMetadata;
use serde::{Deserialize, Serialize};

use crate::base::rng::SeededRng;
use crate::wire::key::{MachinePrivate, NodePrivate};

use super::error::Fault;
use super::{NODES, SINGLES, Store, StoreError, record};

const IDENTITY: &str = "identity";

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

    fn make_identity(&self, rng: &mut SeededRng) -> Result<Identity, StoreError> {
        let identity = Identity {
            noise: MachinePrivate::generate(rng),
            relay: NodePrivate::generate(rng),
            gateway_machine: MachinePrivate::generate(rng),
            gateway_node: NodePrivate::generate(rng),
        };
        self.write(|transaction| {
            let bytes = record::encode(&Scalars::from(&identity))?;
            transaction.open_table(SINGLES)?.insert(IDENTITY, bytes.as_slice())?;
            Ok(())
        })?;
        Ok(identity)
    }
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
