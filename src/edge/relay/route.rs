//! What the connections of one route share: ceilings, targets, counters. Used from the loop's thread, from tokio and from
//! the handle; each lock is held for a few instructions.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::types::{RelayError, RelayLimits, RelayRoute};
use crate::base::ceilings::{Admissions, Ceilings, Denied};
use crate::base::rng::SeededRng;
use crate::base::source::Source;
use crate::edge::core::balance::Balance;
use crate::edge::core::proxy_header::ProxyProtocol;
use crate::edge::core::relay_flow::Ending;
use crate::edge::core::route::{Transport, Upstream};
use crate::edge::metrics::{Dial, Direction, RelayMetrics, Route, RouteDirection, RouteReason};
use crate::edge::targets::{NoRuntime, Target, Targets};

/// Upstreams tried for one client; with the default time-out it waits 40 s at the worst.
const MAX_ATTEMPTS: usize = 8;

/// One route as its connections see it.
pub struct RouteState {
    pub name: String,
    pub limits: RelayLimits,
    admissions: Mutex<Admissions>,
    targets: Arc<Targets>,
    /// Held while targets change, so that no upstream gets a header meant for another.
    proxy_protocol: Mutex<Option<ProxyProtocol>>,
    metrics: RouteMetrics,
}

/// A connection's place inside the ceilings; given back when dropped.
pub struct Permit {
    state: Arc<RouteState>,
    source: Source,
}

/// Where one connection goes.
pub struct Plan {
    /// In the order in which to try them; empty while no name has been resolved.
    pub targets: Vec<Arc<Target>>,
    /// What the one that is reached is told first.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// How one dial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialed {
    Connected,
    Refused,
    TimedOut,
    Failed,
}

/// Counters of one route, looked up once.
struct RouteMetrics {
    families: RelayMetrics,
    accepted: Counter,
    open: Gauge,
    bytes_in: Counter,
    bytes_out: Counter,
}

impl RouteState {
    /// # Errors
    /// The operator's mistakes of [`RelayError`].
    pub fn new(route: &RelayRoute, metrics: &RelayMetrics, rng: SeededRng) -> Result<Arc<Self>, RelayError> {
        if route.upstreams.is_empty() {
            return Err(RelayError::NoUpstream(route.name.clone()));
        }
        if route.upstreams.iter().any(|upstream| upstream.transport != Transport::Tcp) {
            return Err(RelayError::Transport(route.name.clone()));
        }
        Ok(Arc::new(Self {
            name: route.name.clone(),
            limits: route.limits,
            admissions: Mutex::new(Admissions::new(route.limits.connections)),
            targets: Targets::follow(&route.upstreams, Balance::new(route.selection, rng))
                .map_err(|NoRuntime| RelayError::NoRuntime)?,
            proxy_protocol: Mutex::new(route.proxy_protocol),
            metrics: RouteMetrics::new(&route.name, metrics),
        }))
    }

    /// Counts a connection from `source` in; the refusal is counted too.
    ///
    /// # Errors
    /// [`Denied`] at a ceiling.
    pub fn admit(self: &Arc<Self>, source: IpAddr) -> Result<Permit, Denied> {
        let source = Source::of(source);
        if let Err(denied) = locked(&self.admissions).admit(source) {
            self.count_refused(match denied {
                Denied::Full => "full",
                Denied::SourceFull => "source_full",
            });
            return Err(denied);
        }
        self.metrics.accepted.inc();
        self.metrics.open.inc();
        Ok(Permit { state: Arc::clone(self), source })
    }

    pub fn set_connections(&self, ceilings: Ceilings) {
        locked(&self.admissions).set_ceilings(ceilings);
    }

    /// For a client at `source`.
    pub fn plan(&self, source: IpAddr, now: Instant) -> Plan {
        let proxy_protocol = locked(&self.proxy_protocol);
        let mut targets = self.targets.plan(source, now);
        targets.truncate(MAX_ATTEMPTS);
        Plan { targets, proxy_protocol: *proxy_protocol }
    }

    pub fn count_dialed(&self, target: &Target, outcome: Dialed, now: Instant) {
        target.note_dialed(outcome == Dialed::Connected, now);
        let labels =
            Dial { route: self.name.clone(), upstream: target.upstream.clone(), outcome: outcome.name() };
        self.metrics.families.dials.get_or_create(&labels).inc();
        self.metrics.families.reach.note(&target.upstream, outcome.reason(), now);
    }

    pub fn count_bytes(&self, direction: Direction, bytes: usize) {
        match direction {
            Direction::In => self.metrics.bytes_in.inc_by(bytes as u64),
            Direction::Out => self.metrics.bytes_out.inc_by(bytes as u64),
        };
    }

    pub fn count_closed(&self, ending: Ending) {
        self.metrics.families.closed.get_or_create(&self.reason(ending.name())).inc();
    }

    pub fn count_refused(&self, reason: &'static str) {
        self.metrics.families.refused.get_or_create(&self.reason(reason)).inc();
    }

    pub fn open(&self) -> usize {
        locked(&self.admissions).total()
    }

    /// For connections accepted from now on.
    pub fn set_upstreams(&self, upstreams: Vec<Upstream>, proxy_protocol: Option<ProxyProtocol>) {
        let mut current = locked(&self.proxy_protocol);
        *current = proxy_protocol;
        self.targets.set_upstreams(upstreams);
    }

    fn reason(&self, reason: &'static str) -> RouteReason {
        RouteReason { route: self.name.clone(), reason }
    }
}

impl Permit {
    pub fn state(&self) -> &Arc<RouteState> {
        &self.state
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        locked(&self.state.admissions).release(self.source);
        self.state.metrics.open.dec();
    }
}

impl RouteMetrics {
    fn new(name: &str, families: &RelayMetrics) -> Self {
        let route = Route { route: name.to_owned() };
        let bytes = |direction| {
            let labels = RouteDirection { route: name.to_owned(), direction };
            families.bytes.get_or_create_owned(&labels)
        };
        Self {
            accepted: families.accepted.get_or_create_owned(&route),
            open: families.open.get_or_create_owned(&route),
            bytes_in: bytes(Direction::In),
            bytes_out: bytes(Direction::Out),
            families: families.clone(),
        }
    }
}

impl Dialed {
    /// What an error of `connect` means.
    pub fn from_error(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::ConnectionRefused => Self::Refused,
            std::io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Failed,
        }
    }

    /// For people, as in "the attempt timed out".
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Connected => None,
            Self::Refused => Some("was refused"),
            Self::TimedOut => Some("timed out"),
            Self::Failed => Some("failed"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
        }
    }
}

/// The data of these locks is valid after every statement, so a panic elsewhere does not spoil it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
