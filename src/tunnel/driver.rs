//! The loop that owns sockets, TUN and timers, feeds the state machine and drains it.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::core::drops::DropReason;
use super::core::node::{Datagrams, Node, NodeSettings};
use super::core::offload::coalesce::Joins;
use super::core::outbox::Destination;
use super::flows::{Flows, TunnelPath};
use super::metrics::TunnelMetrics;
use super::own_endpoints::OwnEndpoints;
pub use super::tun_device::TunSettings;
use super::tun_device::{READ_ROOM, RaisedTun, TunDevice, TunError};
use super::udp_socket::{BoundSockets, UdpError, UdpSockets};
use crate::base::roll_call::{RollCall, Turns};
use crate::sys::alarm::Alarm;
use crate::sys::datagram::Received;
use crate::sys::packet_thread;
use crate::wire::control::MapResponse;
use crate::wire::key::{DiscoPrivate, NodePrivate, NodePublic};

/// Reads per source and turn: enough to pay for the wake-up, few enough that one source does not delay the others by more
/// than a millisecond or two.
pub const READS: usize = 16;
/// Bytes that wait to be sent, from which on they are: less than one send, so that each goes out while it is in the
/// processor's cache, and that small packets share one.
pub const SEND_AT: usize = 32 * 1024;
/// What the kernel gives at once is no longer than this.
pub const FULL: usize = 65_507;
/// Messages of the relay taken at once.
const RELAYED: usize = 64;
/// The area of this loop in a roll call.
pub const LOOPS: &str = "tunnel";

/// How often the metrics are brought up to date; scrapes are no closer than this. It is also the longest time between two turns.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

pub struct TunnelConfig {
    pub node_key: NodePrivate,
    pub disco_key: DiscoPrivate,
    /// The relay region of this node.
    pub home_region: i32,
    /// Name and port under which the port above is reached from the internet; looked up now and then.
    pub public_endpoint: Option<(String, u16)>,
    /// Where the loop shows that it turns.
    pub loops: RollCall,
    /// Of all randomness but WireGuard's own.
    pub seed: [u8; 32],
}

/// The ends of the channels to the other rooms.
pub struct Links {
    /// The node's own map stream.
    pub net_map: mpsc::Receiver<MapResponse>,
    /// To the relay, with the receiver's key.
    pub relay_out: mpsc::Sender<(NodePublic, Bytes)>,
    /// From the relay, with the sender's key.
    pub relay_in: mpsc::Receiver<(NodePublic, Bytes)>,
    /// Where this node can be reached; each time the whole list.
    pub endpoints: mpsc::Sender<Vec<SocketAddr>>,
}

