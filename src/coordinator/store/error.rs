//! What can be wrong with the database, and what a person can do about it.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The database cannot be used as it is; the text names the file and the cure.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{place} is in use by another genkan: stop that one first")]
    InUse { place: String },
    #[error(
        "{place} is damaged ({what}): put the last backup in its place, or move it away to begin anew, after which every machine has to join again"
    )]
    Damaged { place: String, what: String },
    #[error(
        "{place} holds records of version {version}, which this genkan does not know: run the newer genkan that wrote it, or put back a backup of before"
    )]
    Newer { place: String, version: u8 },
    #[error(
        "{place} cannot be read or written ({what}): check that the disk is there, not full and not read-only"
    )]
    Unwritable { place: String, what: String },
    #[error(
        "{place} holds nodes but not the keys of this box: with new keys every machine would be stranded; put back a backup that has both, or move the file away to begin anew"
    )]
    IdentityLost { place: String },
}

impl StoreError {
    pub(super) fn unwritable(place: &str, error: &std::io::Error) -> Self {
        Self::Unwritable { place: place.to_owned(), what: error.to_string() }
    }

    /// The work on the database was given up half way, as when the process stops.
    pub(in crate::coordinator) fn interrupted(what: &str) -> Self {
        Self::Unwritable { place: "the database".into(), what: what.to_owned() }
    }
}

/// What went wrong inside, before it is known to whom it is told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Redb(#[from] redb::Error),
    #[error("a record does not decode: {0}")]
    Codec(#[from] postcard::Error),
    #[error("an empty record")]
    Empty,
    #[error("a record of version {0}")]
    Version(u8),
    #[error("no identity")]
    IdentityLost,
}

macro_rules! fault_from {
    ($($error:ty),*) => {
        $(impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Redb(error.into())
            }
        })*
    };
}

fault_from!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);

/// Runs an access to the database. redb checks its own structures by assertions as well as by errors: on a damaged file
/// both mean the same.
pub(super) fn guarded<T>(place: &str, access: impl FnOnce() -> Result<T, Fault>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(access)) {
        Ok(result) => result.map_err(|fault| explain(place.to_owned(), &fault)),
        Err(_) => Err(StoreError::Damaged { place: place.to_owned(), what: "inconsistent".into() }),
    }
}

fn explain(place: String, fault: &Fault) -> StoreError {
    match fault {
        Fault::Redb(redb::Error::DatabaseAlreadyOpen) => StoreError::InUse { place },
        Fault::Version(version) => StoreError::Newer { place, version: *version },
        Fault::IdentityLost => StoreError::IdentityLost { place },
        Fault::Redb(redb::Error::Io(error)) if error.kind() != std::io::ErrorKind::InvalidData => {
            StoreError::unwritable(&place, error)
        }
        Fault::Redb(error @ (redb::Error::PreviousIo | redb::Error::DatabaseClosed)) => {
            StoreError::Unwritable { place, what: error.to_string() }
        }
        _ => StoreError::Damaged { place, what: fault.to_string() },
    }
}
