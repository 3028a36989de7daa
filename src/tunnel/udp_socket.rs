//! The UDP sockets of WireGuard and disco: one port, both families.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// Asked of the kernel for each direction: 30 ms at 2 Gbit/s, while this process is busy elsewhere.
const BUFFER_BYTES: usize = 7 << 20;

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
    ipv4: std::net::UdpSocket,
    /// `None` where the kernel has no IPv6.
    ipv6: Option<std::net::UdpSocket>,
    port: u16,
}

pub struct UdpSockets {
    ipv4: UdpSocket,
    /// `None` where the kernel has no IPv6.
    ipv6: Option<UdpSocket>,
    port: u16,
}

impl BoundSockets {
    /// Binds `port` in both families on all addresses; 0 chooses one.
    pub fn bind(port: u16) -> Result<Self, UdpError> {
        let ipv4 = bind_one(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
            .map_err(|error| udp_error(port, error))?;
        let port = ipv4.local_addr().map_err(|error| udp_error(port, error))?.port();
        let ipv6 = match bind_one(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
            Ok(socket) => Some(socket),
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
        let watch = |socket| UdpSocket::from_std(socket).map_err(|error| udp_error(self.port, error));
        let ipv6 = self.ipv6.map(watch).transpose()?;
        Ok(UdpSockets { ipv4: watch(self.ipv4)?, ipv6, port: self.port })
    }
}

impl UdpSockets {
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until [`UdpSockets::receive`] may have a datagram.
    pub async fn readable(&self) -> io::Result<()> {
        let Some(ipv6) = &self.ipv6 else { return self.ipv4.readable().await };
        tokio::select! {
            result = self.ipv4.readable() => result,
            result = ipv6.readable() => result,
        }
    }

    /// Reads one datagram; `WouldBlock` when there is none. What does not fit `buffer` is cut off.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match (self.ipv4.try_recv_from(buffer), &self.ipv6) {
            (Err(error), Some(ipv6)) if error.kind() == io::ErrorKind::WouldBlock => {
                ipv6.try_recv_from(buffer)
            }
            (result, _) => result,
        }
    }

    /// Sends one datagram, waiting for room in the socket's buffer.
    pub async fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        let socket = match to {
            SocketAddr::V4(_) => &self.ipv4,
            SocketAddr::V6(_) => self.ipv6.as_ref().ok_or(io::ErrorKind::AddrNotAvailable)?,
        };
        match socket.try_send_to(datagram, to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                socket.send_to(datagram, to).await.map(|_| ())
            }
            result => result.map(|_| ()),
        }
    }
}

fn udp_error(port: u16, source: io::Error) -> UdpError {
    if source.kind() == io::ErrorKind::AddrInUse {
        UdpError::Taken(port)
    } else {
        UdpError::Open { port, source }
    }
}

fn bind_one(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    enlarge_buffers(&socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
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
        let (a, b) = (bind(), bind());
        let mut targets = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, b.port()))];
        if b.ipv6.is_some() {
            targets.push(SocketAddr::from((Ipv6Addr::LOCALHOST, b.port())));
        }
        for target in targets {
            a.send(b"hello", target).await.expect("loopback");
            let mut buffer = [0; 16];
            let (length, source) = loop {
                b.readable().await.expect("open");
                match b.receive(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => break result.expect("open"),
                }
            };
            assert_eq!((&buffer[..length], source.port()), (&b"hello"[..], a.port()));
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let first = BoundSockets::bind(0).expect("a free port");
        let error = BoundSockets::bind(first.port).err().expect("taken");
        assert!(error.to_string().contains(&first.port.to_string()));
    }
}