/// The environment's or the operator's fault: the tunnel cannot be.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    #[error(transparent)]
    Tun(#[from] TunError),
    #[error(transparent)]
    Udp(#[from] UdpError),
    #[error("the interface {0} was deleted")]
    InterfaceLost(String),
}

/// The interface and the sockets, open and not served yet. To open them is all that the tunnel needs privileges for.
pub struct Raised {
    interface: TunSettings,
    tun: RaisedTun,
    sockets: BoundSockets,
    path: TunnelPath,
}

impl Raised {
    /// For datagrams of other rooms, once the tunnel is served.
    #[must_use]
    pub fn path(&self) -> TunnelPath {
        self.path.clone()
    }
}

/// Opens the interface, and `port` for WireGuard and disco. The runtime it is called in may end before the one that serves begins.
pub async fn raise(interface: TunSettings, port: u16) -> Result<Raised, TunnelError> {
    let sockets = BoundSockets::bind(port)?;
    let tun = RaisedTun::create(&interface).await?;
    let path = TunnelPath::new(&interface);
    Ok(Raised { interface, tun, sockets, path })
}

/// Runs the node until `stop`, or until the sender of netmaps is gone.
pub async fn serve(
    config: TunnelConfig,
    raised: Raised,
    links: Links,
    metrics: TunnelMetrics,
    stop: CancellationToken,
) -> Result<(), TunnelError> {
    // Dropped on the way out of a failure: the tunnel stands still then.
    let turns = config.loops.join(LOOPS, "tunnel");
    let Raised { interface, tun, sockets, path } = raised;
    let (tun, sockets) = (tun.watch()?, sockets.watch()?);
    tracing::info!(interface = interface.name, port = sockets.port(), "tunnel is up");
    let (own_endpoints, endpoints) = watch::channel(Vec::new());
    let watcher = OwnEndpoints {
        port: sockets.port(),
        interface: interface.name.clone(),
        public: config.public_endpoint.clone(),
    };
    let watcher = tokio::spawn(watcher.watch(own_endpoints, links.endpoints.clone()));
    let result = Driver::new(&config, interface, links, endpoints, (tun, sockets, path), metrics)
        .run(&stop, &turns)
        .await;
    watcher.abort();
    result.inspect(|()| turns.leave())
}

struct Driver {
    node: Node,
    interface: String,
    tun: TunDevice,
    sockets: UdpSockets,
    links: Links,
    flows: Flows,
    endpoints: watch::Receiver<Vec<SocketAddr>>,
    relay_is_open: bool,
    endpoints_are_open: bool,
    endpoints_changed: bool,
    net_maps: Vec<MapResponse>,
    relayed: Vec<(NodePublic, Bytes)>,
    /// What one read gives.
    room: Box<[u8]>,
    metrics: TunnelMetrics,
    next_report: Instant,
    alarm: Alarm,
}

/// Why the driver no longer waits.
enum Woken {
    Input,
    NetMapEnded,
}

impl Driver {
    fn new(
        config: &TunnelConfig,
        interface: TunSettings,
        links: Links,
        endpoints: watch::Receiver<Vec<SocketAddr>>,
        (tun, sockets, path): (TunDevice, UdpSockets, TunnelPath),
        metrics: TunnelMetrics,
    ) -> Self {
        let now = Instant::now();
        let settings = NodeSettings {
            node_key: config.node_key.clone(),
            disco_key: config.disco_key.clone(),
            home_region: config.home_region,
            seed: config.seed,
            joins: Joins { flows: sockets.sends_segments(), ..tun.joins() },
        };
        Self {
            node: Node::new(&settings, now),
            interface: interface.name,
            tun,
            sockets,
            flows: Flows::serve(path),
            links,
            endpoints,
            relay_is_open: true,
            endpoints_are_open: true,
            endpoints_changed: false,
            net_maps: Vec::new(),
            relayed: Vec::with_capacity(RELAYED),
            room: vec![0; READ_ROOM].into_boxed_slice(),
            metrics,
            next_report: now,
            alarm: Alarm::new(now),
        }
    }

    async fn run(mut self, stop: &CancellationToken, turns: &Turns) -> Result<(), TunnelError> {
        let mut stopped = pin!(stop.cancelled());
        loop {
            let woken = tokio::select! {
                () = &mut stopped => return Ok(()),
                woken = self.wait() => woken,
            };
            if matches!(woken, Woken::NetMapEnded) {
                tracing::info!("no more netmaps: tunnel ends");
                return Ok(());
            }
            self.turn().await?;
            turns.count();
        }
    }

    /// Waits until something can be read or falls due. Messages of channels are kept for the turn.
    async fn wait(&mut self) -> Woken {
        let due = self.node.poll_timeout().map_or(self.next_report, |(due, _)| due.min(self.next_report));
        let input = poll_fn(|context| {
            let is_ready =
                self.tun.poll_readable(context).is_ready() || self.sockets.poll_readable(context).is_ready();
            if is_ready { Poll::Ready(()) } else { self.alarm.poll(due, context) }
        });
        tokio::select! {
            () = input => {}
            () = self.flows.waiting() => {}
            count = self.links.relay_in.recv_many(&mut self.relayed, RELAYED), if self.relay_is_open => {
                self.relay_is_open = count > 0;
            }
            changed = self.endpoints.changed(), if self.endpoints_are_open => {
                self.endpoints_are_open = changed.is_ok();
                self.endpoints_changed = changed.is_ok();
            }
            net_map = self.links.net_map.recv() => match net_map {
                Some(net_map) => self.net_maps.push(net_map),
                None => return Woken::NetMapEnded,
            },
        }
        Woken::Input
    }

    /// The one order in which things happen: what fell due, what came in, what goes out. Each input has its budget, so that
    /// none starves the others.
    async fn turn(&mut self) -> Result<(), TunnelError> {
        let now = Instant::now();
        self.node.handle_timeout(now);
        for net_map in self.net_maps.drain(..) {
            self.node.handle_net_map(net_map, now);
        }
        if std::mem::take(&mut self.endpoints_changed) {
            self.node.handle_own_endpoints(&self.endpoints.borrow());
        }
        self.node.handle_relay(self.relayed.iter().map(|(sender, message)| (*sender, &message[..])), now);
        self.relayed.clear();
        self.read_sockets(now);
        self.write_tun();
        self.read_tun(now).await?;
        self.take_flows(now).await;
        self.transmit(now).await;
        self.report(now);
        Ok(())
    }

    /// What one read gives is written on at once, while it is in the processor's cache; but a full one waits for the rest of what
    /// its sender sent together, of which the kernel then gets one super-packet and not two.
    fn read_sockets(&mut self, now: Instant) {
        let mut waits = false;
        for _ in 0..READS {
            match self.sockets.receive(&mut self.room) {
                Ok(received) => {
                    let contents = &self.room[..received.length];
                    let Received { source, segment_size, .. } = received;
                    self.node.handle_udp([Datagrams { source, contents, segment_size }], now);
                    packet_thread::count_arrived(contents.len().div_ceil(segment_size.max(1)));
                    waits = !waits && received.length + segment_size > FULL;
                    if !waits {
                        self.write_tun();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return tracing::debug!(%error, "reading a datagram failed"),
            }
        }
    }

    async fn read_tun(&mut self, now: Instant) -> Result<(), TunnelError> {
        for _ in 0..READS {
            match self.tun.receive(&mut self.room) {
                Ok(packet) => self.node.handle_tun(packet, now),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::debug!(%error, "a packet from the kernel makes no sense");
                    self.node.count_drops(DropReason::LocalMalformed, 1);
                }
                Err(error) => {
                    tracing::error!(%error, "reading from the tunnel failed");
                    return Err(TunnelError::InterfaceLost(self.interface.clone()));
                }
            }
            if self.node.outgoing_bytes() >= SEND_AT {
                self.transmit(now).await;
            }
        }
        Ok(())
    }

    async fn take_flows(&mut self, now: Instant) {
        self.flows.take(&mut self.node);
        while let Some((flow, contents, segment_size)) = self.flows.poll() {
            self.node.handle_flow(flow, contents, segment_size, now);
            if self.node.outgoing_bytes() >= SEND_AT {
                self.transmit(now).await;
            }
        }
        self.flows.end_over(&mut self.node);
    }

    fn write_tun(&mut self) {
        let mut failed = 0;
        while let Some(packet) = self.node.poll_tun() {
            if let Some(flow) = packet.flow {
                failed += if self.flows.answer(flow, &packet) { 0 } else { packet.parts().len() as u64 };
            } else if let Err(error) = self.tun.send(&packet) {
                tracing::trace!(%error, "packet for this machine refused");
                failed += packet.parts().len() as u64;
            }
        }
        self.node.count_drops(DropReason::TunFailed, failed);
    }

    async fn transmit(&mut self, now: Instant) {
        let (mut unreachable, mut unrelayed) = (Vec::new(), 0);
        while let Some(transmit) = self.node.poll_transmit() {
            match transmit.destination {
                Destination::Udp(to) => {
                    let sent = self.sockets.send(transmit.contents, transmit.segment_size, to).await;
                    if let Err(error) = sent {
                        tracing::trace!(%error, "datagram not sent");
                        unreachable.push((to, transmit.datagrams().len() as u64));
                    }
                }
                Destination::Relay(to) => {
                    for datagram in transmit.datagrams() {
                        let message = (to, Bytes::copy_from_slice(datagram));
                        unrelayed += u64::from(self.links.relay_out.try_send(message).is_err());
                    }
                }
            }
        }
        for (address, datagrams) in unreachable {
            self.node.handle_unreachable(address, datagrams, now);
        }
        self.node.count_drops(DropReason::RelayFull, unrelayed);
    }

    fn report(&mut self, now: Instant) {
        if now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            self.metrics.update(self.node.reports(now), self.node.drops(), now);
        }
    }
}
