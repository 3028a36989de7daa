//! What a datagram on the WireGuard port is, told from its first bytes.

use super::disco;

const STUN_HEADER_LENGTH: usize = 20;
const STUN_MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const GENEVE_HEADER_LENGTH: usize = 8;
const GENEVE_DISCO: [u8; 2] = [0x7a, 0x11];
const GENEVE_WIREGUARD: [u8; 2] = [0x7a, 0x12];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatagramKind {
    /// RFC 8489: an answer to a request of ours, or a stray request.
    Stun,
    /// RFC 8926, as used by Tailscale's peer relays.
    Geneve,
    Disco,
    /// Or rubbish: only decryption tells.
    WireGuard,
}

/// In the order of Tailscale's receiver, so that both sides read an ambiguous datagram alike.
#[must_use]
pub fn classify(datagram: &[u8]) -> DatagramKind {
    if is_stun(datagram) {
        DatagramKind::Stun
    } else if is_geneve(datagram) {
        DatagramKind::Geneve
    } else if disco::is_disco(datagram) {
        DatagramKind::Disco
    } else {
        DatagramKind::WireGuard
    }
}

fn is_stun(datagram: &[u8]) -> bool {
    datagram.len() >= STUN_HEADER_LENGTH
        && datagram[0] & 0xc0 == 0
        && datagram[1] == 0x01
        && datagram[4..8] == STUN_MAGIC_COOKIE
}

fn is_geneve(datagram: &[u8]) -> bool {
    if datagram.len() < GENEVE_HEADER_LENGTH
        || datagram[0] & 0xc0 != 0
        || datagram[1] & 0x3f != 0
        || datagram[7] != 0
    {
        return false;
    }
    let (header, inner) = datagram.split_at(GENEVE_HEADER_LENGTH);
    header[2..4] == GENEVE_WIREGUARD || (header[2..4] == GENEVE_DISCO && disco::is_disco(inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn disco_packet() -> Vec<u8> {
        let mut packet = disco::MAGIC.to_vec();
        packet.resize(62, 0);
        packet
    }

    #[test]
    fn each_kind_is_told_apart() {
        let mut stun = vec![0x01, 0x01, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        assert_eq!(classify(&stun), DatagramKind::WireGuard, "shorter than a STUN header");
        stun.resize(20, 0);
        assert_eq!(classify(&stun), DatagramKind::Stun);
        assert_eq!(classify(&disco_packet()), DatagramKind::Disco);
        assert_eq!(classify(&disco_packet()[..61]), DatagramKind::WireGuard);
        assert_eq!(classify(&[4, 0, 0, 0, 1, 2, 3, 0x80, 9]), DatagramKind::WireGuard);
        assert_eq!(classify(&[]), DatagramKind::WireGuard);
    }

    #[test]
    fn geneve_disco_needs_the_magic_inside() {
        let mut packet = vec![0, 0, 0x7a, 0x11, 0, 0, 1, 0];
        assert_eq!(classify(&packet), DatagramKind::WireGuard);
        packet.extend_from_slice(&disco_packet());
        assert_eq!(classify(&packet), DatagramKind::Geneve);
        assert_eq!(classify(&[0, 0, 0x7a, 0x12, 0, 0, 1, 0, 4]), DatagramKind::Geneve);
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_kind(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let kind = classify(&bytes);
            prop_assert_eq!(kind == DatagramKind::Disco, disco::is_disco(&bytes) && !is_stun(&bytes));
        }
    }
}
