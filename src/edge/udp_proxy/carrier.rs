//! Sockets of the flows, and datagrams between them and the listener.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::MsgFlags;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::socket::{Batch, DatagramSocket, MAX_DATAGRAM, Passed, Read};
use crate::base::ceilings::Denied;
use crate::base::datagram_path::{Answers, DatagramFlow, DatagramPath, Unsent};
use crate::base::slots::SlotId;
use crate::edge::core::udp_flows::{FlowKey, FlowLimits, Inbound, UdpFlows};
use crate::edge::metrics::{Direction, Route, RouteDirection, RouteReason, RouteUpstream, UdpMetrics};
use crate::edge::targets::{Lease, Target, Targets};
use crate::sys::alarm::Alarm;
use crate::sys::packet_thread;

/// Taken before others get their turn.
const BATCHES: usize = 4;
/// Without flows nothing falls due.
const LOOK: Duration = Duration::from_mins(1);
/// Answers taken from one flow before others get their turn.
const BURST: usize = 32;
/// After an error of the listener, which is not known to have any: no busy loop.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// The listener's task: everything that comes from clients.
pub(super) struct Carrier {
    shared: Arc<Shared>,
    targets: Arc<Targets>,
    path: Option<Arc<dyn DatagramPath>>,
    version: u64,
    carried: HashMap<SlotId, Carried>,
}

/// What the listener's task and those of its flows share.
pub(super) struct Shared {
    listener: DatagramSocket,
    flows: Mutex<UdpFlows>,
    /// One for all flows: it is used without waiting.
    scratch: Mutex<Box<[u8]>>,
    metrics: RouteMetrics,
}

struct Carried {
    /// Holds the port, also while datagrams go by the path.
    socket: Arc<UdpSocket>,
    /// Past the kernel, where there is one.
    path: Option<Box<dyn DatagramFlow>>,
    lease: Lease,
    _answers: AbortOnDropHandle<()>,
}

/// Counters of one route, looked up once.
struct RouteMetrics {
    route: String,
    families: UdpMetrics,
    open: Gauge,
    passed: [(Counter, Counter); 2],
}

impl Carrier {
    /// Datagrams go by `path` where it leads to the upstream.
    pub fn new(shared: Arc<Shared>, targets: Arc<Targets>, path: Option<Arc<dyn DatagramPath>>) -> Self {
        let version = targets.version();
        Self { shared, targets, path, version, carried: HashMap::new() }
    }

    /// Carries until `stop`; then every socket is closed.
    pub async fn run(mut self, stop: CancellationToken) {
        let shared = Arc::clone(&self.shared);
        let mut batch = Batch::new(shared.listener.local_address().ip());
        let mut alarm = Alarm::new(Instant::now() + LOOK);
        let mut stopped = pin!(stop.cancelled());
        loop {
            let due = shared.flows().poll_timeout().map_or_else(|| Instant::now() + LOOK, |(at, _)| at);
            let woken = poll_fn(|context| match shared.listener.poll_readable(context) {
                Poll::Ready(readable) => Poll::Ready(Some(readable)),
                Poll::Pending => alarm.poll(due, context).map(|()| None),
            });
            tokio::select! {
                () = &mut stopped => break,
                woken = woken => match woken {
                    Some(Ok(())) => self.receive(&mut batch).await,
                    Some(Err(error)) => self.pause(&error).await,
                    None => {}
                },
            }
            self.follow_targets();
            shared.flows().handle_timeout(Instant::now());
            self.close_ended();
        }
        shared.metrics.open.set(0);
    }

    /// Takes what is there. Under a flood other tasks get their turn too.
    async fn receive(&mut self, batch: &mut Batch) {
        let shared = Arc::clone(&self.shared);
        for _ in 0..BATCHES {
            let received = shared.listener.receive(batch);
            self.pass_all(batch);
            if let Err(error) = received {
                return self.pause(&error).await;
            }
            if batch.is_last() {
                return;
            }
        }
        tokio::task::yield_now().await;
    }

    async fn pause(&self, error: &io::Error) {
        tracing::warn!(route = self.shared.metrics.route, %error, "receiving datagrams failed");
        tokio::time::sleep(RECEIVE_PAUSE).await;
    }

