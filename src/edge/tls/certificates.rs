//! The certificates in hand, and which of them answers a handshake.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{Bundle, BundleError, provider, self_signed};
use crate::edge::core::certificate::Validity;
use crate::edge::core::dispatch::Presented;
use crate::edge::{CertificateStore, StoreFailure};

/// What a certificate names when the resident has neither a name nor an address.
const NAMELESS: &str = "genkan";

/// Whose certificates are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The resident's public name.
    pub resident: Option<String>,
    /// Stands in the resident's certificate when it has no name.
    pub address: Option<std::net::IpAddr>,
    /// Names and `*.` patterns of the sites.
    pub sites: Vec<String>,
}

/// Why no certificate could be put in place.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("the certificate store does not work: {0}")]
    Store(StoreFailure),
    #[error("cannot make a self-signed certificate: {0}")]
    Create(#[from] rcgen::Error),
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// Every certificate in use. Handshakes read it without waiting for changes.
pub struct Certificates {
    table: RwLock<Arc<Table>>,
    /// Held from reading what the next table is made of to putting it in place, so that none undoes another.
    changing: Mutex<()>,
    pin: watch::Sender<Option<[u8; 32]>>,
    store: Arc<dyn CertificateStore>,
    /// Where certificates of the authority stand in the store; without an authority only self-signed ones are used.
    authority: Option<String>,
    provider: Arc<CryptoProvider>,
}

#[derive(Clone)]
struct Table {
    resident_name: Option<String>,
    resident: Entry,
    sites: HashMap<String, Entry>,
}

#[derive(Clone)]
struct Entry {
    key: Arc<CertifiedKey>,
    /// Of a certificate that the authority issued; `None` for a self-signed one.
    issued: Option<Validity>,
}

impl Certificates {
    /// Loads or makes a certificate for every name. `authority` is the prefix of its blobs in the store.
    pub fn open(
        store: Arc<dyn CertificateStore>,
        authority: Option<String>,
        names: &Names,
    ) -> Result<Self, CertificateError> {
        let provider = provider();
        let table =
            Loader { store: &*store, authority: authority.as_deref(), provider: &provider }.table(names)?;
        let pin = watch::Sender::new(table.resident.pin());
        let table = RwLock::new(Arc::new(table));
        Ok(Self { table, changing: Mutex::default(), pin, store, authority, provider })
    }

    /// Takes over another set of names. Blocks on the store.
    pub fn set_names(&self, names: &Names) -> Result<(), CertificateError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let loader =
            Loader { store: &*self.store, authority: self.authority.as_deref(), provider: &self.provider };
        self.replace(loader.table(names)?);
        Ok(())
    }

    /// Keeps a certificate from the authority, and answers with it from the next handshake on. Blocks on the store.
    pub fn install(&self, name: &str, bundle: &Bundle) -> Result<Validity, CertificateError> {
        let entry = Entry::issued(bundle, &self.provider)?;
        let validity = bundle.validity()?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(authority) = &self.authority {
            self.store.save(&issued_blob(authority, name), bundle.pem()).map_err(CertificateError::Store)?;
        }
        let mut table = Table::clone(&self.table());
        if table.resident_name.as_deref() == Some(name) {
            table.resident = entry.clone();
        }
        if let Some(site) = table.sites.get_mut(name) {
            *site = entry;
        }
        self.replace(table);
        Ok(validity)
    }

    /// SHA-256 of the resident's certificate as long as it is self-signed: what clients pin it by.
    pub fn pin(&self) -> watch::Receiver<Option<[u8; 32]>> {
        self.pin.subscribe()
    }

    /// The names that hold a certificate of the authority, and until when.
    pub fn issued(&self) -> Vec<(String, Validity)> {
        self.held().into_iter().filter_map(|(name, issued)| Some((name, issued?))).collect()
    }

    /// Every name, in alphabetical order; with when its certificate is good, if the authority issued it.
    pub fn held(&self) -> Vec<(String, Option<Validity>)> {
        let table = self.table();
        let resident = table.resident_name.iter().map(|name| (name, &table.resident));
        let all = table.sites.iter().chain(resident).map(|(name, entry)| (name.clone(), entry.issued));
        all.collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    /// Whose certificate a handshake with this SNI was answered with.
    pub fn presented(&self, server_name: Option<&str>) -> Presented {
        let table = self.table();
        match server_name.and_then(|name| table.site(&name.to_ascii_lowercase())) {
            Some((pattern, _)) => Presented::Site(pattern.to_owned()),
            None => Presented::Resident,
        }
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, table: Table) {
        let pin = table.resident.pin();
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        self.pin.send_if_modified(|current| std::mem::replace(current, pin) != pin);
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.table();
        let site = hello.server_name().and_then(|name| table.site(&name.to_ascii_lowercase()));
        Some(Arc::clone(site.map_or(&table.resident.key, |(_, entry)| &entry.key)))
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("sites", &self.table().sites.keys()).finish_non_exhaustive()
    }
}

impl Table {
    /// The site certificate for a name: its own, or that of a pattern over it. The resident's name is never a site's.
    fn site(&self, name: &str) -> Option<(&str, &Entry)> {
        if self.resident_name.as_deref() == Some(name) {
            return None;
        }
        let wildcard = || self.sites.get_key_value(&format!("*.{}", name.split_once('.')?.1));
        self.sites.get_key_value(name).or_else(wildcard).map(|(pattern, entry)| (pattern.as_str(), entry))
    }
}

impl Entry {
    fn issued(bundle: &Bundle, provider: &CryptoProvider) -> Result<Self, BundleError> {
        Ok(Self { key: Arc::new(bundle.certified_key(provider)?), issued: Some(bundle.validity()?) })
    }

    fn self_signed(bundle: &Bundle, provider: &CryptoProvider) -> Result<Self, BundleError> {
        Ok(Self { key: Arc::new(bundle.certified_key(provider)?), issued: None })
    }

    fn pin(&self) -> Option<[u8; 32]> {
        let leaf = self.key.cert.first().filter(|_| self.issued.is_none())?;
        ring::digest::digest(&ring::digest::SHA256, leaf).as_ref().try_into().ok()
    }
}

/// Fills a table from the store.
struct Loader<'a> {
    store: &'a dyn CertificateStore,
    authority: Option<&'a str>,
    provider: &'a CryptoProvider,
}

