//! The one model built from the three files.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::appliance::core::settings::{NetworkSettings, TimeSettings};
use crate::coordinator::core::policy::Policy;
use crate::edge::core::external_account::ExternalAccount;
use crate::edge::core::route::EdgeConfig;
use crate::wire::admin::TLS_PORT;

/// Everything the program is told by its owner.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The coordinator's public DNS name, in lower case.
    pub name: Option<String>,
    /// The domain that nodes' names stand in, in lower case.
    pub base_domain: String,
    pub lan: Lan,
    /// Of the box, where `genkan init` runs; elsewhere the machine has a network of its own.
    pub network: NetworkSettings,
    /// As `network`.
    pub time: TimeSettings,
    pub ports: Ports,
    pub acme: Acme,
    pub edge: EdgeConfig,
    pub policy: Policy,
    pub log: Log,
    /// On the card: whether a copy of the box's keys lies on the owner's partition.
    pub keep_identity_copy: bool,
}

/// Which of the machine's addresses is the house's, where it has several; what is not given is found out at start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lan {
    pub interface: Option<String>,
    pub address: Option<Ipv4Addr>,
}

/// The ports of the program itself; all TCP but `stun` and `wireguard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    pub http: u16,
    pub https: u16,
    /// The coordinator without TLS.
    pub control: u16,
    pub stun: u16,
    pub wireguard: u16,
    /// Metrics; for the LAN and the tailnet only.
    pub admin: u16,
    /// Administration by API key; for the LAN and the tailnet only.
    pub api: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// URL of the directory (RFC 8555, section 7.1.1).
    pub directory: String,
    /// PEM of the authority that signs the directory's own certificate, when the usual roots do not.
    pub ca_file: Option<PathBuf>,
    pub email: Option<String>,
    /// For an authority that takes customers only.
    pub external_account: Option<ExternalAccount>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    pub level: tracing::Level,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            name: None,
            base_domain: DEFAULT_BASE_DOMAIN.to_owned(),
            lan: Lan::default(),
            network: NetworkSettings::default(),
            time: TimeSettings::default(),
            ports: Ports::default(),
            acme: Acme::default(),
            edge: EdgeConfig::default(),
            policy: Policy::default(),
            log: Log::default(),
            keep_identity_copy: true,
        }
    }
}

/// Below the domain that is set aside for private use and never delegated.
pub const DEFAULT_BASE_DOMAIN: &str = "tailnet.internal";

impl Default for Ports {
    fn default() -> Self {
        Self { http: 80, https: 443, control: 8080, stun: 3478, wireguard: 41641, admin: 9090, api: TLS_PORT }
    }
}

impl Default for Acme {
    fn default() -> Self {
        let directory = "https://acme-v02.api.letsencrypt.org/directory".to_owned();
        Self { directory, ca_file: None, email: None, external_account: None }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: tracing::Level::INFO }
    }
}
