//! The embedded database: one file, one table for each kind of record.
//!
//! Keys are the records' numbers, values are encoded by `record`, and blobs stored, behind a version byte. Every append is one transaction,
//! synced before it answers: redb commits with one sync and finds the last whole commit by its checksums after a cut. The
//! slower quick-repair commits are left out on purpose: they sync twice, and the full repair they avoid walks a file that
//! is small here.

mod error;
mod identity;
mod record;

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use redb::backends::FileBackend;
use redb::{
    Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};

use crate::coordinator::core::change::{Issued, Mutation};

pub use error::StoreError;
use error::{Fault, guarded};
pub use identity::Identity;

type Rows<K> = TableDefinition<'static, K, &'static [u8]>;

const USERS: Rows<i64> = TableDefinition::new("users");
const KEYS: Rows<u64> = TableDefinition::new("auth_keys");
const API_KEYS: Rows<&str> = TableDefinition::new("api_keys");
/// Lines of `JOIN.txt`, unused keys in them.
const JOIN_LINES: Rows<&str> = TableDefinition::new("join_lines");
const NODES: Rows<i64> = TableDefinition::new("nodes");
/// What there is one of: the identity, the highest numbers given out.
const SINGLES: Rows<&str> = TableDefinition::new("singles");
const BLOBS: Rows<&str> = TableDefinition::new("blobs");

const ISSUED: &str = "issued";

/// State that survives the loss of power.
#[derive(Debug)]
pub struct Store {
    database: Database,
    /// Held by the one write that is under way.
    writing: Mutex<()>,
    /// For messages: the file.
    place: String,
}

impl Store {
    /// Opens the database at `path`, and creates it where there is none.
    ///
    /// # Errors
    /// The file is in use, damaged, or of a newer version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let place = path.display().to_string();
        if !path.exists() {
            create(path, &place)?;
        }
        let database = guarded(&place, || Ok(Database::open(path)?))?;
        Self::prepare(database, place)
    }

    /// As `open`, on other storage than a file.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_backend(backend: impl redb::StorageBackend) -> Result<Self, StoreError> {
        let place = "the database".to_owned();
        let database = guarded(&place, || Ok(Database::builder().create_with_backend(backend)?))?;
        Self::prepare(database, place)
    }

    /// Makes the durable ones of `mutations` survive a power cut, all or none. Blocks until they do.
    ///
    /// # Errors
    /// The storage refused to write; nothing of it is stored.
    pub fn append(&self, mutations: &[Mutation]) -> Result<(), StoreError> {
        self.write(|transaction| {
            mutations
                .iter()
                .filter(|mutation| mutation.is_durable())
                .try_for_each(|one| put(transaction, one))
        })
    }

    /// As `append`, for nodes whose own reports changed: what a restart would like to know but may lose.
    ///
    /// # Errors
    /// The storage refused to write.
    pub fn save_reports(&self, mutations: &[Mutation]) -> Result<(), StoreError> {
        self.write(|transaction| mutations.iter().try_for_each(|one| put(transaction, one)))
    }

    /// Everything stored, as mutations that rebuild it from nothing.
    ///
    /// # Errors
    /// A value is damaged or of a newer version.
    pub fn load(&self) -> Result<Vec<Mutation>, StoreError> {
        let mut all = Vec::new();
        self.read(|transaction| {
            rows(transaction, USERS, Mutation::User, &mut all)?;
            rows(transaction, KEYS, Mutation::Key, &mut all)?;
            rows(transaction, NODES, Mutation::Node, &mut all)?;
            rows(transaction, API_KEYS, Mutation::ApiKey, &mut all)?;
            rows(transaction, JOIN_LINES, Mutation::JoinLine, &mut all)?;
            let table = transaction.open_table(SINGLES)?;
            if let Some(bytes) = table.get(ISSUED)? {
                all.push(Mutation::Issued(record::decode(bytes.value())?));
            }
            Ok(())
        })?;
        Ok(all)
    }

    /// A named blob of another room, for example a certificate.
    ///
    /// # Errors
    /// The storage could not be read.
    pub fn blob(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|transaction| {
            let table = transaction.open_table(BLOBS)?;
            let found = table.get(name)?;
            found.map(|value| record::body(value.value()).map(<[u8]>::to_vec)).transpose()
        })
    }

    /// Stores a blob durably, replacing one of the same name.
    ///
    /// # Errors
    /// The storage refused to write.
    pub fn put_blob(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.open_table(BLOBS)?.insert(name, record::stamp(value).as_slice())?;
            Ok(())
        })
    }

    /// Forgets a blob; one that is not there is forgotten already.
    ///
    /// # Errors
    /// The storage refused to write.
    pub fn delete_blob(&self, name: &str) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.open_table(BLOBS)?.remove(name)?;
            Ok(())
        })
    }

    /// Reads something small. Blocks while a write is under way: storage that takes no more holds this up too.
    ///
    /// # Errors
    /// The storage could not be read.
    pub fn check(&self) -> Result<(), StoreError> {
        drop(self.writing.lock().unwrap_or_else(PoisonError::into_inner));
        self.read(|transaction| {
            transaction.open_table(SINGLES)?.get(ISSUED)?;
            Ok(())
        })
    }

    /// Makes all tables, so that reading never meets a missing one.
    fn prepare(database: Database, place: String) -> Result<Self, StoreError> {
        let store = Self { database, writing: Mutex::new(()), place };
        store.write(|transaction| {
            transaction.open_table(USERS)?;
            transaction.open_table(KEYS)?;
            transaction.open_table(NODES)?;
            transaction.open_table(API_KEYS)?;
            transaction.open_table(JOIN_LINES)?;
            transaction.open_table(SINGLES)?;
            transaction.open_table(BLOBS)?;
            Ok(())
        })?;
        Ok(store)
    }

    fn write(&self, change: impl FnOnce(&WriteTransaction) -> Result<(), Fault>) -> Result<(), StoreError> {
        // redb lets one write at a time pass as well.
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        guarded(&self.place, || {
            let transaction = self.database.begin_write()?;
            change(&transaction)?;
            Ok(transaction.commit()?)
        })
    }

    fn read<T>(&self, look: impl FnOnce(&ReadTransaction) -> Result<T, Fault>) -> Result<T, StoreError> {
        guarded(&self.place, || look(&self.database.begin_read()?))
    }
}

