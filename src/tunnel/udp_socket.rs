//! The UDP sockets of WireGuard and disco: one port, both families.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::task::{Context, Poll};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::core::offload::kernel::{Plan, Segmentation};
use crate::sys::datagram::{self, Received};

/// Asked of the kernel for each direction: 30 ms at 2 Gbit/s, while this process is busy elsewhere.
const BUFFER_BYTES: usize = 7 << 20;

/// For a full buffer to have room again: a seventieth of it at 1 Gbit/s.
const DRAIN: Duration = Duration::from_millis(1);

/// The environment's fault.
#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    #[error("UDP port {0} is taken: stop the other WireGuard or Tailscale, or choose another port")]
    Taken(u16),
    #[error("cannot open UDP port {port}")]
    Open { port: u16, source: io::Error },
}

/// Bound, and not waited for yet.
pub struct BoundSockets {
    ipv4: Pair<std::net::UdpSocket>,
    /// `None` where the kernel has no IPv6.
    ipv6: Option<Pair<std::net::UdpSocket>>,
    port: u16,
}

pub struct UdpSockets {
    ipv4: Pair<UdpSocket>,
    /// `None` where the kernel has no IPv6.
    ipv6: Option<Pair<UdpSocket>>,
    port: u16,
    segmentation: Segmentation,
}

/// Two sockets of one address and port. Nobody waits for the one that sends: the kernel wakes whoever waits for a socket once
/// for each datagram that has left it, also when all that is waited for is datagrams that come.
struct Pair<R> {
    receiving: R,
    sending: std::net::UdpSocket,
}

impl BoundSockets {
    /// Binds `port` in both families on all addresses; 0 chooses one.
    pub fn bind(port: u16) -> Result<Self, UdpError> {
        let ipv4 = bind_pair(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
            .map_err(|error| udp_error(port, error))?;
        let port = ipv4.receiving.local_addr().map_err(|error| udp_error(port, error))?.port();
        let ipv6 = match bind_pair(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
            Ok(pair) => Some(pair),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(udp_error(port, error)),
            Err(error) => {
                tracing::warn!(%error, "the tunnel is reached by IPv4 only");
                None
            }
        };
        Ok(Self { ipv4, ipv6, port })
    }

    /// Lets the current runtime wait for datagrams.
    pub fn watch(self) -> Result<UdpSockets, UdpError> {
        let watch = |Pair { receiving, sending }| {
            let receiving = UdpSocket::from_std(receiving).map_err(|error| udp_error(self.port, error))?;
            Ok::<_, UdpError>(Pair { receiving, sending })
        };
        let ipv6 = self.ipv6.map(watch).transpose()?;
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let segmentation = Segmentation::of_kernel(&release);
        Ok(UdpSockets { ipv4: watch(self.ipv4)?, ipv6, port: self.port, segmentation })
    }
}

impl UdpSockets {
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether other sockets may send segments too.
    #[must_use]
    pub fn sends_segments(&self) -> bool {
        self.segmentation == Segmentation::Works
    }

    /// Ready when [`UdpSockets::receive`] may have a datagram. One task asks.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match (self.ipv4.receiving.poll_recv_ready(context), &self.ipv6) {
            (Poll::Pending, Some(ipv6)) => ipv6.receiving.poll_recv_ready(context),
            (ready, _) => ready,
        }
    }

    /// Reads datagrams of one sender; `WouldBlock` when there are none. What does not fit `room` is cut off.
    pub fn receive(&self, room: &mut [u8]) -> io::Result<Received> {
        match (receive(&self.ipv4.receiving, room), &self.ipv6) {
            (Err(error), Some(ipv6)) if error.kind() == io::ErrorKind::WouldBlock => {
                receive(&ipv6.receiving, room)
            }
            (result, _) => result,
        }
    }

    /// Sends the datagrams of `contents`, cut every `segment_size` bytes, waiting for room in the socket's buffer.
    pub async fn send(&mut self, contents: &[u8], segment_size: usize, to: SocketAddr) -> io::Result<()> {
        let plan = self.segmentation.plan(contents.len(), segment_size);
        let socket = match to {
            SocketAddr::V4(_) => &self.ipv4.sending,
            SocketAddr::V6(_) => &self.ipv6.as_ref().ok_or(io::ErrorKind::AddrNotAvailable)?.sending,
        };
        let (Plan::Together { tail }, Ok(size)) = (plan, u16::try_from(segment_size)) else {
            return send_apart(socket, contents, segment_size, to).await;
        };
        match send(socket, contents, size, tail, to).await {
            Err(error) if contents.len() > segment_size && is_about_segments(&error) => {
                tracing::warn!(%error, "the kernel does not send segments; the tunnel goes on without them");
                self.segmentation = Segmentation::Refused;
                send_apart(socket, contents, segment_size, to).await
            }
            // Of this way alone: its MTU is below a segment, so that one by one they go in fragments.
            Err(error) if contents.len() > segment_size && is_about_the_way(&error) => {
                send_apart(socket, contents, segment_size, to).await
            }
            result => result,
        }
    }
}

