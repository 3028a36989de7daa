//! Where other rooms hand over datagrams that do not pass the kernel, and the driver takes them.

use std::collections::HashMap;
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::core::flows::{FlowAddresses, FlowId, longest_datagram};
use super::core::node::Node;
use super::core::offload::coalesce::MAX_JOINED;
use super::core::outbox::LocalWrite;
use super::tun_device::TunSettings;
use crate::base::datagram_path::{Answers, DatagramFlow, DatagramPath, Unsent};

/// Bytes that wait for the driver's next turn: four milliseconds at 2 Gbit/s, and more than one listener takes in its turn.
const MAX_WAITING_BYTES: usize = 1024 * 1024;
/// Flows begun that wait for it: twice as many as there can be.
const MAX_WAITING_FLOWS: usize = 4096;

/// The tunnel as a path for datagrams of this process. Clones are the same.
#[derive(Clone)]
pub struct TunnelPath(Arc<Shared>);

struct Shared {
    own: [IpAddr; 2],
    mtu: usize,
    next: AtomicU64,
    is_served: AtomicBool,
    queue: Mutex<Queue>,
    waiting: Notify,
}

/// What the driver has not seen yet.
#[derive(Default)]
struct Queue {
    begun: Vec<(FlowId, FlowAddresses, Arc<dyn Answers>)>,
    ended: Vec<FlowId>,
    sends: Vec<(FlowId, Range<usize>, usize)>,
    bytes: Vec<u8>,
}

struct Flow {
    id: FlowId,
    longest: usize,
    path: TunnelPath,
}

/// The driver's side of a [`TunnelPath`]. Dropped, the path is there no more.
pub(super) struct Flows {
    path: TunnelPath,
    answers: HashMap<FlowId, Arc<dyn Answers>>,
    /// What was taken last; its memory is used again.
    taken: Queue,
    next: usize,
}

