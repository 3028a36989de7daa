//! Why the edge does not start, or stays as it was.

use std::io;
use std::net::SocketAddr;

use super::layer4::Layer4Error;
use super::relay::RelayError;
use super::tls::CertificateError;
use super::udp_proxy::UdpError;
use crate::base::condition::Condition;
use crate::health::catalogue::NOT_LISTENING;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The environment: the port is taken or forbidden, or the address is not of this machine.
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    /// A route of layer 4 is not served.
    #[error(transparent)]
    Layer4(#[from] Layer4Error),
    /// The environment: no certificate to answer with.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The environment: no cryptography.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The runtime is going down.
    #[error("the program is stopping")]
    Stopping,
}

impl EdgeError {
    /// What the owner is told when a port could not be opened.
    #[must_use]
    pub fn condition(&self) -> Option<Condition> {
        let (protocol, address, source) = match self {
            Self::Listen { address, source }
            | Self::Layer4(Layer4Error::Tcp(RelayError::Listen { address, source })) => {
                ("TCP", address, source)
            }
            Self::Layer4(Layer4Error::Udp(UdpError::Listen { address, source })) => ("UDP", address, source),
            _ => return None,
        };
        let condition = NOT_LISTENING
            .condition(format!("{protocol} port {} cannot be opened", address.port()))
            .about(format!("{protocol} {address}"))
            .because(format!("Listening on {address} failed: {source}."))
            .cure("Choose another port or address for it, or stop the program that has it.");
        Some(condition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_told_and_a_lack_of_cryptography_is_not_a_port() {
        let (address, source) = ("[::]:2222".parse().expect("an address"), io::ErrorKind::AddrInUse.into());
        let told = EdgeError::Listen { address, source }.condition().expect("a port");
        assert_eq!((told.code.as_str(), told.what.as_str()), ("PUB-01", "TCP port 2222 cannot be opened"));
        assert_eq!(EdgeError::Stopping.condition(), None);
    }
}