impl Loader<'_> {
    fn table(&self, names: &Names) -> Result<Table, CertificateError> {
        let mut sites = HashMap::new();
        for name in &names.sites {
            sites.insert(name.clone(), self.entry(name)?);
        }
        let subject = names.resident.clone().or_else(|| names.address.map(|address| address.to_string()));
        let resident = self.entry(subject.as_deref().unwrap_or(NAMELESS))?;
        Ok(Table { resident_name: names.resident.clone(), resident, sites })
    }

    fn entry(&self, name: &str) -> Result<Entry, CertificateError> {
        match self.issued(name)? {
            Some(entry) => Ok(entry),
            None => self.self_signed(name),
        }
    }

    fn issued(&self, name: &str) -> Result<Option<Entry>, CertificateError> {
        let Some(authority) = self.authority else { return Ok(None) };
        let Some(bundle) = self.load(&issued_blob(authority, name))? else { return Ok(None) };
        Ok(readable(name, Entry::issued(&bundle, self.provider)))
    }

    /// The same certificate at each start, so that what pins it stays true.
    fn self_signed(&self, name: &str) -> Result<Entry, CertificateError> {
        let blob = format!("self-signed/{name}");
        if let Some(bundle) = self.load(&blob)?
            && let Some(entry) = readable(name, Entry::self_signed(&bundle, self.provider))
        {
            return Ok(entry);
        }
        let bundle = self_signed::create(name)?;
        self.store.save(&blob, bundle.pem()).map_err(CertificateError::Store)?;
        info!(name, "made a self-signed certificate");
        Ok(Entry::self_signed(&bundle, self.provider)?)
    }

    fn load(&self, blob: &str) -> Result<Option<Bundle>, CertificateError> {
        Ok(self.store.load(blob).map_err(CertificateError::Store)?.map(Bundle::from_stored))
    }
}

/// A damaged blob is as good as none: another certificate takes its place.
fn readable(name: &str, entry: Result<Entry, BundleError>) -> Option<Entry> {
    entry.inspect_err(|error| warn!(name, %error, "a stored certificate cannot be used")).ok()
}

fn issued_blob(authority: &str, name: &str) -> String {
    format!("{authority}/certificate/{name}")
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
mod tests;
