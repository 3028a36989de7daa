//! TLS by SNI.
//!
//! One server configuration serves every name: [`Certificates`] answers each handshake with the certificate of the name that was
//! asked for, and with the resident's when the name is its own, unknown, or missing. The cryptography is always *ring*, named
//! here and nowhere left to a process-wide default.

mod bundle;
mod certificates;
mod self_signed;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::{CipherSuite, ClientConfig, RootCertStore, ServerConfig, SupportedCipherSuite};

use crate::edge::core::cipher_order::{Cipher, CipherOrder};

pub use bundle::{Bundle, BundleError};
pub use certificates::{CertificateError, Certificates, Names};

/// The protocols offered (RFC 7301), the preferred one first. A client that offers none gets HTTP/1.1.
const ALPN: [&[u8]; 2] = [H2, b"http/1.1"];
const H2: &[u8] = b"h2";

/// Why TLS could not be set up: a fault of the build or of the kernel's randomness, never of a peer.
pub type SetupError = rustls::Error;

/// The one cryptography of the edge.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// TLS 1.2 and 1.3 for servers, preferring what `ciphers` prefers, resumption by tickets that do not outlive the process.
pub fn server_config(
    certificates: Arc<dyn ResolvesServerCert>,
    ciphers: CipherOrder,
) -> Result<ServerConfig, SetupError> {
    let mut provider = rustls::crypto::ring::default_provider();
    ciphers.sort(&mut provider.cipher_suites, cipher);
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    config.ticketer = ticketer()?;
    // The tickets carry all of it.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ignore_client_order = ciphers.ignores_client();
    Ok(config)
}

/// TLS 1.2 and 1.3 for clients that believe `roots`.
pub fn client_config(roots: RootCertStore) -> Result<ClientConfig, SetupError> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Whether the handshake agreed on HTTP/2.
#[must_use]
pub fn is_http2(alpn: Option<&[u8]>) -> bool {
    alpn == Some(H2)
}

fn cipher(suite: &SupportedCipherSuite) -> Cipher {
    match suite.suite() {
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => Cipher::ChaCha20,
        _ => Cipher::Aes,
    }
}

fn ticketer() -> Result<Arc<dyn ProducesTickets>, SetupError> {
    rustls::crypto::ring::Ticketer::new()
}

#[cfg(test)]
mod resumption_tests;
