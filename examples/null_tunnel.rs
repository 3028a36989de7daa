//! A tunnel between two machines without cipher, handshake, policy and timers: `null_tunnel OWN PEER [LISTEN UPSTREAM]`. It asks of the
//! kernel per packet what the data plane asks, and its messages are as long as WireGuard's, so its processor time is what that of the
//! whole path cannot go below by a faster cipher or less work in this process: the structural bound (Bs) of `make bench`.
//!
//! OWN is this end's address in the tailnet, PEER the other's on the cable. With LISTEN and UPSTREAM the same thread relays, as
//! layer 4 of the gateway does.

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::slice::from_ref;
use std::task::{Context, Poll};
use std::thread::available_parallelism;

use genkan::base::roll_call::RollCall;
use genkan::edge::core::route::{Transport, Upstream};
use genkan::edge::metrics::RelayMetrics;
use genkan::edge::relay::{self, RelayHandle, RelayRoute};
use genkan::sys::packet_thread::{PacketThreads, count_arrived};
use genkan::tunnel::core::offload::segment::{LocalPacket, SuperPacket};
use genkan::tunnel::core::outbox::{Destination, Packets, Transmits};
use genkan::tunnel::driver::{FULL, READS, SEND_AT};
use genkan::tunnel::tun_device::{READ_ROOM, RaisedTun, TunDevice, TunSettings};
use genkan::tunnel::udp_socket::{BoundSockets, UdpSockets};
use genkan::wire::ip::Packet;

/// As in the shipped binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As the gateway's.
const TUN_MTU: u16 = 1280;

/// A data message of WireGuard (paper, section 5.4.6): this header, the packet padded to a multiple of 16 bytes, a tag.
const HEADER: [u8; 16] = [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const PADDING: usize = 16;
const TAG: usize = 16;
/// Bytes around a packet, at most.
const OVERHEAD: usize = HEADER.len() + PADDING - 1 + TAG;

type Failure = Box<dyn Error + Send + Sync>;

/// What the command line says.
struct Order {
    own: Ipv4Addr,
    peer: SocketAddr,
    relay: Option<(SocketAddr, SocketAddr)>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(order) = read_order(&words) else {
        eprintln!("null_tunnel OWN PEER:PORT [LISTEN:PORT UPSTREAM:PORT]");
        return ExitCode::from(2);
    };
    let Err(error) = run(&order);
    eprintln!("null_tunnel: {error}");
    ExitCode::FAILURE
}

fn read_order(words: &[String]) -> Option<Order> {
    let (own, peer, relay) = match words {
        [own, peer] => (own, peer, None),
        [own, peer, listen, upstream] => (own, peer, Some((listen.parse().ok()?, upstream.parse().ok()?))),
        _ => return None,
    };
    Some(Order { own: own.parse().ok()?, peer: peer.parse().ok()?, relay })
}

/// Tunnel and relay run in threads as the gateway's do, this one only waits.
fn run(order: &Order) -> Result<Infallible, Failure> {
    let threads = PacketThreads::start(available_parallelism()?.get())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let raised = runtime.block_on(RaisedTun::create(&interface(order.own)))?;
    let sockets = BoundSockets::bind(order.peer.port())?;
    let peer = order.peer;
    let end = threads.tunnel.run(move || async move { Tunnel::open(raised, sockets, peer)?.run().await });
    let _serves =
        order.relay.map(|(listen, upstream)| start_relay(&threads, listen, upstream)).transpose()?;
    runtime.block_on(end)?
}

fn interface(own: Ipv4Addr) -> TunSettings {
    let [.., last] = own.octets();
    let ipv6 = Ipv6Addr::new(0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, last.into());
    TunSettings { name: "null0".to_owned(), mtu: TUN_MTU, ipv4: own, ipv6, offload: true }
}

fn start_relay(
    threads: &PacketThreads,
    listen: SocketAddr,
    upstream: SocketAddr,
) -> Result<RelayHandle, Failure> {
    let relay =
        relay::choose(from_ref(&threads.relay), RelayMetrics::default(), [7; 32], &RollCall::default());
    let upstream =
        Upstream { transport: Transport::Tcp, host: upstream.ip().to_string(), port: upstream.port() };
    Ok(relay.start(RelayRoute::new("bulk", listen, vec![upstream]))?)
}

/// One end of the tunnel; its loop is that of `tunnel::driver`, and its queues are those of the data plane.
struct Tunnel {
    tun: TunDevice,
    sockets: UdpSockets,
    peer: SocketAddr,
    transmits: Transmits,
    packets: Packets,
    /// What one read gives.
    room: Box<[u8]>,
}

impl Tunnel {
    fn open(tun: RaisedTun, sockets: BoundSockets, peer: SocketAddr) -> Result<Self, Failure> {
        let tun = tun.watch()?;
        let packets = Packets::new(tun.joins());
        let room = vec![0; READ_ROOM].into_boxed_slice();
        Ok(Self { tun, sockets: sockets.watch()?, peer, transmits: Transmits::default(), packets, room })
    }

    async fn run(mut self) -> Result<Infallible, Failure> {
        loop {
            poll_fn(|context| self.poll_readable(context)).await;
            self.read_sockets()?;
            self.write_tun();
            self.read_tun().await?;
            self.transmit().await;
        }
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        let is_ready =
            self.tun.poll_readable(context).is_ready() || self.sockets.poll_readable(context).is_ready();
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    }

    /// A full read waits for the next one, as in the driver: what was sent together is one super-packet for the kernel.
    fn read_sockets(&mut self) -> io::Result<()> {
        let mut waits = false;
        for _ in 0..READS {
            let received = match self.sockets.receive(&mut self.room) {
                Err(error) => return unless_empty(error),
                Ok(received) => received,
            };
            let datagrams = self.room[..received.length].chunks(received.segment_size);
            count_arrived(datagrams.len());
            datagrams.for_each(|message| take_out(message, &mut self.packets));
            waits = !waits && received.length + received.segment_size > FULL;
            if !waits {
                self.write_tun();
            }
        }
        Ok(())
    }

    async fn read_tun(&mut self) -> io::Result<()> {
        for _ in 0..READS {
            match self.tun.receive(&mut self.room) {
                Ok(LocalPacket::Single(packet)) => put_in(packet, &mut self.transmits, self.peer),
                Ok(LocalPacket::Super(packet)) => put_segments(&packet, &mut self.transmits, self.peer),
                Err(error) => return unless_empty(error),
            }
            if self.transmits.bytes() >= SEND_AT {
                self.transmit().await;
            }
        }
        Ok(())
    }

    fn write_tun(&mut self) {
        while let Some(packet) = self.packets.poll() {
            // Lost, as on any network; the kernel's TCP sends it again.
            self.tun.send(&packet).ok();
        }
    }

    async fn transmit(&mut self) {
        while let Some(run) = self.transmits.poll() {
            // The other end may not be there yet.
            self.sockets.send(run.contents, run.segment_size, self.peer).await.ok();
        }
    }
}

fn unless_empty(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(error) }
}

