//! The certificate of the interface over TLS: self-signed, made once, kept in the state. Clients know its public key by the
//! pin in their API key, so nobody has to vouch for it.

use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::coordinator::store::{Store, StoreError};
use crate::wire::api_key::Pin;

/// Key and certificate as PEM.
const BLOB: &str = "admin/certificate";

/// What the certificate is of; no client looks at it.
const SUBJECT: &str = "genkan.internal";

/// Ready for handshakes.
#[derive(Clone)]
pub struct Certificate {
    pin: Pin,
    tls: Arc<ServerConfig>,
}

#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot make a certificate: {0}")]
    Create(#[from] rcgen::Error),
    #[error("not PEM: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    #[error("unusable certificate or key: {0}")]
    Tls(#[from] rustls::Error),
    #[error("not an X.509 certificate")]
    Form,
}

impl Certificate {
    /// The one in the store, made at the first call. Blocks.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn open(store: &Store) -> Result<Self, CertificateError> {
        if let Some(pem) = store.blob(BLOB)?.map(Zeroizing::new) {
            match Self::of(&pem) {
                Ok(certificate) => return Ok(certificate),
                Err(error) => tracing::warn!(
                    %error,
                    "the stored certificate of the API cannot be used and is made anew: API keys made before do not fit it"
                ),
            }
        }
        let pem = create()?;
        store.put_blob(BLOB, &pem)?;
        Self::of(&pem)
    }

    /// What clients know it by.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.pin
    }

    pub(super) fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.tls)
    }

    fn of(pem: &[u8]) -> Result<Self, CertificateError> {
        let leaf = CertificateDer::from_pem_slice(pem)?;
        let key = PrivateKeyDer::from_pem_slice(pem)?;
        let pin = Pin::of_certificate(&leaf).ok_or(CertificateError::Form)?;
        // Its only clients are newer than TLS 1.3; resumption would save a handshake an hour.
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![leaf], key)?;
        Ok(Self { pin, tls: Arc::new(tls) })
    }
}

/// Its dates are fixed, because it is made on boxes that may not know the date yet.
fn create() -> Result<Zeroizing<Vec<u8>>, rcgen::Error> {
    let mut params = CertificateParams::new([SUBJECT.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "genkan");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = Zeroizing::new(key.serialize_pem());
    Ok(Zeroizing::new([key.as_str(), &certificate.pem()].join("\n").into_bytes()))
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    #[test]
    fn the_pin_stays_until_the_state_is_lost() {
        let store = Store::open_backend(InMemoryBackend::new()).expect("memory");
        let first = Certificate::open(&store).expect("made").pin();
        assert_eq!(Certificate::open(&store).expect("kept").pin(), first);
        store.put_blob(BLOB, b"damaged").expect("memory");
        let second = Certificate::open(&store).expect("made anew").pin();
        assert_ne!(second, first);
        assert_eq!(Certificate::open(&store).expect("kept").pin(), second);
    }
}