    fn pass_all(&mut self, batch: &Batch) {
        let now = Instant::now();
        for read in batch.iter() {
            packet_thread::count_arrived(read.count());
            if let Err(reason) = self.pass_in(&read, now) {
                self.shared.metrics.count_dropped(reason, read.count());
            }
        }
    }

    /// Passes datagrams on to their flow's upstream; an error says why they were dropped.
    fn pass_in(&mut self, read: &Read<'_>, now: Instant) -> Result<(), &'static str> {
        let inbound = self.shared.flows().handle_inbound(read.key, now);
        let id = match inbound {
            Inbound::Known(id) => id,
            Inbound::Begun(id) => {
                // Evicted ones first: the new flow needs their descriptors.
                self.close_ended();
                self.open(id, read.key, now).inspect_err(|_| self.shared.flows().remove(id))?;
                id
            }
            Inbound::Refused(Denied::Full) => return Err("full"),
            Inbound::Refused(Denied::SourceFull) => return Err("source_full"),
        };
        let carried = self.carried.get(&id).ok_or("no_socket")?;
        let passed = match carried.path.as_ref().map(|path| path.send(read.contents, read.segment_size)) {
            Some(Ok(())) => Passed { datagrams: read.count(), bytes: read.contents.len() },
            Some(Err(Unsent::Full)) => return Err("tunnel_full"),
            Some(Err(Unsent::Unfit)) | None => {
                let mut passed = Passed::default();
                let taken = |datagram: &&[u8]| send(&carried.socket, datagram).is_ok();
                read.datagrams().filter(taken).for_each(|datagram| passed.count(datagram));
                passed
            }
        };
        self.shared.metrics.count_passed(Direction::In, passed);
        self.shared.metrics.count_dropped("upstream_send", read.count() - passed.datagrams);
        Ok(())
    }

    fn open(&mut self, id: SlotId, key: FlowKey, now: Instant) -> Result<(), &'static str> {
        let plan = self.targets.plan(key.client.ip(), now);
        let target = plan.first().ok_or("no_upstream")?;
        let socket = connect(target.address).map_err(|error| {
            tracing::debug!(route = self.shared.metrics.route, upstream = target.upstream, %error, "no flow");
            "no_socket"
        })?;
        let socket = Arc::new(socket);
        let path = self.path.as_ref().zip(socket.local_addr().ok()).and_then(|(path, local)| {
            let answers = FlowAnswers { shared: Arc::clone(&self.shared), id };
            path.open(local, target.address, Arc::new(answers))
        });
        let answers = carry_back(Arc::clone(&self.shared), Arc::clone(&socket), id);
        let answers = AbortOnDropHandle::new(tokio::spawn(answers));
        self.carried.insert(id, Carried { socket, path, lease: target.lease(), _answers: answers });
        self.shared.metrics.count_flow(&target.upstream);
        tracing::debug!(route = self.shared.metrics.route, client = %key.client, upstream = target.upstream, "flow");
        Ok(())
    }

    /// Ends the flows whose upstream is no longer configured.
    fn follow_targets(&mut self) {
        let version = self.targets.version();
        if std::mem::replace(&mut self.version, version) == version {
            return;
        }
        let current = self.targets.current();
        let gone = |target: &Arc<Target>| !current.iter().any(|known| Arc::ptr_eq(known, target));
        let mut flows = self.shared.flows();
        for (id, _) in self.carried.iter().filter(|(_, carried)| gone(carried.lease.target())) {
            flows.remove(*id);
        }
    }

    fn close_ended(&mut self) {
        let mut flows = self.shared.flows();
        while let Some((id, ending)) = flows.poll_ended() {
            if self.carried.remove(&id).is_some() {
                self.shared.metrics.count_ended(ending.name());
            }
        }
        self.shared.metrics.open.set(i64::try_from(flows.len()).unwrap_or(i64::MAX));
    }
}

impl Shared {
    pub fn new(listener: DatagramSocket, route: &str, limits: FlowLimits, metrics: &UdpMetrics) -> Self {
        Self {
            listener,
            flows: Mutex::new(UdpFlows::new(limits)),
            scratch: Mutex::new(vec![0; MAX_DATAGRAM].into_boxed_slice()),
            metrics: RouteMetrics::new(route, metrics),
        }
    }

