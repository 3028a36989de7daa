//! STUN binding (RFC 5389): a node asks from which address its datagrams arrive.
//!
//! Only plain binding requests are understood; anything else is not for us and gets no answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Twelve bytes chosen by the client that tie an answer to its request.
pub type TransactionId = [u8; 12];

/// Longest answer: header, and XOR-MAPPED-ADDRESS of an IPv6 address.
pub const MAX_ANSWER: usize = HEADER + ATTRIBUTE_HEADER + 20;

/// Longest request that is looked at: one datagram on any path.
pub const MAX_REQUEST: usize = 1280;

const HEADER: usize = 20;
const ATTRIBUTE_HEADER: usize = 4;
const MAGIC_COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;

const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const SOFTWARE: u16 = 0x8022;
const FINGERPRINT: u16 = 0x8028;
/// Attributes below this must be understood by who answers.
const FIRST_OPTIONAL: u16 = 0x8000;

const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// An answer may exceed its request by this much: Tailscale's 40-byte request over IPv6 needs 44 bytes of answer.
const GROWTH_ALLOWED: usize = 4;

/// A binding request that deserves an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingRequest {
    pub transaction: TransactionId,
    /// Bytes of the datagram, which bound the answer: a forged source address must gain its victim no more traffic.
    pub length: usize,
}

impl BindingRequest {
    /// `None` for everything that is not a well-formed binding request without demands: other protocols, wrong lengths, a
    /// false FINGERPRINT, attributes that would have to be understood (CHANGE-REQUEST, authentication).
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let (transaction, attributes) = parse_header(datagram, BINDING_REQUEST)?;
        let mut rest = attributes;
        while !rest.is_empty() {
            let offset = datagram.len() - rest.len();
            let (kind, value, behind) = split_attribute(rest)?;
            match kind {
                FINGERPRINT if !is_fingerprint_of(&datagram[..offset], value) || !behind.is_empty() => {
                    return None;
                }
                FINGERPRINT | FIRST_OPTIONAL.. => {}
                0..FIRST_OPTIONAL => return None,
            }
            rest = behind;
        }
        Some(Self { transaction, length: datagram.len() })
    }

    /// The datagram that tells `source`, the sender, its address. `None` when it would outgrow the request.
    #[must_use]
    pub fn answer(&self, source: SocketAddr) -> Option<Vec<u8>> {
        let mut value = vec![0, family(source.ip())];
        value.extend_from_slice(&(source.port() ^ cookie_port()).to_be_bytes());
        match source.ip() {
            IpAddr::V4(ip) => value.extend(mask(ip.octets(), &self.transaction)),
            IpAddr::V6(ip) => value.extend(mask(ip.octets(), &self.transaction)),
        }
        let mut out = Vec::with_capacity(MAX_ANSWER);
        put_header(&mut out, BINDING_SUCCESS, ATTRIBUTE_HEADER + value.len(), &self.transaction);
        put_attribute(&mut out, XOR_MAPPED_ADDRESS, &value);
        (out.len() <= self.length + GROWTH_ALLOWED).then_some(out)
    }
}

/// A client's request, as Tailscale writes it: `software` (a multiple of four bytes, at most 64) and FINGERPRINT.
#[must_use]
pub fn encode_request(transaction: &TransactionId, software: &[u8]) -> Vec<u8> {
    debug_assert!(software.len().is_multiple_of(4) && software.len() <= 64, "padding is not written");
    let mut out = Vec::new();
    put_header(&mut out, BINDING_REQUEST, ATTRIBUTE_HEADER + software.len() + 8, transaction);
    put_attribute(&mut out, SOFTWARE, software);
    let fingerprint = crc32(&out) ^ FINGERPRINT_XOR;
    put_attribute(&mut out, FINGERPRINT, &fingerprint.to_be_bytes());
    out
}

/// The mapped address in a server's answer. `None` for anything else.
#[must_use]
pub fn parse_answer(datagram: &[u8]) -> Option<(TransactionId, SocketAddr)> {
    let (transaction, mut rest) = parse_header(datagram, BINDING_SUCCESS)?;
    while !rest.is_empty() {
        let (kind, value, behind) = split_attribute(rest)?;
        if kind == XOR_MAPPED_ADDRESS {
            return Some((transaction, parse_mapped(value, &transaction)?));
        }
        rest = behind;
    }
    None
}

fn parse_header(datagram: &[u8], message: u16) -> Option<(TransactionId, &[u8])> {
    if datagram.len() > MAX_REQUEST {
        return None;
    }
    let (header, attributes) = datagram.split_first_chunk::<HEADER>()?;
    let [t0, t1, l0, l1, cookie @ .., _, _, _, _, _, _, _, _, _, _, _, _] = header;
    let right = u16::from_be_bytes([*t0, *t1]) == message
        && usize::from(u16::from_be_bytes([*l0, *l1])) == attributes.len()
        && *cookie == MAGIC_COOKIE;
    let transaction = *header.last_chunk()?;
    right.then_some((transaction, attributes))
}

/// Type, value, and what follows its padding.
fn split_attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let ([t0, t1, l0, l1], rest) = bytes.split_first_chunk::<ATTRIBUTE_HEADER>()?;
    let length = usize::from(u16::from_be_bytes([*l0, *l1]));
    let value = rest.get(..length)?;
    Some((u16::from_be_bytes([*t0, *t1]), value, rest.get(length.next_multiple_of(4)..)?))
}

fn parse_mapped(value: &[u8], transaction: &TransactionId) -> Option<SocketAddr> {
    let ([_, family, p0, p1], address) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([*p0, *p1]) ^ cookie_port();
    let ip = match family {
        1 => IpAddr::V4(Ipv4Addr::from(mask::<4>(address.try_into().ok()?, transaction))),
        2 => IpAddr::V6(Ipv6Addr::from(mask::<16>(address.try_into().ok()?, transaction))),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// XOR with magic cookie and transaction id (RFC 5389 section 15.2); its own inverse.
fn mask<const N: usize>(mut address: [u8; N], transaction: &TransactionId) -> [u8; N] {
    for (byte, key) in address.iter_mut().zip(MAGIC_COOKIE.iter().chain(transaction)) {
        *byte ^= key;
    }
    address
}

fn cookie_port() -> u16 {
    u16::from_be_bytes([MAGIC_COOKIE[0], MAGIC_COOKIE[1]])
}

fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 1 } else { 2 }
}

fn put_header(out: &mut Vec<u8>, message: u16, length: usize, transaction: &TransactionId) {
    out.extend_from_slice(&message.to_be_bytes());
    out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(&MAGIC_COOKIE);
    out.extend_from_slice(transaction);
}

fn put_attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(value);
}

fn is_fingerprint_of(covered: &[u8], value: &[u8]) -> bool {
    value == (crc32(covered) ^ FINGERPRINT_XOR).to_be_bytes()
}

/// CRC-32 of ITU V.42, bit by bit: requests are 40 bytes.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests;
