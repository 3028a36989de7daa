//! A packet socket (packet(7)) on one interface: IP packets of one UDP port, with the sender's Ethernet address.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use socket2::{Domain, SockFilter, Socket, Type};

/// An Ethernet address.
pub type Hardware = [u8; 6];

pub const BROADCAST: Hardware = [0xff; 6];

/// Longest packet that is received; longer ones are cut.
pub const PACKET_MAX: usize = 2048;

/// Sends to any Ethernet address of the interface's link; receives what the filter lets through.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    index: libc::c_int,
}

impl PacketSocket {
    /// Opens a socket on the interface `index` that hears IPv4 packets to the UDP port `port` and no others, without ever
    /// waiting. Needs `CAP_NET_RAW`.
    pub fn open(index: u32, port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        // Before it is bound: what came in between would have passed no filter.
        socket.attach_filter(&udp_to(port))?;
        let index = libc::c_int::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
        bind(&socket, &address(index, BROADCAST))?;
        Ok(Self { socket, index })
    }

    /// Takes over a socket that [`PacketSocket::open`] made in another process.
    pub fn from_descriptor(descriptor: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(descriptor);
        let index = bound_to(&socket)?;
        Ok(Self { socket, index })
    }

    /// Sends an IPv4 packet to the machine with the Ethernet address `to`.
    pub fn send(&self, packet: &[u8], to: Hardware) -> io::Result<()> {
        let address = address(self.index, to);
        // SAFETY: `packet` is valid for its length and `address` is a whole `sockaddr_ll`; both outlive the call.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const address).cast(),
                length_of(&address),
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Receives one packet: its length in `buffer`, and who sent it. `WouldBlock` when there is none.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Hardware)> {
        let mut from = address(0, [0; 6]);
        let mut length = length_of(&from);
        // SAFETY: `buffer` is valid for its length, `from` for `length` bytes; the kernel writes no more, and both outlive
        // the call.
        let received = unsafe {
            libc::recvfrom(
                self.socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
                (&raw mut from).cast(),
                &raw mut length,
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        let [h0, h1, h2, h3, h4, h5, ..] = from.sll_addr;
        Ok((received, [h0, h1, h2, h3, h4, h5]))
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl From<PacketSocket> for OwnedFd {
    fn from(packet: PacketSocket) -> Self {
        packet.socket.into()
    }
}

/// Drops everything: on a socket that only holds a port, so that the kernel does not tell senders that nobody is there.
pub fn deafen(socket: &Socket) -> io::Result<()> {
    socket.attach_filter(&[instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0)])
}

fn bind(socket: &Socket, address: &libc::sockaddr_ll) -> io::Result<()> {
    // SAFETY: `address` is a whole `sockaddr_ll` and outlives the call.
    let result =
        unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(address).cast(), length_of(address)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn bound_to(socket: &Socket) -> io::Result<libc::c_int> {
    let mut bound = address(0, [0; 6]);
    let mut length = length_of(&bound);
    // SAFETY: `bound` is valid for `length` bytes, the kernel writes no more, and both outlive the call.
    let result = unsafe { libc::getsockname(socket.as_raw_fd(), (&raw mut bound).cast(), &raw mut length) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let is_packet = i32::from(bound.sll_family) == libc::AF_PACKET;
    if is_packet { Ok(bound.sll_ifindex) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

fn address(index: libc::c_int, hardware: Hardware) -> libc::sockaddr_ll {
    let [h0, h1, h2, h3, h4, h5] = hardware;
    libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).expect("a small number"),
        sll_protocol: u16::try_from(libc::ETH_P_IP).expect("a small number").to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [h0, h1, h2, h3, h4, h5, 0, 0],
    }
}

fn length_of(_: &libc::sockaddr_ll) -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).expect("some bytes")
}

/// A program of the kernel's packet filter: unfragmented IPv4, UDP, to `port`. Offsets are from the IP header on.
fn udp_to(port: u16) -> [SockFilter; 9] {
    use libc::{
        BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_MSH, BPF_RET,
    };
    [
        instruction(BPF_LD | BPF_B | BPF_ABS, 0, 0, 9),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 6, 17),
        instruction(BPF_LD | BPF_H | BPF_ABS, 0, 0, 6),
        instruction(BPF_JMP | BPF_JSET | BPF_K, 4, 0, 0x1fff),
        instruction(BPF_LDX | BPF_B | BPF_MSH, 0, 0, 0),
        instruction(BPF_LD | BPF_H | BPF_IND, 0, 0, 2),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, port.into()),
        instruction(BPF_RET | BPF_K, 0, 0, u32::MAX),
        instruction(BPF_RET | BPF_K, 0, 0, 0),
    ]
}

fn instruction(code: u32, if_true: u8, if_false: u8, value: u32) -> SockFilter {
    SockFilter::new(u16::try_from(code).expect("codes are small"), if_true, if_false, value)
}
