//! Flows of datagrams that begin and end in this process instead of in the kernel: what it sends is given headers here, and
//! what comes for it is told apart from the packets of this machine's sockets.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::wire::ip::{
    IPV4_HEADER_LENGTH, IPV6_HEADER_LENGTH, PROTOCOL_UDP, Packet, Transport, UDP_HEADER_LENGTH, assemble,
};

/// Offset in an IPv4 header, and the flag there that routers are not to cut it.
const IPV4_FLAGS: usize = 6;
const DONT_FRAGMENT: u8 = 0x40;

/// Never used for another flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowId(pub u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowAddresses {
    /// Of this machine.
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

/// Which flows there are. As many as are begun: the caller keeps the limit.
#[derive(Debug, Default)]
pub struct Flows {
    ids: HashMap<FlowAddresses, FlowId>,
    /// What stands before every datagram.
    headers: HashMap<FlowId, (FlowAddresses, Arc<[u8]>)>,
}

impl Flows {
    /// Begins a flow; one between the same addresses gets no more datagrams. Nothing happens where the addresses are of different families.
    pub fn begin(&mut self, id: FlowId, addresses: FlowAddresses) {
        let Some(headers) = headers(&addresses) else { return };
        self.ids.insert(addresses, id);
        self.headers.insert(id, (addresses, headers));
    }

    pub fn end(&mut self, id: FlowId) {
        let Some((addresses, _)) = self.headers.remove(&id) else { return };
        if self.ids.get(&addresses) == Some(&id) {
            self.ids.remove(&addresses);
        }
    }

    /// IP and UDP headers of its datagrams, without their lengths and checksums.
    #[must_use]
    pub fn headers(&self, id: FlowId) -> Option<Arc<[u8]>> {
        self.headers.get(&id).map(|(_, headers)| Arc::clone(headers))
    }

    /// The flow that a packet from a peer belongs to.
    #[must_use]
    pub fn of(&self, packet: &Packet) -> Option<FlowId> {
        let Transport::Udp { ports } = packet.transport else { return None };
        if self.ids.is_empty() {
            return None;
        }
        let local = SocketAddr::new(packet.destination, ports.destination);
        let remote = SocketAddr::new(packet.source, ports.source);
        self.ids.get(&FlowAddresses { local, remote }).copied()
    }
}

/// IP and UDP headers; lengths and checksums are not those of any datagram.
fn headers(addresses: &FlowAddresses) -> Option<Arc<[u8]>> {
    let FlowAddresses { local, remote } = addresses;
    let mut udp = [0; UDP_HEADER_LENGTH];
    udp[..2].copy_from_slice(&local.port().to_be_bytes());
    udp[2..4].copy_from_slice(&remote.port().to_be_bytes());
    let mut headers = assemble(local.ip(), remote.ip(), PROTOCOL_UDP, &udp)?;
    if local.is_ipv4() {
        headers[IPV4_FLAGS] |= DONT_FRAGMENT;
    }
    Some(headers.into())
}

/// The longest datagram that goes whole into one packet of so many bytes.
#[must_use]
pub fn longest_datagram(is_ipv4: bool, packet: usize) -> usize {
    let ip = if is_ipv4 { IPV4_HEADER_LENGTH } else { IPV6_HEADER_LENGTH };
    packet.saturating_sub(ip + UDP_HEADER_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::core::offload::segment::SuperPacket;

    fn addresses(local: &str, remote: &str) -> FlowAddresses {
        let address = |text: &str| text.parse().expect("an address");
        FlowAddresses { local: address(local), remote: address(remote) }
    }

    fn back(addresses: FlowAddresses) -> FlowAddresses {
        FlowAddresses { local: addresses.remote, remote: addresses.local }
    }

    #[test]
    fn datagrams_have_whole_headers_and_their_answers_belong_to_the_flow() {
        for there in [
            addresses("100.64.0.1:40000", "100.64.0.2:27015"),
            addresses("[fd7a:115c:a1e0::1]:40000", "[fd7a:115c:a1e0::2]:27015"),
        ] {
            let (mut flows, mut answering) = (Flows::default(), Flows::default());
            flows.begin(FlowId(1), there);
            answering.begin(FlowId(7), back(there));
            let headers = flows.headers(FlowId(1)).expect("begun");
            let datagrams = SuperPacket::of_datagrams(&headers, b"twotwoone", 3).expect("some");
            assert_eq!(datagrams.count(), 3);
            let mut room = [0; 100];
            let length = datagrams.write(1, &mut room);
            let packet = Packet::parse(&room[..length]).expect("a packet");
            assert_eq!((packet.length, packet.source), (length, there.local.ip()));
            assert_eq!(&room[length - 3..length], b"two");
            if there.local.is_ipv4() {
                assert_eq!(room[IPV4_FLAGS..IPV4_FLAGS + 2], [DONT_FRAGMENT, 0]);
            }
            assert_eq!(answering.of(&packet), Some(FlowId(7)));
            assert_eq!(flows.of(&packet), None, "it is not for us");
            answering.end(FlowId(7));
            assert_eq!(answering.of(&packet), None);
        }
    }

    #[test]
    fn the_end_of_a_flow_leaves_the_one_that_took_its_place() {
        let there = addresses("100.64.0.1:40000", "100.64.0.2:27015");
        let mut flows = Flows::default();
        flows.begin(FlowId(1), there);
        flows.begin(FlowId(2), there);
        flows.end(FlowId(1));
        assert_eq!(flows.ids.get(&there), Some(&FlowId(2)));
        flows.end(FlowId(2));
        assert!(flows.ids.is_empty() && flows.headers.is_empty());
        flows.begin(FlowId(3), addresses("100.64.0.1:1", "[fd7a::1]:1"));
        assert!(flows.headers(FlowId(3)).is_none());
    }
}
