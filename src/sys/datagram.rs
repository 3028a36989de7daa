//! UDP with segmentation offload: many datagrams of one size by one system call, both ways.

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use socket2::{SockAddr, SockAddrStorage};

/// Room for one control message of an `int`, aligned as `cmsghdr` must be.
type Control = [u64; 4];
/// Room for an `int`, an `in_pktinfo` and an `in6_pktinfo`, each behind its header.
type ReceivedControl = [u64; 12];

/// Sends `contents` to `to`, cut every `segment_size` bytes into datagrams (`UDP_SEGMENT`), the last perhaps shorter, and with
/// `tail` a zero byte more, which is a datagram of its own when the cut leaves nothing over. Without a cut or a tail it is one ordinary datagram. Errors are those of
/// `sendmsg`; `EIO` says that the way out cannot take segments.
pub fn send(
    socket: BorrowedFd<'_>,
    contents: &[u8],
    segment_size: u16,
    tail: bool,
    to: SocketAddr,
) -> io::Result<()> {
    let address = SockAddr::from(to);
    let zero = [0_u8];
    let part =
        |bytes: &[u8]| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut parts = [part(contents), part(&zero)];
    let mut control: Control = [0; 4];
    // SAFETY: all-zero is a valid `msghdr`: null pointers with lengths of 0.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = address.as_ptr().cast_mut().cast();
    message.msg_namelen = address.len();
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = if tail { 2 } else { 1 };
    if tail || contents.len() > usize::from(segment_size) {
        // SAFETY: `CMSG_SPACE` only computes.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(2) } as _;
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: the control buffer is aligned, zeroed, longer than `CMSG_SPACE(2)`, and alive: there is a first header, whose
        // data has room for two bytes.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_UDP;
            (*header).cmsg_type = libc::UDP_SEGMENT;
            (*header).cmsg_len = libc::CMSG_LEN(2) as _;
            libc::CMSG_DATA(header).cast::<u16>().write_unaligned(segment_size);
        }
    }
    // SAFETY: name, parts and control point to memory that outlives the call, with their true lengths; `sendmsg` only reads it.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What one receive gave: `length` bytes, every `segment_size` of them a datagram of the same sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    pub length: usize,
    pub segment_size: usize,
    pub source: SocketAddr,
    /// The address of ours that it came to, on a socket with `IP_PKTINFO` or `IPV6_RECVPKTINFO`; for a broadcast that of the interface.
    pub destination: Option<IpAddr>,
}

/// Receives into `room` without waiting; with `UDP_GRO` set on the socket perhaps many datagrams. What does not fit is cut
/// off. Errors are those of `recvmsg`.
pub fn receive(socket: BorrowedFd<'_>, room: &mut [u8]) -> io::Result<Received> {
    let mut envelope = Envelope::default();
    // SAFETY: all-zero is a valid `msghdr`: null pointers with lengths of 0.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    envelope.stand_behind(&mut message, room);
    // SAFETY: name, part and control point to memory that outlives the call, with their true lengths; nobody else uses it.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let length = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    envelope.read(&message, length)
}

/// Most receives of one [`receive_many`].
pub const TOGETHER: usize = 8;

/// As [`receive`] for as long as something is there, by one system call (`recvmmsg`): the first into the first `room` bytes of
/// `rooms`, and so on, at most [`TOGETHER`]. Where it gives fewer than there are rooms, nothing more was there.
pub fn receive_many(
    socket: BorrowedFd<'_>,
    rooms: &mut [u8],
    room: usize,
) -> io::Result<impl Iterator<Item = io::Result<Received>>> {
    let mut envelopes: [Envelope; TOGETHER] = Default::default();
    // SAFETY: all-zero is a valid `mmsghdr`, as of its `msghdr`.
    let mut messages: [libc::mmsghdr; TOGETHER] = unsafe { std::mem::zeroed() };
    let mut asked = 0;
    for ((envelope, message), room) in
        envelopes.iter_mut().zip(&mut messages).zip(rooms.chunks_exact_mut(room))
    {
        envelope.stand_behind(&mut message.msg_hdr, room);
        asked += 1;
    }
    let wait_for_none: *mut libc::timespec = std::ptr::null_mut();
    // SAFETY: there are `asked` messages, each with name, part and control that outlive the call, with their true lengths; the
    // rooms do not overlap, and nobody else uses them.
    let received = unsafe {
        let flags = libc::MSG_DONTWAIT as _;
        libc::recvmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), asked, flags, wait_for_none)
    };
    let count = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    // Read here, as the messages lead to the envelopes, which end with this function.
    let mut read = [const { None }; TOGETHER];
    for ((place, envelope), message) in read.iter_mut().zip(&envelopes).zip(&messages[..count]) {
        *place = Some(envelope.read(&message.msg_hdr, message.msg_len as usize));
    }
    Ok(read.into_iter().flatten())
}

/// What the kernel writes beside the contents. The message that points to it is used before it moves.
struct Envelope {
    name: SockAddrStorage,
    control: ReceivedControl,
    part: libc::iovec,
}

impl Default for Envelope {
    fn default() -> Self {
        let part = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Self { name: SockAddrStorage::zeroed(), control: [0; 12], part }
    }
}

