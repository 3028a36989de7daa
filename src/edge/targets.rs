//! What a layer 4 route dials: its upstreams as addresses, literal ones at once, names by the system's resolver, again and
//! again; with what is known of each. Used from several threads; each lock is held for a few instructions.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::core::balance::{Balance, Load};
use super::core::route::Upstream;

/// The system's resolver does not tell how long an answer is good; home names change seldom, and new connections only.
const REFRESH: Duration = Duration::from_secs(30);
/// Of one name; a dial tries them one after the other, so more would only keep a client waiting.
const MAX_ADDRESSES: usize = 8;
/// An upstream whose dial failed is tried last for this long: a machine that reboots is back by then, or fails again.
const FAILURE_MEMORY: Duration = Duration::from_secs(10);

/// The upstreams of one route.
pub struct Targets {
    balance: Mutex<Balance>,
    current: Mutex<Arc<[Arc<Target>]>>,
    version: AtomicU64,
    upstreams: watch::Sender<Vec<Upstream>>,
}

/// One address to dial.
pub struct Target {
    pub address: SocketAddr,
    /// As configured, for counters and logs.
    pub upstream: String,
    open: AtomicUsize,
    failed_at: Mutex<Option<Instant>>,
}

/// A connection or flow counted at its target until dropped.
pub struct Lease(Arc<Target>);

/// The caller: names are resolved on a tokio runtime, and there is none.
#[derive(Debug)]
pub struct NoRuntime;

impl Targets {
    /// Literal addresses are there at once; names are kept fresh as long as the value lives.
    ///
    /// # Errors
    /// [`NoRuntime`].
    pub fn follow(upstreams: &[Upstream], balance: Balance) -> Result<Arc<Self>, NoRuntime> {
        let runtime = Handle::try_current().map_err(|_| NoRuntime)?;
        let targets = Arc::new(Self {
            balance: Mutex::new(balance),
            current: Mutex::new(Arc::new([])),
            version: AtomicU64::new(0),
            upstreams: watch::Sender::new(upstreams.to_vec()),
        });
        targets.set_literals(upstreams);
        runtime.spawn(refresh(Arc::downgrade(&targets), targets.upstreams.subscribe()));
        Ok(targets)
    }

    /// New upstreams for what is dialled from now on; those behind names come as soon as they are resolved.
    pub fn set_upstreams(&self, upstreams: Vec<Upstream>) {
        self.set_literals(&upstreams);
        self.upstreams.send_replace(upstreams);
    }

    /// The order in which a client at `source` should try them; empty while no name has been resolved.
    pub fn plan(&self, source: IpAddr, now: Instant) -> Vec<Arc<Target>> {
        let targets = self.current();
        let loads: Vec<Load> = targets.iter().map(|target| target.load(now)).collect();
        let order = locked(&self.balance).order(source, &loads);
        order.into_iter().map(|index| Arc::clone(&targets[index])).collect()
    }

    /// All there are now.
    pub fn current(&self) -> Arc<[Arc<Target>]> {
        Arc::clone(&locked(&self.current))
    }

    /// Changes whenever the answer of [`Targets::current`] does.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn set_literals(&self, upstreams: &[Upstream]) {
        let resolved = upstreams.iter().flat_map(|upstream| match literal(upstream) {
            Some(address) => vec![(label(upstream), address)],
            None => self.known(&label(upstream)),
        });
        self.set(resolved.collect());
    }

    /// A target that stays keeps what is known of it.
    fn set(&self, resolved: Vec<(String, SocketAddr)>) {
        let mut current = locked(&self.current);
        let keep = |(upstream, address): (String, SocketAddr)| {
            let known = current.iter().find(|known| known.address == address && known.upstream == upstream);
            known.map_or_else(|| Arc::new(Target::new(upstream, address)), Arc::clone)
        };
        let next: Arc<[Arc<Target>]> = resolved.into_iter().map(keep).collect();
        let same = next.len() == current.len()
            && next.iter().zip(current.iter()).all(|(one, other)| Arc::ptr_eq(one, other));
        if !same {
            *current = next;
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    fn known(&self, label: &str) -> Vec<(String, SocketAddr)> {
        let current = self.current();
        let same = current.iter().filter(|target| target.upstream == label);
        same.map(|target| (label.to_owned(), target.address)).collect()
    }
}

impl Target {
    fn new(upstream: String, address: SocketAddr) -> Self {
        Self { address, upstream, open: AtomicUsize::new(0), failed_at: Mutex::new(None) }
    }

    /// Counts one connection or flow as carried by this target.
    pub fn lease(self: &Arc<Self>) -> Lease {
        self.open.fetch_add(1, Ordering::Relaxed);
        Lease(Arc::clone(self))
    }

    /// Remembers how the last dial went.
    pub fn note_dialed(&self, connected: bool, now: Instant) {
        *locked(&self.failed_at) = (!connected).then_some(now);
    }

    fn load(&self, now: Instant) -> Load {
        let failed_at = *locked(&self.failed_at);
        let failing = failed_at.is_some_and(|at| now.saturating_duration_since(at) < FAILURE_MEMORY);
        Load { open: self.open.load(Ordering::Relaxed), failing }
    }
}

impl Lease {
    pub fn target(&self) -> &Arc<Target> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn refresh(targets: Weak<Targets>, mut upstreams: watch::Receiver<Vec<Upstream>>) {
    loop {
        let wanted = upstreams.borrow_and_update().clone();
        if wanted.iter().any(|upstream| literal(upstream).is_none()) {
            let mut resolved = Vec::new();
            for upstream in &wanted {
                resolved.extend(lookup(&targets, upstream).await);
            }
            let Some(targets) = targets.upgrade() else { return };
            if !upstreams.has_changed().unwrap_or(true) {
                targets.set(resolved);
            }
        }
        if let Ok(Err(_)) = tokio::time::timeout(REFRESH, upstreams.changed()).await {
            return;
        }
    }
}

/// The addresses of one upstream; those known before when its name cannot be resolved now.
async fn lookup(targets: &Weak<Targets>, upstream: &Upstream) -> Vec<(String, SocketAddr)> {
    let label = label(upstream);
    if let Some(address) = literal(upstream) {
        return vec![(label, address)];
    }
    match tokio::net::lookup_host((upstream.host.as_str(), upstream.port)).await {
        Ok(addresses) => addresses.take(MAX_ADDRESSES).map(|address| (label.clone(), address)).collect(),
        Err(error) => {
            tracing::warn!(upstream = %label, %error, "the upstream's name cannot be resolved");
            targets.upgrade().map_or_else(Vec::new, |targets| targets.known(&label))
        }
    }
}

fn literal(upstream: &Upstream) -> Option<SocketAddr> {
    let host = upstream.host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, upstream.port))
}

fn label(upstream: &Upstream) -> String {
    format!("{}:{}", upstream.host, upstream.port)
}

/// The data of these locks is valid after every statement, so a panic elsewhere does not spoil it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
