//! The Internet checksum (RFC 1071), in a form that sums quickly and adds up from parts.

use std::net::IpAddr;

/// A ones' complement sum of 16-bit words, not folded yet. Words are summed in the machine's byte order, which gives the
/// same checksum bytes (RFC 1071, section 2B). Parts add up when all but the last have an even length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Of `bytes`, as if a zero byte followed an odd one. At most 2^34 bytes, so that nothing overflows.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        Self(sum + u64::from(u32::from_ne_bytes(last)))
    }

    /// Of the pseudo-header that TCP and UDP cover (RFC 9293 section 3.1, RFC 8200 section 8.1); `length` of transport
    /// header and payload.
    #[must_use]
    pub fn of_pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Self {
        [source, destination]
            .iter()
            .map(|address| match address {
                IpAddr::V4(address) => Self::of(&address.octets()),
                IpAddr::V6(address) => Self::of(&address.octets()),
            })
            .fold(Self::of(&[0, protocol]), Self::plus)
            .plus(Self::of(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()))
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The sum itself, as bytes of a packet: what a checksum field holds whose rest the kernel adds.
    #[must_use]
    pub fn folded(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).expect("the carries were folded in").to_ne_bytes()
    }

    /// The checksum, as bytes of a packet.
    #[must_use]
    pub fn checksum(self) -> [u8; 2] {
        self.folded().map(|byte| !byte)
    }

    /// Whether data that holds its own checksum is whole.
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.folded() == [0xff; 2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Word by word in network order, as the RFC writes it.
    fn slow(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).expect("folded")
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            // Zero has two representations.
            let fast = u16::from_be_bytes(Sum::of(&bytes).folded());
            prop_assert!(fast == slow(&bytes) || (fast.is_multiple_of(0xffff) && slow(&bytes).is_multiple_of(0xffff)));
        }

        #[test]
        fn parts_of_even_length_add_up(
            first in prop::collection::vec(any::<[u8; 2]>(), 0..100),
            second in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let first = first.concat();
            let whole = [first.clone(), second.clone()].concat();
            prop_assert_eq!(Sum::of(&first).plus(Sum::of(&second)).folded(), Sum::of(&whole).folded());
        }
    }

    #[test]
    fn the_example_of_the_rfc() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::of(&bytes).folded(), [0xdd, 0xf2]);
        assert_eq!(Sum::of(&bytes).checksum(), [0x22, 0x0d]);
        assert!(Sum::of(&bytes).plus(Sum::of(&[0x22, 0x0d])).is_valid());
    }
}