fn receive(socket: &UdpSocket, room: &mut [u8]) -> io::Result<Received> {
    socket.try_io(Interest::READABLE, || datagram::receive(socket.as_fd(), room))
}

async fn send(
    socket: &std::net::UdpSocket,
    contents: &[u8],
    segment_size: u16,
    tail: bool,
    to: SocketAddr,
) -> io::Result<()> {
    loop {
        match datagram::send(socket.as_fd(), contents, segment_size, tail, to) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(DRAIN).await;
            }
            result => return result,
        }
    }
}

async fn send_apart(
    socket: &std::net::UdpSocket,
    contents: &[u8],
    segment_size: usize,
    to: SocketAddr,
) -> io::Result<()> {
    let mut outcome = Ok(());
    for datagram in contents.chunks(segment_size) {
        let sent = send(socket, datagram, u16::MAX, false, to).await;
        outcome = outcome.and(sent);
    }
    outcome
}

/// `EIO`: the way out has no checksum offload. `EOPNOTSUPP`: too old a kernel.
fn is_about_segments(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EOPNOTSUPP))
}

/// `EMSGSIZE`, or `EINVAL` on kernels before 6.14: a segment is longer than the way's MTU.
fn is_about_the_way(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::EINVAL))
}

fn udp_error(port: u16, source: io::Error) -> UdpError {
    if source.kind() == io::ErrorKind::AddrInUse {
        UdpError::Taken(port)
    } else {
        UdpError::Open { port, source }
    }
}

/// The kernel gives what comes to the socket bound last (`udp4_lib_lookup2` takes the first of the best, and new ones stand in
/// front): the receiving one. The address is taken for both alone: before and after, nobody may share it.
fn bind_pair(address: SocketAddr) -> io::Result<Pair<std::net::UdpSocket>> {
    let sending = open_one(address)?;
    sending.bind(&address.into())?;
    let address = sending.local_addr()?;
    sending.set_reuse_address(true)?;
    let receiving = open_one(address.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?)?;
    receiving.set_reuse_address(true)?;
    receiving.bind(&address)?;
    sending.set_reuse_address(false)?;
    receiving.set_reuse_address(false)?;
    if let Err(error) = setsockopt(&receiving, sockopt::UdpGroSegment, &true) {
        tracing::debug!(%error, "datagrams are received one by one");
    }
    Ok(Pair { receiving: receiving.into(), sending: sending.into() })
}

fn open_one(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    enlarge_buffers(&socket)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Beyond the system's limit where this process may, up to the limit elsewhere.
fn enlarge_buffers(socket: &Socket) -> io::Result<()> {
    if setsockopt(socket, sockopt::RcvBufForce, &BUFFER_BYTES).is_err() {
        socket.set_recv_buffer_size(BUFFER_BYTES)?;
    }
    if setsockopt(socket, sockopt::SndBufForce, &BUFFER_BYTES).is_err() {
        socket.set_send_buffer_size(BUFFER_BYTES)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_families_share_a_port_and_datagrams_arrive() {
        let bind = || BoundSockets::bind(0).and_then(BoundSockets::watch).expect("a free port");
        let (mut a, b) = (bind(), bind());
        let mut targets = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, b.port()))];
        if b.ipv6.is_some() {
            targets.push(SocketAddr::from((Ipv6Addr::LOCALHOST, b.port())));
        }
        for target in targets {
            for segmentation in [Segmentation::Works, Segmentation::NeedsTail, Segmentation::Refused] {
                a.segmentation = segmentation;
                a.send(b"hello you", 3, target).await.expect("loopback");
                assert_eq!(receive_text(&b, a.port(), 3).await, ["hel", "lo ", "you"], "{segmentation:?}");
            }
        }
    }

    /// So many datagrams, a tail aside.
    async fn receive_text(sockets: &UdpSockets, from: u16, count: usize) -> Vec<String> {
        let (mut all, mut room) = (Vec::new(), [0; 64]);
        while all.len() < count {
            std::future::poll_fn(|context| sockets.poll_readable(context)).await.expect("open");
            let Ok(received) = sockets.receive(&mut room) else { continue };
            assert_eq!(received.source.port(), from);
            let datagrams = room[..received.length].chunks(received.segment_size);
            all.extend(
                datagrams.filter(|bytes| bytes.len() > 1).map(|bytes| String::from_utf8_lossy(bytes).into()),
            );
        }
        all
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let first = BoundSockets::bind(0).expect("a free port");
        let error = BoundSockets::bind(first.port).err().expect("taken");
        assert!(error.to_string().contains(&first.port.to_string()));
        let sharing = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
        sharing.set_reuse_address(true).expect("an open socket");
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, first.port));
        assert!(sharing.bind(&address.into()).is_err(), "nobody gets our datagrams");
    }
}