impl TunnelPath {
    /// A path through the interface that has these settings, once the driver serves it.
    #[must_use]
    pub fn new(interface: &TunSettings) -> Self {
        Self(Arc::new(Shared {
            own: [interface.ipv4.into(), interface.ipv6.into()],
            mtu: interface.mtu.into(),
            next: AtomicU64::new(0),
            is_served: AtomicBool::new(false),
            queue: Mutex::default(),
            waiting: Notify::new(),
        }))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DatagramPath for TunnelPath {
    fn open(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        answers: Arc<dyn Answers>,
    ) -> Option<Box<dyn DatagramFlow>> {
        // The kernel gave the socket the tunnel's address: so its route is through the tunnel.
        let is_through = self.0.own.contains(&local.ip()) && !self.0.own.contains(&remote.ip());
        if !is_through || !self.0.is_served.load(Ordering::Relaxed) {
            return None;
        }
        let id = FlowId(self.0.next.fetch_add(1, Ordering::Relaxed));
        let mut queue = self.queue();
        if queue.begun.len() == MAX_WAITING_FLOWS {
            return None;
        }
        queue.begun.push((id, FlowAddresses { local, remote }, answers));
        drop(queue);
        self.0.waiting.notify_one();
        let longest = longest_datagram(local.is_ipv4(), self.0.mtu);
        Some(Box::new(Flow { id, longest, path: self.clone() }))
    }
}

impl DatagramFlow for Flow {
    fn send(&self, contents: &[u8], segment_size: usize) -> Result<(), Unsent> {
        let is_fit = (1..=self.longest).contains(&segment_size) && !contents.is_empty();
        if !is_fit || !self.path.0.is_served.load(Ordering::Relaxed) {
            return Err(Unsent::Unfit);
        }
        let mut queue = self.path.queue();
        let at = queue.bytes.len();
        if at + contents.len() > MAX_WAITING_BYTES {
            return Err(Unsent::Full);
        }
        queue.bytes.extend_from_slice(contents);
        queue.sends.push((self.id, at..at + contents.len(), segment_size));
        drop(queue);
        self.path.0.waiting.notify_one();
        Ok(())
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.path.queue().ended.push(self.id);
        self.path.0.waiting.notify_one();
    }
}

impl Flows {
    pub fn serve(path: TunnelPath) -> Self {
        path.0.is_served.store(true, Ordering::Relaxed);
        Self { path, answers: HashMap::new(), taken: Queue::default(), next: 0 }
    }

    /// Waits until another room has something.
    pub async fn waiting(&self) {
        self.path.0.waiting.notified().await;
    }

    /// Takes over what waits, and begins flows; [`Flows::poll`] then gives the datagrams, and [`Flows::end_over`] comes last.
    pub fn take(&mut self, node: &mut Node) {
        self.taken.clear();
        self.next = 0;
        std::mem::swap(&mut self.taken, &mut *self.path.queue());
        for (id, addresses, answers) in self.taken.begun.drain(..) {
            node.begin_flow(id, addresses);
            self.answers.insert(id, answers);
        }
    }

    /// The next datagrams to send, and the size of each.
    pub fn poll(&mut self) -> Option<(FlowId, &[u8], usize)> {
        let (id, range, segment_size) = self.taken.sends.get(self.next)?.clone();
        self.next += 1;
        Some((id, &self.taken.bytes[range], segment_size))
    }

    /// Ends flows that were over; what they had sent before has been polled.
    pub fn end_over(&mut self, node: &mut Node) {
        for id in self.taken.ended.drain(..) {
            node.end_flow(id);
            self.answers.remove(&id);
        }
    }

    /// Passes on what a peer sent for flow `id`; false when the flow is over.
    pub fn answer(&self, id: FlowId, packet: &LocalWrite<'_>) -> bool {
        let Some(answers) = self.answers.get(&id) else { return false };
        let mut datagrams = [IoSlice::new(&[]); MAX_JOINED];
        let mut count = 0;
        for (place, datagram) in datagrams.iter_mut().zip(packet.datagrams()) {
            *place = IoSlice::new(datagram);
            count += 1;
        }
        answers.take(&datagrams[..count]);
        true
    }
}

impl Queue {
    fn clear(&mut self) {
        self.sends.clear();
        self.bytes.clear();
    }
}

impl Drop for Flows {
    fn drop(&mut self) {
        self.path.0.is_served.store(false, Ordering::Relaxed);
        *self.path.queue() = Queue::default();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    struct Nobody;

    impl Answers for Nobody {
        fn take(&self, _: &[IoSlice<'_>]) {}
    }

    fn path() -> TunnelPath {
        TunnelPath::new(&TunSettings {
            name: "genkan0".into(),
            mtu: 1280,
            ipv4: Ipv4Addr::new(100, 64, 0, 1),
            ipv6: "fd7a:115c:a1e0::1".parse().expect("an address"),
            offload: true,
        })
    }

    fn open(path: &TunnelPath, local: &str, remote: &str) -> Option<Box<dyn DatagramFlow>> {
        let address = |text: &str| text.parse().expect("an address");
        path.open(address(local), address(remote), Arc::new(Nobody))
    }

    #[test]
    fn only_a_served_tunnel_and_its_addresses_are_a_way() {
        let path = path();
        let open = |local: &str, remote: &str| open(&path, local, remote);
        assert!(open("100.64.0.1:9", "100.64.0.2:9").is_none(), "nobody serves it");
        let flows = Flows::serve(path.clone());
        let flow = open("100.64.0.1:9", "100.64.0.2:9").expect("a way");
        assert!(open("[fd7a:115c:a1e0::1]:9", "[fd7a:115c:a1e0::2]:9").is_some());
        assert!(open("192.168.1.10:9", "192.168.1.20:9").is_none());
        assert!(open("100.64.0.1:9", "100.64.0.1:10").is_none(), "this machine itself");
        assert_eq!(flow.send(b"datagram", 8), Ok(()));
        drop(flows);
        assert_eq!(flow.send(b"datagram", 8), Err(Unsent::Unfit));
    }

    #[test]
    fn what_a_packet_does_not_hold_and_what_waits_too_long_is_not_taken() {
        let path = path();
        let mut flows = Flows::serve(path.clone());
        let flow = open(&path, "100.64.0.1:9", "100.64.0.2:9").expect("a way");
        assert_eq!(flow.send(&[0; 1252], 1252), Ok(()));
        assert_eq!(flow.send(&[0; 1253], 1253), Err(Unsent::Unfit));
        assert_eq!(flow.send(&[], 1), Err(Unsent::Unfit));
        let taken = (0..1000).take_while(|_| flow.send(&[0; 10_000], 1000).is_ok()).count();
        assert_eq!(taken, (MAX_WAITING_BYTES - 1252) / 10_000);
        assert_eq!(flow.send(&[0; 10_000], 1000), Err(Unsent::Full));
        std::mem::swap(&mut flows.taken, &mut *path.queue());
        assert_eq!(flow.send(&[0; 10_000], 1000), Ok(()), "the driver has taken it over");
    }
}
