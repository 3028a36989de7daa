//! The PROXY header of one connection, between the route that wants it and the upstream that gets it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use super::socket;
use crate::edge::core::proxy_header::{ProxyProtocol, header};

/// What goes to the upstream before the client's bytes, and how much of it is still to go. Empty where the route wants none.
pub(super) struct Header {
    bytes: Vec<u8>,
    left: usize,
}

impl Header {
    /// Of the connection from `client` on the accepted `socket`.
    ///
    /// # Errors
    /// As [`socket::local`].
    pub fn new(version: Option<ProxyProtocol>, client: SocketAddr, socket: &impl AsFd) -> io::Result<Self> {
        let wanted =
            version.map(|version| Ok::<_, io::Error>(header(version, client, socket::local(socket)?)));
        let bytes = wanted.transpose()?.unwrap_or_default();
        let left = bytes.len();
        Ok(Self { bytes, left })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes note that the upstream was sent `count` bytes; gives how many of them were the client's.
    pub fn count_sent(&mut self, count: usize) -> usize {
        let own = self.left.min(count);
        self.left -= own;
        count - own
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_is_sent_after_the_header_is_the_clients() {
        let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let client = SocketAddr::from(([127, 0, 0, 1], 1));
        let header = |version| Header::new(version, client, &socket).expect("a socket");
        let mut first = header(Some(ProxyProtocol::V2));
        assert_eq!(first.bytes().len(), 28);
        assert_eq!([20, 10, 5].map(|count| first.count_sent(count)), [0, 2, 5]);
        assert_eq!(header(None).count_sent(7), 7);
    }
}
