//! Socket options of both halves of a relayed connection.

use std::io;
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

/// Connections that wait for the loop; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 1024;
/// A peer that vanished without a word is noticed after about two minutes: one of silence, then four unanswered probes.
const KEEPALIVE_AFTER: Duration = Duration::from_mins(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// A blocking listener at `address`, `[::]` for both families. `shared` lets several loops listen at the same address.
///
/// # Errors
/// The kernel's: the address is taken or not of this machine.
pub fn listen(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Accepted sockets inherit these.
    socket.set_tcp_nodelay(true)?;
    keep_alive(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// A blocking socket to connect to an upstream; [`keep_alive`] is the caller's to call once it is worth it.
///
/// # Errors
/// The kernel's: no more descriptors.
pub fn outgoing(target: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

/// Who is connected by an accepted socket.
///
/// # Errors
/// `ENOTCONN` when the connection was reset while it waited.
pub fn client(socket: &impl AsFd) -> io::Result<SocketAddr> {
    canonical(&SockRef::from(socket).peer_addr()?)
}

/// What the client of an accepted socket connected to.
///
/// # Errors
/// The kernel's, on what is no socket.
pub fn local(socket: &impl AsFd) -> io::Result<SocketAddr> {
    canonical(&SockRef::from(socket).local_addr()?)
}

fn canonical(address: &SockAddr) -> io::Result<SocketAddr> {
    let address = address.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// Makes the close that follows a reset, which drops what is still queued.
pub fn reset_on_close(socket: &impl AsFd) {
    // Fails only on what is no socket.
    SockRef::from(socket).set_linger(Some(Duration::ZERO)).ok();
}

/// Tells the far end that no more will come. An error means that it is gone, which the next receive finds out.
pub fn finish_writing(socket: &impl AsFd) {
    SockRef::from(socket).shutdown(Shutdown::Write).ok();
}

/// For what is called directly and must not wait. The ring's own operations wait as before.
///
/// # Errors
/// The kernel's, on what is no socket.
pub fn set_nonblocking(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_nonblocking(true)
}

/// Lets the kernel find out when the far end has vanished without a word.
///
/// # Errors
/// The kernel's, on what is no socket.
pub fn keep_alive(socket: &impl AsFd) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}