    pub fn open(&self) -> usize {
        self.flows().len()
    }

    pub fn set_total(&self, total: usize) {
        self.flows().set_total(total);
    }

    fn flows(&self) -> MutexGuard<'_, UdpFlows> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes answers that are there on to the client; false when there may be more.
    fn pass_out(&self, socket: &UdpSocket, id: SlotId) -> bool {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..BURST {
            match socket.try_recv(&mut scratch) {
                Ok(length) => self.answer(id, &[IoSlice::new(&scratch[..length])]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => self.metrics.count_dropped("upstream_refused", 1),
            }
        }
        false
    }

    /// The upstream's machine said by ICMP that nobody listens there. It may yet: the flow stays.
    fn take_error(&self, socket: &UdpSocket) {
        if let Ok(Some(_)) = socket.take_error() {
            self.metrics.count_dropped("upstream_refused", 1);
        }
        // Tells the runtime that this readiness is used up.
        let used_up = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        socket.try_io(Interest::ERROR, used_up).ok();
    }

    fn answer(&self, id: SlotId, datagrams: &[IoSlice<'_>]) {
        let key = self.flows().handle_reply(id, Instant::now());
        let Some(key) = key else { return self.metrics.count_dropped("late", datagrams.len()) };
        let passed = self.listener.send(&key, datagrams);
        self.metrics.count_passed(Direction::Out, passed);
        self.metrics.count_dropped("client_send", datagrams.len() - passed.datagrams);
    }
}

/// Takes what comes by a flow's path.
struct FlowAnswers {
    shared: Arc<Shared>,
    id: SlotId,
}

impl Answers for FlowAnswers {
    fn take(&self, datagrams: &[IoSlice<'_>]) {
        self.shared.answer(self.id, datagrams);
    }
}

/// A flow's task: everything that comes from its upstream. Ended by the drop of its handle.
async fn carry_back(shared: Arc<Shared>, socket: Arc<UdpSocket>, id: SlotId) {
    while let Ok(ready) = socket.ready(Interest::READABLE | Interest::ERROR).await {
        if ready.is_error() {
            shared.take_error(&socket);
        }
        if !shared.pass_out(&socket, id) {
            // Waiting for readiness does not give way by itself while there is some.
            tokio::task::yield_now().await;
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Past tokio, which would not try before it has been told once that the socket is writable. An error that waits on the socket
/// belongs to an earlier datagram and is taken away by the first attempt.
fn send(socket: &UdpSocket, bytes: &[u8]) -> nix::Result<usize> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    match nix::sys::socket::send(socket.as_raw_fd(), bytes, flags) {
        Err(Errno::ECONNREFUSED) => nix::sys::socket::send(socket.as_raw_fd(), bytes, flags),
        other => other,
    }
}

impl RouteMetrics {
    fn new(route: &str, families: &UdpMetrics) -> Self {
        let labels = Route { route: route.to_owned() };
        let passed = [Direction::In, Direction::Out].map(|direction| {
            let labels = RouteDirection { route: route.to_owned(), direction };
            (families.datagrams.get_or_create_owned(&labels), families.bytes.get_or_create_owned(&labels))
        });
        Self {
            open: families.open.get_or_create_owned(&labels),
            passed,
            route: route.to_owned(),
            families: families.clone(),
        }
    }

    fn count_flow(&self, upstream: &str) {
        let labels = RouteUpstream { route: self.route.clone(), upstream: upstream.to_owned() };
        self.families.flows.get_or_create(&labels).inc();
    }

    fn count_passed(&self, direction: Direction, passed: Passed) {
        let (datagrams, bytes) = &self.passed[direction as usize];
        datagrams.inc_by(passed.datagrams as u64);
        bytes.inc_by(passed.bytes as u64);
    }

    fn count_dropped(&self, reason: &'static str, count: usize) {
        if count > 0 {
            self.families.dropped.get_or_create(&self.labels(reason)).inc_by(count as u64);
        }
    }

    fn count_ended(&self, reason: &'static str) {
        self.families.ended.get_or_create(&self.labels(reason)).inc();
    }

    fn labels(&self, reason: &'static str) -> RouteReason {
        RouteReason { route: self.route.clone(), reason }
    }
}
