//! The header before each packet of a TUN that does offloads: `struct virtio_net_hdr` of the virtio specification (section
//! 5.1.6), in the machine's byte order.

/// Bytes of the header.
pub const VNET_HEADER_LENGTH: usize = 10;

/// The checksum field holds the sum of the pseudo-header alone; whoever sends the packet on adds the rest.
const NEEDS_CHECKSUM: u8 = 1;

const NO_SEGMENTATION: u8 = 0;
const TCP_OVER_IPV4: u8 = 1;
const TCP_OVER_IPV6: u8 = 4;
const UDP: u8 = 5;
/// Beside one of the above: the segments carry ECN's CWR, which belongs to the first alone.
const ECN: u8 = 0x80;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VnetHeader {
    pub segmentation: Segmentation,
    /// Where the checksum must be finished.
    pub checksum: Option<ChecksumField>,
    /// Bytes of all headers together; the kernel may leave it at a guess.
    pub header_length: u16,
}

/// What one super-packet is to be cut into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Segmentation {
    /// It is one packet.
    #[default]
    None,
    /// Segments of so many bytes of payload, the last perhaps shorter.
    Tcp4(u16),
    Tcp6(u16),
    /// Datagrams, as TCP's segments.
    Udp(u16),
}

/// Of a packet that leaves its checksum to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChecksumField {
    /// Where the covered bytes begin: the transport's header.
    pub start: u16,
    /// Where in them the field is.
    pub offset: u16,
}

/// The kernel's, or of a device that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownSegmentation(pub u8);

impl VnetHeader {
    pub fn decode(bytes: &[u8; VNET_HEADER_LENGTH]) -> Result<Self, UnknownSegmentation> {
        let [flags, kind, header_low, header_high, size_low, size_high, start_low, start_high, low, high] =
            *bytes;
        let size = u16::from_ne_bytes([size_low, size_high]);
        let segmentation = match kind & !ECN {
            NO_SEGMENTATION => Segmentation::None,
            TCP_OVER_IPV4 => Segmentation::Tcp4(size),
            TCP_OVER_IPV6 => Segmentation::Tcp6(size),
            UDP => Segmentation::Udp(size),
            _ => return Err(UnknownSegmentation(kind)),
        };
        let field = ChecksumField {
            start: u16::from_ne_bytes([start_low, start_high]),
            offset: u16::from_ne_bytes([low, high]),
        };
        let checksum = (flags & NEEDS_CHECKSUM != 0).then_some(field);
        Ok(Self { segmentation, checksum, header_length: u16::from_ne_bytes([header_low, header_high]) })
    }

    #[must_use]
    pub fn encode(&self) -> [u8; VNET_HEADER_LENGTH] {
        let (kind, size) = match self.segmentation {
            Segmentation::None => (NO_SEGMENTATION, 0),
            Segmentation::Tcp4(size) => (TCP_OVER_IPV4, size),
            Segmentation::Tcp6(size) => (TCP_OVER_IPV6, size),
            Segmentation::Udp(size) => (UDP, size),
        };
        let mut bytes = [0; VNET_HEADER_LENGTH];
        bytes[1] = kind;
        bytes[2..4].copy_from_slice(&self.header_length.to_ne_bytes());
        bytes[4..6].copy_from_slice(&size.to_ne_bytes());
        if let Some(field) = self.checksum {
            bytes[0] = NEEDS_CHECKSUM;
            bytes[6..8].copy_from_slice(&field.start.to_ne_bytes());
            bytes[8..10].copy_from_slice(&field.offset.to_ne_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for segmentation in
            [Segmentation::None, Segmentation::Tcp4(1228), Segmentation::Tcp6(1208), Segmentation::Udp(512)]
        {
            for checksum in [None, Some(ChecksumField { start: 20, offset: 16 })] {
                let header = VnetHeader { segmentation, checksum, header_length: 52 };
                assert_eq!(VnetHeader::decode(&header.encode()), Ok(header));
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let header = VnetHeader {
            segmentation: Segmentation::Tcp4(0x04cc),
            checksum: Some(ChecksumField { start: 20, offset: 16 }),
            header_length: 52,
        };
        let mut expected = vec![1, 1];
        for field in [52_u16, 0x04cc, 20, 16] {
            expected.extend(field.to_ne_bytes());
        }
        assert_eq!(header.encode().to_vec(), expected);
        let mut congested = header.encode();
        congested[1] |= 0x80;
        assert_eq!(VnetHeader::decode(&congested), Ok(header));
        congested[1] = 3;
        assert_eq!(VnetHeader::decode(&congested), Err(UnknownSegmentation(3)));
    }
}