/// Copies the packet to where opening would write it, from where the kernel gets it.
fn take_out(message: &[u8], packets: &mut Packets) {
    let Some(padded) = message.get(HEADER.len()..message.len().saturating_sub(TAG)) else { return };
    let Ok(packet) = Packet::parse(padded) else { return };
    let Some(room) = packets.reserve(packet.length) else { return };
    room.copy_from_slice(&padded[..packet.length]);
    packets.commit(&packet, None);
}

fn put_in(packet: &[u8], transmits: &mut Transmits, to: SocketAddr) {
    let write = |room: &mut [u8]| {
        room[..packet.len()].copy_from_slice(packet);
        packet.len()
    };
    put_written(packet.len(), write, transmits, to);
}

fn put_segments(packet: &SuperPacket<'_>, transmits: &mut Transmits, to: SocketAddr) {
    for number in 0..packet.count() {
        put_written(packet.longest(), |room| packet.write(number, room), transmits, to);
    }
}

/// A message around a packet of at most `longest` bytes, which is written where it leaves from.
fn put_written(
    longest: usize,
    write: impl FnOnce(&mut [u8]) -> usize,
    transmits: &mut Transmits,
    to: SocketAddr,
) {
    let Some(room) = transmits.reserve(longest + OVERHEAD) else { return };
    let (header, body) = room.split_at_mut(HEADER.len());
    header.copy_from_slice(&HEADER);
    let length = write(body);
    let end = length.next_multiple_of(PADDING) + TAG;
    body[length..end].fill(0);
    transmits.commit(Destination::Udp(to), HEADER.len() + end);
}