fn put(transaction: &WriteTransaction, mutation: &Mutation) -> Result<(), Fault> {
    match mutation {
        Mutation::User(user) => insert(transaction, USERS, user.id.0, user),
        Mutation::UserRemoved(user) => remove(transaction, USERS, user.0),
        Mutation::Key(key) => insert(transaction, KEYS, key.id.0, key),
        Mutation::KeyRemoved(key) => remove(transaction, KEYS, key.0),
        Mutation::Node(node) | Mutation::Observed(node) => insert(transaction, NODES, node.id.0, node),
        Mutation::NodeRemoved(node) => remove(transaction, NODES, node.0),
        Mutation::ApiKey(key) | Mutation::ApiKeySeen(key) => {
            insert::<&str, _>(transaction, API_KEYS, &key.prefix, key)
        }
        Mutation::ApiKeyRemoved(prefix) => remove::<&str>(transaction, API_KEYS, prefix),
        Mutation::JoinLine(line) => insert::<&str, _>(transaction, JOIN_LINES, &line.host, line),
        Mutation::JoinLineRemoved(host) => remove::<&str>(transaction, JOIN_LINES, host),
        Mutation::Issued(issued) => insert::<&str, Issued>(transaction, SINGLES, ISSUED, issued),
        Mutation::Policy(_) | Mutation::Relay(_) => Ok(()),
    }
}

fn insert<K: Key + 'static, V: serde::Serialize>(
    transaction: &WriteTransaction,
    table: Rows<K>,
    key: K::SelfType<'_>,
    value: &V,
) -> Result<(), Fault> {
    let bytes = record::encode(value)?;
    transaction.open_table(table)?.insert(key, bytes.as_slice())?;
    Ok(())
}

fn remove<K: Key + 'static>(
    transaction: &WriteTransaction,
    table: Rows<K>,
    key: K::SelfType<'_>,
) -> Result<(), Fault> {
    transaction.open_table(table)?.remove(key)?;
    Ok(())
}

fn rows<K: Key + 'static, V: serde::de::DeserializeOwned>(
    transaction: &ReadTransaction,
    table: Rows<K>,
    wrap: impl Fn(V) -> Mutation,
    all: &mut Vec<Mutation>,
) -> Result<(), Fault> {
    for row in transaction.open_table(table)?.iter()? {
        all.push(wrap(record::decode(row?.1.value())?));
    }
    Ok(())
}

/// Makes an empty database beside its place and moves it there when it is whole: a cut in between leaves no half of one.
fn create(path: &Path, place: &str) -> Result<(), StoreError> {
    let draft = path.with_extension("new");
    let unwritable = |error: std::io::Error| StoreError::unwritable(place, &error);
    let mut options = std::fs::OpenOptions::new();
    // It holds private keys: nobody but its owner may read it.
    let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&draft);
    let file = file.map_err(unwritable)?;
    let database =
        guarded(place, move || Ok(Database::builder().create_with_backend(FileBackend::new(file)?)?))?;
    drop(Store::prepare(database, place.to_owned())?);
    std::fs::rename(&draft, path).and_then(|()| sync_directory(path)).map_err(unwritable)
}

/// A file's name is data of its directory, lost in a power cut unless that is synced too.
fn sync_directory(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests;
