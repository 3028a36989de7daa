//! What the edge is told at start.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use super::core::cipher_order::Processor;
use super::core::external_account::ExternalAccount;
use super::core::listen_plan::{OwnPorts, sockets};
use super::core::route::{EdgeConfig, Transport};
use crate::base::ceilings::Ceilings;
use crate::base::roll_call::RollCall;
use crate::health::Health;

/// Of each listening socket. Request bodies that no upstream takes are held up to an HTTP/2 connection's window of 128 KiB: 128 MiB at
/// the worst, 32 MiB from one source, on a machine that may have 512 MB in all. Only TLS sockets speak HTTP/2, and usually there is
/// one. (Envoy's advice for an edge, 1 MiB a connection, would be 1 GiB here: it counts on a memory watch that this program does not
/// have.) Headers and responses under way come on top, per stream. A household behind one address with a dozen browsers stays far below
/// 256.
const CONNECTIONS: Ceilings = Ceilings { total: 1024, per_source: 256 };

/// Over all routes, where descriptors allow: two full ones.
pub const UDP_FLOWS: usize = 2048;

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
    /// Flows of layer 4 UDP over all routes, each a descriptor.
    pub udp_flows: usize,
    /// Where the loops of the edge show that they turn.
    pub loops: RollCall,
    /// What TLS prefers hangs on it.
    pub processor: Processor,
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
            udp_flows: UDP_FLOWS,
            loops: RollCall::default(),
            processor: Processor { has_aes: true },
            seed,
            health: Health::default(),
        }
    }

    /// Descriptors that are open when every ceiling is reached: of each connection both sides, of each flow the upstream's.
    #[must_use]
    pub fn descriptors_max(&self) -> usize {
        let Self { bind, http_port: http, https_port: https, control_port: control, .. } = *self;
        let listeners = sockets(&self.config, OwnPorts { bind, http, https, control }).len();
        let layer4 = |transport| {
            let listens = self.config.layer4_servers.iter().flat_map(|server| &server.listen);
            listens.filter(|listen| listen.transport == transport).count()
        };
        let (tcp, udp) = (layer4(Transport::Tcp), layer4(Transport::Udp));
        listeners * (1 + 2 * self.connections.total)
            + tcp * (1 + 2 * self.config.layer4_connections.total)
            + udp
            + if udp == 0 { 0 } else { self.udp_flows }
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
