//! The listening socket: datagrams in batches, each with the address of ours that it came to, which answers leave from.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::slice::from_ref;
use std::task::{Context, Poll};

use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo, UdpGroSegment};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg, setsockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::edge::core::udp_flows::FlowKey;
use crate::sys::datagram::{self, Received};

/// No UDP payload is larger, and no receive.
pub(super) const MAX_DATAGRAM: usize = 65_535;
/// Bytes of one receive from which on the next ones are made one by one: many datagrams came joined, and eight of those would be
/// half a megabyte that goes through the processor's cache at once.
const LARGE: usize = 4096;
/// As the kernel's `UDP_MAX_SEGMENTS` was until 6.9, and the most bytes of one send.
const MAX_SEGMENTS: usize = 64;
const MAX_DATAGRAM_SENT: usize = 65_487;
/// Asked for; the kernel grants what `net.core.rmem_max` allows. A burst of 1,000 full datagrams while the task waits.
const RECEIVE_BUFFER: usize = 1 << 20;

pub(super) struct DatagramSocket {
    socket: UdpSocket,
    local: SocketAddr,
}

/// What was received together.
pub(super) struct Batch {
    /// Rooms of [`MAX_DATAGRAM`]; what nobody wrote to takes no memory.
    rooms: Box<[u8]>,
    received: Vec<Received>,
    /// Whether the last receives were small.
    is_small: bool,
    /// Whether there was nothing more.
    is_last: bool,
    local: IpAddr,
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

    /// Ready when [`DatagramSocket::receive`] may find something. One task asks.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv_ready(context)
    }

    /// Takes datagrams that are there, perhaps none.
    ///
    /// # Errors
    /// The kernel's; the next call may succeed. What came before it is in the batch.
    pub fn receive(&self, batch: &mut Batch) -> io::Result<()> {
        batch.received.clear();
        batch.is_last = false;
        while !batch.is_last && !batch.is_full() {
            let taken = self.socket.try_io(Interest::READABLE, || batch.fill(self.socket.as_fd()));
            match taken {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => batch.is_last = true,
                Err(error) => return Err(error),
            }
        }
        if batch.is_last {
            // Tells the runtime, which would try once more to find out.
            let nothing_left = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            self.socket.try_io(Interest::READABLE, nothing_left).ok();
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
}

impl Batch {
    /// For a socket at `local`.
    pub fn new(local: IpAddr) -> Self {
        let rooms = vec![0; datagram::TOGETHER * MAX_DATAGRAM].into_boxed_slice();
        let received = Vec::with_capacity(datagram::TOGETHER);
        Self { rooms, received, is_small: true, is_last: false, local }
    }

    /// In the order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = Read<'_>> {
        self.received.iter().zip(self.rooms.chunks(MAX_DATAGRAM)).map(|(received, room)| Read {
            key: FlowKey { client: received.source, local: received.destination.unwrap_or(self.local) },
            contents: &room[..received.length],
            segment_size: received.segment_size.max(1),
        })
    }

    /// Nothing more was there.
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    fn is_full(&self) -> bool {
        let bytes: usize = self.received.iter().map(|received| received.length).sum();
        self.received.len() == datagram::TOGETHER || bytes > MAX_DATAGRAM
    }

    fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let asked = if self.is_small { datagram::TOGETHER - self.received.len() } else { 1 };
        let from = self.received.len();
        let rooms = &mut self.rooms[from * MAX_DATAGRAM..][..asked * MAX_DATAGRAM];
        for received in datagram::receive_many(socket, rooms, MAX_DATAGRAM)? {
            self.received.push(received?);
        }
        self.is_last = self.received.len() - from < asked;
        self.is_small = self.received[from..].iter().all(|received| received.length < LARGE);
        Ok(())
    }
}
