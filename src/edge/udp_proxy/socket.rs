//! The listening socket: datagrams in batches, each with the address of ours that it came to, which answers leave from.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::slice::from_ref;

use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo, UdpGroSegment};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg, setsockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::edge::core::udp_flows::FlowKey;
use crate::sys::datagram;

/// Reads per wake-up, so that other tasks get their turn.
const BATCH: usize = 32;
/// No UDP payload is larger.
pub(super) const MAX_DATAGRAM: usize = 65_535;
/// As the kernel's `UDP_MAX_SEGMENTS` was until 6.9, and the most bytes of one send.
const MAX_SEGMENTS: usize = 64;
const MAX_DATAGRAM_SENT: usize = 65_487;
/// Asked for; the kernel grants what `net.core.rmem_max` allows. A burst of 1,000 full datagrams while the task waits.
const RECEIVE_BUFFER: usize = 1 << 20;

pub(super) struct DatagramSocket {
    socket: UdpSocket,
    local: SocketAddr,
}

/// What was received together, one behind the other: what a flood of large ones leaves behind is one arena, not one for each place.
pub(super) struct Batch {
    arena: Box<[u8]>,
    reads: Vec<(FlowKey, Range<usize>, usize)>,
}

/// Datagrams that the kernel took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Passed {
    pub datagrams: usize,
    pub bytes: usize,
}

impl Passed {
    pub fn count(&mut self, datagram: &[u8]) {
        self.datagrams += 1;
        self.bytes += datagram.len();
    }
}

/// What one read gave: datagrams of one client, every `segment_size` bytes one, the last perhaps shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Read<'a> {
    pub key: FlowKey,
    pub contents: &'a [u8],
    /// At least 1.
    pub segment_size: usize,
}

impl<'a> Read<'a> {
    /// An empty datagram is one too.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let empty = self.contents.is_empty().then_some(self.contents);
        self.contents.chunks(self.segment_size).chain(empty)
    }

    pub fn count(&self) -> usize {
        self.contents.len().div_ceil(self.segment_size).max(1)
    }
}

impl DatagramSocket {
    /// Inside a tokio runtime.
    ///
    /// # Errors
    /// The kernel's: the port is taken or the address not of this machine.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => setsockopt(&socket, Ipv4PacketInfo, &true)?,
            IpAddr::V6(ip) if ip.is_unspecified() => {
                socket.set_only_v6(false)?;
                setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
            }
            _ => {}
        }
        // Without receive offload (Linux 5.0) datagrams come one by one.
        setsockopt(&socket, UdpGroSegment, &true).ok();
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local })
    }

    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Waits for datagrams and takes those that are there.
    ///
    /// # Errors
    /// The kernel's; the next call may succeed.
    pub async fn receive(&self, batch: &mut Batch) -> io::Result<()> {
        batch.reads.clear();
        self.socket.readable().await?;
        while !batch.is_full() {
            let room = batch.room();
            match self.socket.try_io(Interest::READABLE, || self.receive_one(room)) {
                Ok((key, length, segment_size)) => batch.push(key, length, segment_size),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Answers a client from the address it spoke to: with datagrams of one length, the last perhaps shorter, which one way or
    /// another leave one by one. What the kernel does not take (its buffer is full, there is no way) is missing in the answer.
    pub fn send(&self, to: &FlowKey, datagrams: &[IoSlice<'_>]) -> Passed {
        let size = datagrams.first().map_or(1, |first| first.len().max(1));
        let mut passed = Passed::default();
        for together in datagrams.chunks((MAX_DATAGRAM_SENT / size).clamp(1, MAX_SEGMENTS)) {
            match self.send_together(to, together, u16::try_from(size).unwrap_or(u16::MAX)) {
                Ok(()) => together.iter().for_each(|one| passed.count(one)),
                // Not every way out takes segments.
                Err(error) if together.len() > 1 && error.kind() != io::ErrorKind::WouldBlock => {
                    let taken = |one: &&IoSlice<'_>| self.send_together(to, from_ref(*one), u16::MAX).is_ok();
                    together.iter().filter(taken).for_each(|one| passed.count(one));
                }
                Err(_) => {}
            }
        }
        passed
    }

    fn send_together(&self, to: &FlowKey, datagrams: &[IoSlice<'_>], size: u16) -> io::Result<()> {
        let client = SockaddrStorage::from(to.client);
        let (v4, v6);
        let wildcard = self.local.ip().is_unspecified();
        let control = match to.local {
            _ if !wildcard => None,
            IpAddr::V4(address) => {
                let source = in_addr { s_addr: u32::from(address).to_be() };
                v4 = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: in_addr { s_addr: 0 } };
                Some(ControlMessage::Ipv4PacketInfo(&v4))
            }
            IpAddr::V6(address) => {
                v6 = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: address.octets() }, ipi6_ifindex: 0 };
                Some(ControlMessage::Ipv6PacketInfo(&v6))
            }
        };
        let segments = (datagrams.len() > 1).then_some(ControlMessage::UdpGsoSegments(&size));
        let mut controls = [ControlMessage::UdpGsoSegments(&size); 2];
        let mut count = 0;
        for (place, message) in controls.iter_mut().zip(control.into_iter().chain(segments)) {
            *place = message;
            count += 1;
        }
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg(self.socket.as_raw_fd(), datagrams, &controls[..count], flags, Some(&client))?;
        Ok(())
    }

    /// Whose, how many bytes, and how many of them are one datagram.
    fn receive_one(&self, room: &mut [u8]) -> io::Result<(FlowKey, usize, usize)> {
        let received = datagram::receive(self.socket.as_fd(), room)?;
        let local = received.destination.unwrap_or(self.local.ip());
        let key = FlowKey { client: received.source, local };
        Ok((key, received.length, received.segment_size.max(1)))
    }
}

impl Batch {
    pub fn new() -> Self {
        Self { arena: vec![0; 2 * MAX_DATAGRAM].into_boxed_slice(), reads: Vec::with_capacity(BATCH) }
    }

    /// In the order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = Read<'_>> {
        self.reads.iter().map(|(key, place, segment_size)| Read {
            key: *key,
            contents: &self.arena[place.clone()],
            segment_size: *segment_size,
        })
    }

    /// More may be waiting.
    pub fn is_full(&self) -> bool {
        self.reads.len() == BATCH || self.end() > MAX_DATAGRAM
    }

    /// Room for any datagram, while it is not full.
    fn room(&mut self) -> &mut [u8] {
        let from = self.end();
        &mut self.arena[from..from + MAX_DATAGRAM]
    }

    fn push(&mut self, key: FlowKey, length: usize, segment_size: usize) {
        let from = self.end();
        self.reads.push((key, from..from + length, segment_size));
    }

    fn end(&self) -> usize {
        self.reads.last().map_or(0, |(_, place, _)| place.end)
    }
}