impl Envelope {
    /// Lets `message` lead to it and to `room`.
    fn stand_behind(&mut self, message: &mut libc::msghdr, room: &mut [u8]) {
        self.part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
        message.msg_name = (&raw mut self.name).cast();
        message.msg_namelen = self.name.size_of();
        message.msg_iov = &raw mut self.part;
        message.msg_iovlen = 1;
        message.msg_control = self.control.as_mut_ptr().cast();
        message.msg_controllen = size_of::<ReceivedControl>() as _;
    }

    /// After the kernel has written `length` bytes by `message`, which still leads to it.
    fn read(&self, message: &libc::msghdr, length: usize) -> io::Result<Received> {
        // SAFETY: the storage is a plain copy of one that the kernel wrote an address of `msg_namelen` bytes to, at most its size.
        let source = unsafe { SockAddr::new(std::ptr::read(&raw const self.name), message.msg_namelen) };
        let source = source.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        let mut received = Received { length, segment_size: length, source, destination: None };
        read_control(message, &mut received);
        Ok(received)
    }
}

/// Control messages (cmsg(3)) that tell of the datagrams.
fn read_control(message: &libc::msghdr, received: &mut Received) {
    // SAFETY: `recvmsg` left `msg_control` and `msg_controllen` describing whole control messages, in a buffer that is alive
    // and aligned; the macros go no further than that, and each type has the data of its structure.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            let data = libc::CMSG_DATA(header);
            match ((*header).cmsg_level, (*header).cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let size = data.cast::<libc::c_int>().read_unaligned();
                    received.segment_size =
                        usize::try_from(size).ok().filter(|size| *size > 0).unwrap_or(received.length);
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    let address = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                    received.destination = Some(address.into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    received.destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                _ => {}
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    fn pair() -> (UdpSocket, UdpSocket) {
        let bind = || UdpSocket::bind("127.0.0.1:0").expect("loopback");
        (bind(), bind())
    }

    #[test]
    fn segments_arrive_as_datagrams_and_a_tail_behind_them() {
        let (a, b) = pair();
        let to = b.local_addr().expect("bound");
        send(a.as_fd(), &[7; 300], 100, true, to).expect("loopback takes segments");
        send(a.as_fd(), b"one", 3, false, to).expect("loopback");
        let lengths: Vec<_> = (0..5)
            .map(|_| {
                let received = receive(b.as_fd(), &mut [0; 512]).expect("it is there");
                assert_eq!(received.source, a.local_addr().expect("bound"));
                assert_eq!(received.segment_size, received.length);
                received.length
            })
            .collect();
        assert_eq!(lengths, [100, 100, 100, 1, 3]);
        let none = receive(b.as_fd(), &mut [0; 512]).expect_err("nothing is left");
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn many_receives_are_one_call_and_tell_when_nothing_is_left() {
        let (a, b) = pair();
        let to = b.local_addr().expect("bound");
        let mut rooms = vec![0; 10 * 64];
        let take = |rooms: &mut [u8]| {
            let all: io::Result<Vec<_>> = receive_many(b.as_fd(), rooms, 64)?.collect();
            all.map(|all| all.iter().map(|received| received.length).collect::<Vec<_>>())
        };
        let none = take(&mut rooms).expect_err("nothing was sent");
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        for length in 1..=11 {
            a.send_to(&vec![length; length.into()], to).expect("loopback");
        }
        assert_eq!(take(&mut rooms[..3 * 64]).expect("eleven are there"), [1, 2, 3]);
        assert_eq!(rooms[2 * 64..][..4], [3, 3, 3, 0]);
        assert_eq!(take(&mut rooms).expect("eight are there"), [4, 5, 6, 7, 8, 9, 10, 11]);
        a.send_to(b"last", to).expect("loopback");
        assert_eq!(take(&mut rooms).expect("one is there"), [4]);
        assert_eq!(&rooms[..4], b"last");
    }

    #[test]
    fn receive_offload_tells_the_size_of_the_segments() {
        let (a, b) = pair();
        nix::sys::socket::setsockopt(&b, nix::sys::socket::sockopt::UdpGroSegment, &true)
            .expect("a kernel of this decade");
        let to = b.local_addr().expect("bound");
        send(a.as_fd(), &[7; 250], 100, false, to).expect("loopback takes segments");
        let received = receive(b.as_fd(), &mut [0; 512]).expect("it is there");
        assert_eq!((received.length, received.segment_size, received.destination), (250, 100, None));
    }

    #[test]
    fn the_address_spoken_to_is_told_where_it_is_asked_for() {
        use nix::sys::socket::{setsockopt, sockopt};
        for own in ["127.0.0.7", "::1"] {
            let own: IpAddr = own.parse().expect("an address");
            let any = if own.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let Ok(socket) = UdpSocket::bind(any) else { return };
            if own.is_ipv4() {
                setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).expect("known");
            } else {
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true).expect("known");
            }
            setsockopt(&socket, sockopt::UdpGroSegment, &true).expect("a kernel of this decade");
            let to = SocketAddr::new(own, socket.local_addr().expect("bound").port());
            let sender = UdpSocket::bind(any).expect("loopback");
            send(sender.as_fd(), &[7; 250], 100, false, to).expect("loopback takes segments");
            let received = receive(socket.as_fd(), &mut [0; 512]).expect("it is there");
            assert_eq!((received.segment_size, received.destination), (100, Some(own)));
        }
    }
}
