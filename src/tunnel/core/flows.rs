//! Flows of datagrams that begin and end in this process instead of in the kernel: what it sends is given headers here, and
//! what comes for it is told apart from the packets of this machine's sockets.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::wire::ip::{
    IPV4_HEADER_LENGTH, IPV6_HEADER_LENGTH, PROTOCOL_UDP, Packet, Transport, UDP_HEADER_LENGTH,
};

const HOP_LIMIT: u8 = 64;
/// In the seventh byte of an IPv4 header: routers are not to cut it.
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
    headers: HashMap<FlowId, (FlowAddresses, Headers)>,
}

/// IP and UDP headers without lengths and checksums.
#[derive(Debug, Clone, Copy)]
pub struct Headers {
    bytes: [u8; IPV6_HEADER_LENGTH + UDP_HEADER_LENGTH],
    length: usize,
}

impl Flows {
    /// Begins a flow; one between the same addresses gets no more datagrams. Nothing happens where the addresses are of different families.
    pub fn begin(&mut self, id: FlowId, addresses: FlowAddresses) {
        let Some(headers) = Headers::new(&addresses) else { return };
        self.ids.insert(addresses, id);
        self.headers.insert(id, (addresses, headers));
    }

    pub fn end(&mut self, id: FlowId) {
        let Some((addresses, _)) = self.headers.remove(&id) else { return };
        if self.ids.get(&addresses) == Some(&id) {
            self.ids.remove(&addresses);
        }
    }

    #[must_use]
    pub fn headers(&self, id: FlowId) -> Option<Headers> {
        self.headers.get(&id).map(|(_, headers)| *headers)
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

impl Headers {
    fn new(addresses: &FlowAddresses) -> Option<Self> {
        let mut bytes = [0; IPV6_HEADER_LENGTH + UDP_HEADER_LENGTH];
        let ip = match (addresses.local.ip(), addresses.remote.ip()) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                bytes[0] = 0x45;
                bytes[6] = DONT_FRAGMENT;
                (bytes[8], bytes[9]) = (HOP_LIMIT, PROTOCOL_UDP);
                bytes[12..16].copy_from_slice(&local.octets());
                bytes[16..20].copy_from_slice(&remote.octets());
                IPV4_HEADER_LENGTH
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                bytes[0] = 0x60;
                (bytes[6], bytes[7]) = (PROTOCOL_UDP, HOP_LIMIT);
                bytes[8..24].copy_from_slice(&local.octets());
                bytes[24..40].copy_from_slice(&remote.octets());
                IPV6_HEADER_LENGTH
            }
            _ => return None,
        };
        bytes[ip..ip + 2].copy_from_slice(&addresses.local.port().to_be_bytes());
        bytes[ip + 2..ip + 4].copy_from_slice(&addresses.remote.port().to_be_bytes());
        Some(Self { bytes, length: ip + UDP_HEADER_LENGTH })
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
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
            let datagrams = SuperPacket::of_datagrams(headers.bytes(), b"twotwoone", 3).expect("some");
            assert_eq!(datagrams.count(), 3);
            let mut room = [0; 100];
            let length = datagrams.write(1, &mut room);
            let packet = Packet::parse(&room[..length]).expect("a packet");
            assert_eq!((packet.length, packet.source), (length, there.local.ip()));
            assert_eq!(&room[length - 3..length], b"two");
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
