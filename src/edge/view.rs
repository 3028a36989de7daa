//! What the edge serves at this moment, for those who only look.

use std::sync::Arc;

use tokio::sync::watch;

use super::core::acme_order::NameStanding;
use super::core::certificate::Validity;
use super::core::route::EdgeConfig;
use super::tls::Certificates;

/// Stays up to date; cheap to clone.
#[derive(Debug, Clone)]
pub struct EdgeView {
    pub(super) certificates: Arc<Certificates>,
    pub(super) standings: watch::Receiver<Vec<NameStanding>>,
    pub(super) served: watch::Receiver<EdgeConfig>,
}

/// A name and its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateView {
    pub name: String,
    /// Of a certificate of the authority; `None` while a self-signed one answers.
    pub validity: Option<Validity>,
    /// How its orders stand; `None` for a name that no authority certifies.
    pub standing: Option<NameStanding>,
}

impl EdgeView {
    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> EdgeConfig {
        self.served.borrow().clone()
    }

    /// Every name that is answered by TLS.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateView> {
        let standings = self.standings.borrow();
        let view = |(name, validity): (String, Option<Validity>)| {
            let standing = standings.iter().find(|standing| standing.name == name).cloned();
            CertificateView { name, validity, standing }
        };
        self.certificates.held().into_iter().map(view).collect()
    }
}
