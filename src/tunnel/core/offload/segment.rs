//! Cutting what the kernel sends: a super-packet of up to 64 KiB becomes packets of the tunnel's size (TSO, USO), and a
//! checksum that was left to the device is finished.

use super::transport::{IpHeader, TCP_FLAGS, TCP_ONLY_FIRST, TCP_ONLY_LAST, TCP_SEQUENCE, Transport};
use super::vnet_header::{ChecksumField, Segmentation, VnetHeader};
use crate::wire::ip::checksum::Sum;

/// What one read of the TUN gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalPacket<'a> {
    /// One packet, whole.
    Single(&'a [u8]),
    Super(SuperPacket<'a>),
}

/// Several packets of one TCP or UDP flow that share their headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuperPacket<'a> {
    /// They speak of the whole, or of nothing.
    headers: &'a [u8],
    payload: &'a [u8],
    ip: IpHeader,
    transport: Transport,
    /// Bytes of payload in each packet but the last; never 0.
    segment_size: usize,
}

/// The kernel and this process do not understand each other; nothing a stranger can cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    #[error("a checksum field outside of the packet")]
    Checksum,
    #[error("a super-packet of size 0")]
    Size,
    #[error("a super-packet with headers that do not fit it")]
    Headers,
}

/// Headers of a super-packet are at most this long: 60 bytes of IP and 60 of TCP.
pub const MAX_HEADER_LENGTH: usize = 120;

/// Takes the packet that came behind `header`.
pub fn take_local<'a>(header: &VnetHeader, packet: &'a mut [u8]) -> Result<LocalPacket<'a>, SegmentError> {
    let (size, kind) = match header.segmentation {
        Segmentation::None => {
            if let Some(field) = header.checksum {
                finish_checksum(field, packet)?;
            }
            return Ok(LocalPacket::Single(packet));
        }
        Segmentation::Tcp4(size) | Segmentation::Tcp6(size) => (size, Transport::Tcp),
        Segmentation::Udp(size) => (size, Transport::Udp),
    };
    SuperPacket::read(packet, usize::from(size), kind).map(LocalPacket::Super)
}

fn finish_checksum(field: ChecksumField, packet: &mut [u8]) -> Result<(), SegmentError> {
    let covered = packet.get_mut(usize::from(field.start)..).ok_or(SegmentError::Checksum)?;
    let at = usize::from(field.offset);
    let checksum = Sum::of(covered).checksum();
    let place = covered.get_mut(at..at + 2).ok_or(SegmentError::Checksum)?;
    // A UDP checksum of zero would say that there is none; for TCP both mean the same.
    place.copy_from_slice(&if checksum == [0; 2] { [0xff; 2] } else { checksum });
    Ok(())
}

impl<'a> SuperPacket<'a> {
    fn read(bytes: &'a [u8], segment_size: usize, transport: Transport) -> Result<Self, SegmentError> {
        if segment_size == 0 {
            return Err(SegmentError::Size);
        }
        let ip = IpHeader::read(bytes).ok_or(SegmentError::Headers)?;
        let header_length = transport.header_length(bytes, ip.length()).ok_or(SegmentError::Headers)?;
        let (headers, payload) = bytes.split_at(header_length);
        if payload.is_empty() {
            return Err(SegmentError::Headers);
        }
        Ok(Self { headers, payload, ip, transport, segment_size })
    }

    /// Datagrams of `segment_size` bytes, the last perhaps shorter, side by side in `payload`, and the headers that each is to have;
    /// lengths and checksums need not be there. `None` where there is no payload or no header.
    #[must_use]
    pub fn of_datagrams(headers: &'a [u8], payload: &'a [u8], segment_size: usize) -> Option<Self> {
        let ip = IpHeader::read(headers)?;
        let are_whole = Transport::Udp.header_length(headers, ip.length()) == Some(headers.len());
        (are_whole && !payload.is_empty() && segment_size > 0).then_some(Self {
            headers,
            payload,
            ip,
            transport: Transport::Udp,
            segment_size,
        })
    }

    /// A packet with the headers and the first bytes of the payload, for whoever looks at headers: `room` has at least
    /// [`MAX_HEADER_LENGTH`] + 1 bytes.
    #[must_use]
    pub fn head(&self, room: &mut [u8]) -> usize {
        let length = self.headers.len() + 1;
        room[..self.headers.len()].copy_from_slice(self.headers);
        room[self.headers.len()] = self.payload[0];
        self.ip.patch(room, length, 0);
        length
    }

    /// How many packets it makes.
    #[must_use]
    pub fn count(&self) -> usize {
        self.payload.len().div_ceil(self.segment_size)
    }

    /// Bytes of the longest of its packets.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.headers.len() + self.payload.len().min(self.segment_size)
    }

    /// Writes packet `number` (from 0, below [`SuperPacket::count`]) to `room`, which is at least
    /// [`SuperPacket::longest`] bytes; its length.
    #[must_use]
    pub fn write(&self, number: usize, room: &mut [u8]) -> usize {
        let begin = number * self.segment_size;
        let payload = &self.payload[begin..];
        let payload = &payload[..payload.len().min(self.segment_size)];
        let length = self.headers.len() + payload.len();
        let (header, body) = room[..length].split_at_mut(self.headers.len());
        header.copy_from_slice(self.headers);
        body.copy_from_slice(payload);
        self.ip.patch(header, length, number);
        let transport = &mut header[self.ip.length()..];
        let covered = transport.len() + payload.len();
        match self.transport {
            Transport::Tcp => self.patch_tcp(transport, number, begin),
            Transport::Udp => Transport::set_udp_length(transport, covered),
        }
        self.transport.set_checksum(transport, self.ip.pseudo_header(self.transport, covered), payload);
        length
    }

    fn patch_tcp(&self, header: &mut [u8], number: usize, begin: usize) {
        let sequence = &mut header[TCP_SEQUENCE..TCP_SEQUENCE + 4];
        let first = u32::from_be_bytes(sequence.try_into().expect("four bytes"));
        let begin = u32::try_from(begin).expect("a super-packet is shorter than 4 GiB");
        sequence.copy_from_slice(&first.wrapping_add(begin).to_be_bytes());
        if number > 0 {
            header[TCP_FLAGS] &= !TCP_ONLY_FIRST;
        }
        if number + 1 < self.count() {
            header[TCP_FLAGS] &= !TCP_ONLY_LAST;
        }
    }
}
