//! DHCP of IPv4 (RFC 2131; options of RFC 2132, RFC 3396 and RFC 3442): how a machine without an address asks the router for one.
//!
//! Ethernet only. What a stranger wrote is read without trust: a value of the wrong length counts as absent, a list is cut at
//! its limit, and only a message that could be none at all is an error.

mod options;
mod packet;

use std::net::Ipv4Addr;

pub use options::{LIST_MAX, Options, ROUTES_MAX, Route, TEXT_MAX, code};
pub use packet::{decode_packet, encode_packet};

pub const CLIENT_PORT: u16 = 68;
pub const SERVER_PORT: u16 = 67;

/// Longest message that is read, in bytes: what fits one Ethernet frame. It is what servers are told they may send.
pub const MESSAGE_MAX: usize = 1472;

/// Shorter messages than BOOTP's are dropped by some servers and relays (RFC 1542, section 2.1).
const MESSAGE_MIN: usize = 300;

const FIXED_LENGTH: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const ETHERNET: u8 = 1;
const BROADCAST_FLAG: u16 = 0x8000;

const SERVER_NAME: std::ops::Range<usize> = 44..108;
const BOOT_FILE: std::ops::Range<usize> = 108..236;

/// An Ethernet address.
pub type Hardware = [u8; 6];

/// What a message wants (RFC 2132, section 9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Discover = 1,
    Offer,
    Request,
    Decline,
    Ack,
    Nak,
    Release,
    Inform,
}

/// One message, without the fields of BOOTP that DHCP clients leave empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// From a server.
    pub is_reply: bool,
    pub kind: Kind,
    /// Chosen by the client; ties a reply to its request.
    pub transaction: u32,
    /// Since the client began to ask, in seconds.
    pub seconds: u16,
    /// The client cannot take a unicast frame yet.
    pub wants_broadcast: bool,
    /// `ciaddr`: the address the client has and answers on; unspecified when it has none.
    pub client: Ipv4Addr,
    /// `yiaddr`: the address the server gives.
    pub given: Ipv4Addr,
    pub hardware: Hardware,
    pub options: Options,
}

/// Why bytes are no DHCP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDhcp {
    #[error("no UDP packet to a DHCP client")]
    Packet,
    #[error("shorter than a DHCP message, or longer than a frame")]
    Length,
    #[error("neither request nor reply, or not for Ethernet")]
    Header,
    #[error("no DHCP cookie")]
    Cookie,
    #[error("no known message type")]
    Kind,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        let kinds = [
            Self::Discover,
            Self::Offer,
            Self::Request,
            Self::Decline,
            Self::Ack,
            Self::Nak,
            Self::Release,
            Self::Inform,
        ];
        kinds.into_iter().find(|kind| *kind as u8 == byte)
    }
}

impl Message {
    /// Reads the payload of a UDP datagram.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotDhcp> {
        if bytes.len() > MESSAGE_MAX {
            return Err(NotDhcp::Length);
        }
        let (fixed, rest) = bytes.split_first_chunk::<FIXED_LENGTH>().ok_or(NotDhcp::Length)?;
        let (cookie, rest) = rest.split_first_chunk::<4>().ok_or(NotDhcp::Length)?;
        if *cookie != COOKIE {
            return Err(NotDhcp::Cookie);
        }
        let is_reply = match fixed {
            [REQUEST, ETHERNET, 6, ..] => false,
            [REPLY, ETHERNET, 6, ..] => true,
            _ => return Err(NotDhcp::Header),
        };
        let (kind, options) = options::decode(rest, &fixed[BOOT_FILE], &fixed[SERVER_NAME]);
        Ok(Self {
            is_reply,
            kind: kind.and_then(Kind::from_byte).ok_or(NotDhcp::Kind)?,
            transaction: u32::from_be_bytes(field(fixed, 4)),
            seconds: u16::from_be_bytes(field(fixed, 8)),
            wants_broadcast: u16::from_be_bytes(field(fixed, 10)) & BROADCAST_FLAG != 0,
            client: Ipv4Addr::from(field::<4>(fixed, 12)),
            given: Ipv4Addr::from(field::<4>(fixed, 16)),
            hardware: field(fixed, 28),
            options,
        })
    }

    /// The payload of the UDP datagram, padded to the length of a BOOTP message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; FIXED_LENGTH];
        out[0] = if self.is_reply { REPLY } else { REQUEST };
        out[1] = ETHERNET;
        out[2] = 6;
        out[4..8].copy_from_slice(&self.transaction.to_be_bytes());
        out[8..10].copy_from_slice(&self.seconds.to_be_bytes());
        let flags = if self.wants_broadcast { BROADCAST_FLAG } else { 0 };
        out[10..12].copy_from_slice(&flags.to_be_bytes());
        out[12..16].copy_from_slice(&self.client.octets());
        out[16..20].copy_from_slice(&self.given.octets());
        out[28..34].copy_from_slice(&self.hardware);
        out.extend_from_slice(&COOKIE);
        options::encode(&mut out, self.kind as u8, &self.options);
        if out.len() < MESSAGE_MIN {
            out.resize(MESSAGE_MIN, 0);
        }
        out
    }
}

/// `N` bytes of the fixed part from `at` on.
fn field<const N: usize>(fixed: &[u8; FIXED_LENGTH], at: usize) -> [u8; N] {
    *fixed[at..].first_chunk().expect("every field lies within the fixed part")
}

#[cfg(test)]
mod tests;
