//! What the edge is told at start.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use super::core::external_account::ExternalAccount;
use super::core::limits::Ceilings;
use super::core::route::EdgeConfig;
use crate::health::Health;

/// Of each listening socket. Request bodies that no upstream takes are held up to an HTTP/2 connection's window of 256 KiB: 512 MiB at
/// the worst, 64 MiB from one source. Headers and responses under way come on top, per stream. A household behind one address with a
/// dozen browsers stays far below 256.
const CONNECTIONS: Ceilings = Ceilings { total: 2048, per_source: 256 };

/// Everything the edge needs besides its neighbours.
#[derive(Debug, Clone)]
pub struct EdgeSettings {
    pub config: EdgeConfig,
    /// ACME HTTP-01, the resident without TLS, redirects.
    pub http_port: u16,
    /// TLS by SNI: the resident and the sites.
    pub https_port: u16,
    /// The resident alone, without TLS.
    pub control_port: u16,
    /// Where the three ports, and sites without an address of their own, listen. `::` takes both families.
    pub bind: IpAddr,
    /// Also a name in the resident's self-signed certificate.
    pub lan_address: Option<IpAddr>,
    /// `None` orders no certificate: names without a stored one answer with a self-signed certificate.
    pub acme: Option<AcmeSettings>,
    /// On each listening socket.
    pub connections: Ceilings,
    /// Fresh random bytes for back-off jitter.
    pub seed: [u8; 32],
    /// Where ports that cannot be opened and certificates that cannot be had are told.
    pub health: Health,
}

impl EdgeSettings {
    /// The usual ports, all addresses, no certificate authority.
    #[must_use]
    pub fn new(config: EdgeConfig, seed: [u8; 32]) -> Self {
        Self {
            config,
            http_port: 80,
            https_port: 443,
            control_port: 8080,
            bind: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            lan_address: None,
            acme: None,
            connections: CONNECTIONS,
            seed,
            health: Health::default(),
        }
    }
}

/// The certificate authority (RFC 8555).
#[derive(Debug, Clone)]
pub struct AcmeSettings {
    /// URL of its directory.
    pub directory: String,
    /// PEM roots trusted for the directory's own TLS, instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// Where the authority may write to.
    pub email: Option<String>,
    /// For an authority that takes customers only; needed once, when the account is made.
    pub external_account: Option<ExternalAccount>,
}
