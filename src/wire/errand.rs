//! What PID 1 and its children without privileges say to each other: one JSON object a line over a socket pair, at most
//! [`LINE_MAX`] bytes each.
//!
//! The children read what strangers send (DHCP, DNS, SNTP). PID 1 reads these few values instead, and checks each again: a
//! child that was taken over can offer a wrong address or a wrong time, and no more.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::dhcp::Hardware;
use super::sntp::UnixNanos;

/// Longest line with its end, in bytes; a longer one ends the conversation.
pub const LINE_MAX: usize = 8 * 1024;

/// Nanoseconds of the kernel's monotonic clock, which all processes share and nobody sets.
pub type MonotonicNanos = u64;

/// To the child that asks for an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseOrder {
    /// The first line.
    Start {
        hardware: Hardware,
        /// What the router may call the box.
        host_name: String,
        /// The lease of the last time, to ask for the same address again.
        remembered: Option<Lease>,
        /// For transaction numbers and waiting times.
        seed: [u8; 32],
        link: bool,
    },
    /// A cable was plugged in or out.
    Link { up: bool },
}

/// From the child that asks for an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseReport {
    /// The address may be used, until the lease ends or something else is reported.
    Bound(Lease),
    /// The address may not be used any longer.
    Lost(LeaseEnd),
}

/// Why an address may not be used any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseEnd {
    /// The server said no.
    Refused,
    /// Nobody prolonged it.
    Expired,
}

/// What a server lent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// With the length of the link's prefix.
    pub address: Ipv4Net,
    pub server: Ipv4Addr,
    /// In seconds; `u32::MAX` is for ever.
    pub seconds: u32,
    /// In seconds from the start of the lease.
    pub renew_after: u32,
    /// In seconds from the start of the lease.
    pub rebind_after: u32,
    pub routes: Vec<LeaseRoute>,
    pub dns: Vec<Ipv4Addr>,
    pub domain: Option<String>,
    pub time_servers: Vec<Ipv4Addr>,
    /// In bytes.
    pub mtu: Option<u16>,
}

/// A way that the server tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRoute {
    pub prefix: Ipv4Net,
    /// `None`: the prefix is on the link itself.
    pub via: Option<Ipv4Addr>,
}

/// To the child that asks for the time: its only line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOrder {
    /// Asked at once.
    pub addresses: Vec<SocketAddr>,
    /// Looked up, and asked when the addresses do not suffice.
    pub names: Vec<String>,
    /// Who knows names.
    pub dns: Vec<SocketAddr>,
    /// Servers that want no questions from this box for now.
    pub shunned: Vec<IpAddr>,
    /// A time that is not decades off: timestamps do not name their era.
    pub near: UnixNanos,
    pub seed: [u8; 32],
}

/// From the child that asks for the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeReport {
    Sample(TimeSample),
    /// The server wants no questions, or fewer.
    Shun(IpAddr),
    /// Everybody has answered or let its time pass. How many were asked.
    Done {
        asked: u8,
    },
}

/// One server's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeSample {
    pub server: IpAddr,
    /// When the answer came.
    pub at: MonotonicNanos,
    /// What time it was then.
    pub time: UnixNanos,
    /// How far it may be off, in nanoseconds.
    pub error: u64,
}

/// A line with its end. `None` when it would be too long, which a sender's own limits prevent.
#[must_use]
pub fn encode<T: Serialize>(message: &T) -> Option<Vec<u8>> {
    let mut line = serde_json::to_vec(message).ok()?;
    line.push(b'\n');
    (line.len() <= LINE_MAX).then_some(line)
}

/// Bytes of a conversation cut into lines; holds at most one unfinished line.
#[derive(Debug, Default)]
pub struct Lines {
    pending: Vec<u8>,
}

/// The other side does not keep to the form; there is nothing more to hear from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    #[error("a line of more than {LINE_MAX} bytes")]
    Long,
    #[error("a line that cannot be read: {0}")]
    Form(String),
}

impl Lines {
    /// Takes what was read, and gives the messages whose lines are whole.
    pub fn take<T: DeserializeOwned>(&mut self, bytes: &[u8]) -> Result<Vec<T>, BadLine> {
        self.pending.extend_from_slice(bytes);
        let end = self.pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = self.pending.split_off(end);
        let whole = std::mem::replace(&mut self.pending, rest);
        if self.pending.len() > LINE_MAX {
            return Err(BadLine::Long);
        }
        let lines = whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(read_line).collect()
    }
}

fn read_line<T: DeserializeOwned>(line: &[u8]) -> Result<T, BadLine> {
    if line.len() >= LINE_MAX {
        return Err(BadLine::Long);
    }
    serde_json::from_slice(line).map_err(|error| BadLine::Form(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let order = LeaseOrder::Link { up: true };
        let line = encode(&order).expect("short");
        assert_eq!(line, b"{\"link\":{\"up\":true}}\n");
        let stream = line.repeat(3);
        for cut in 0..stream.len() {
            let mut lines = Lines::default();
            let mut read: Vec<LeaseOrder> = lines.take(&stream[..cut]).expect("sound");
            read.extend(lines.take::<LeaseOrder>(&stream[cut..]).expect("sound"));
            assert_eq!(read, vec![order.clone(); 3]);
        }
    }

    #[test]
    fn what_is_too_long_or_unknown_ends_it() {
        let mut lines = Lines::default();
        assert_eq!(lines.take::<LeaseReport>(&vec![b'x'; LINE_MAX + 1]), Err(BadLine::Long));
        let unknown = Lines::default().take::<LeaseReport>(b"{\"bounden\":1}\n");
        assert!(matches!(unknown, Err(BadLine::Form(_))), "{unknown:?}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Lines::default().take::<LeaseReport>(&bytes);
            let _ = Lines::default().take::<TimeReport>(&bytes);
        }
    }
}
