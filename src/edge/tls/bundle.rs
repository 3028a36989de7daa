//! A certificate chain with its key, as kept in the store: PEM (RFC 7468), the key first, then the chain from the leaf up.

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::base::wall_time::UnixTime;
use crate::edge::core::certificate::Validity;

/// PEM text that holds a private key: cleared on drop, never printed.
pub struct Bundle(Zeroizing<Vec<u8>>);

/// What is wrong with a bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("not PEM: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    #[error("unusable certificate or key: {0}")]
    Tls(#[from] rustls::Error),
    #[error("not an X.509 certificate")]
    Certificate,
}

impl Bundle {
    #[must_use]
    pub fn new(key_pem: &str, chain_pem: &str) -> Self {
        Self(Zeroizing::new([key_pem, chain_pem].join("\n").into_bytes()))
    }

    #[must_use]
    pub fn from_stored(pem: Vec<u8>) -> Self {
        Self(Zeroizing::new(pem))
    }

    /// What goes into the store.
    #[must_use]
    pub fn pem(&self) -> &[u8] {
        &self.0
    }

    /// The chain and key ready for handshakes; the key is checked to be the leaf's.
    pub fn certified_key(&self, provider: &CryptoProvider) -> Result<CertifiedKey, BundleError> {
        let chain = CertificateDer::pem_slice_iter(&self.0).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&self.0)?;
        Ok(CertifiedKey::from_der(chain, key, provider)?)
    }

    /// When the leaf is good.
    pub fn validity(&self) -> Result<Validity, BundleError> {
        let leaf = CertificateDer::from_pem_slice(&self.0)?;
        let (_, leaf) = X509Certificate::from_der(&leaf).map_err(|_| BundleError::Certificate)?;
        Ok(Validity {
            not_before: UnixTime(leaf.validity().not_before.timestamp()),
            not_after: UnixTime(leaf.validity().not_after.timestamp()),
        })
    }
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bundle(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{provider, self_signed};
    use super::*;

    #[test]
    fn a_bundle_comes_back_from_the_store_as_it_was() {
        let bundle = self_signed::create("app.example.com").expect("a certificate");
        let again = Bundle::from_stored(bundle.pem().to_vec());
        let (first, second) = (bundle.certified_key(&provider()), again.certified_key(&provider()));
        assert_eq!(first.expect("usable").cert, second.expect("usable").cert);
        assert!(again.validity().expect("dates").not_before < UnixTime(1_700_000_000));
        assert_eq!(format!("{again:?}"), "Bundle(redacted)");
    }

    #[test]
    fn a_strangers_key_is_refused() {
        let one = String::from_utf8(self_signed::create("a").expect("made").pem().to_vec()).expect("text");
        let two = String::from_utf8(self_signed::create("b").expect("made").pem().to_vec()).expect("text");
        let cut = |text: &str| text.find("-----BEGIN CERTIFICATE").expect("a certificate");
        let mixed = Bundle::new(&one[..cut(&one)], &two[cut(&two)..]);
        assert!(matches!(mixed.certified_key(&provider()), Err(BundleError::Tls(_))));
        assert!(matches!(
            Bundle::from_stored(Vec::new()).certified_key(&provider()),
            Err(BundleError::Pem(_))
        ));
    }
}
