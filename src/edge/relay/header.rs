//! The PROXY header of one connection, between the route that wants it and the upstream that gets it.

use super::socket::Ends;
use crate::edge::core::proxy_header::{ProxyProtocol, header};

/// What goes to the upstream before the client's bytes, and how much of it is still to go. Empty where the route wants none.
pub(super) struct Header {
    bytes: Vec<u8>,
    left: usize,
}

impl Header {
    /// Of a connection between `ends`.
    pub fn new(version: Option<ProxyProtocol>, ends: Ends) -> Self {
        let bytes = version.map(|version| header(version, ends.client, ends.local)).unwrap_or_default();
        let left = bytes.len();
        Self { bytes, left }
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
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn what_is_sent_after_the_header_is_the_clients() {
        let at = SocketAddr::from(([127, 0, 0, 1], 1));
        let ends = Ends { client: at, local: at };
        let mut header = Header::new(Some(ProxyProtocol::V2), ends);
        assert_eq!(header.bytes().len(), 28);
        assert_eq!([20, 10, 5].map(|count| header.count_sent(count)), [0, 2, 5]);
        assert_eq!(Header::new(None, ends).count_sent(7), 7);
    }
}
