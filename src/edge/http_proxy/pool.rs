//! Connections to one upstream: those in use, and those kept for the next request.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::base::ceilings::{Ceilings, Denied};
use crate::edge::core::balance::Load;
use crate::edge::core::route::Upstream;
use crate::edge::http_metrics::HttpMetrics;
use crate::edge::listener::{self, Admission, Permit};

/// For resolving and connecting; Caddy's default, and the machines are at most one tunnel away.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Requests to one upstream at once. HTTP/2 clients may ask for far more; the rest wait for [`DIAL_TIMEOUT`].
const MAX_REQUESTS: usize = 512;

/// Of these, those of one source, the waiting ones among them. A client that takes none of its answers holds its places for as long as it
/// likes; it leaves three quarters to the others. As many as one HTTP/2 connection may ask for at once, so one browser is never refused.
const MAX_REQUESTS_PER_SOURCE: usize = MAX_REQUESTS / 4;

/// Connections kept without a request: as many as a busy page asks for at once, for a few clients.
const MAX_KEPT: usize = 64;

/// How long one is kept. Services that close earlier are noticed when they do.
const KEEP_FOR: Duration = Duration::from_secs(90);

/// An upstream whose dial failed is tried last for this long: a machine that reboots is back by then, or fails again.
const FAILURE_MEMORY: Duration = Duration::from_secs(10);

/// An upstream's header in all.
const MAX_HEADER_BUFFER: usize = 256 * 1024;

/// Boxed because the compiler cannot show its bounds inside another future.
type ConnectionFuture = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

type Sender = SendRequest<crate::edge::Body>;

/// See the module.
pub struct Pool {
    upstream: Upstream,
    label: String,
    kept: Mutex<VecDeque<Kept>>,
    /// Of [`MAX_REQUESTS`].
    places: Arc<Semaphore>,
    /// Of [`MAX_REQUESTS_PER_SOURCE`].
    sources: Admission,
    failed_at: Mutex<Option<Instant>>,
    metrics: HttpMetrics,
    abort: CancellationToken,
}

struct Kept {
    sender: Sender,
    since: Instant,
}

/// A connection in use for one request, and the request's place. Dropped, it is closed; see [`Lease::give_back`].
pub struct Lease {
    pool: Arc<Pool>,
    sender: Sender,
    is_kept: bool,
    place: Place,
}

/// A request's place, among all and among those of its source.
struct Place {
    _all: OwnedSemaphorePermit,
    _source: Permit,
}

/// Why an upstream cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("cannot connect: {0}")]
    Io(#[from] io::Error),
    #[error("cannot connect in time")]
    Timeout,
    #[error("too many connections")]
    Busy,
    #[error("too many requests from one source")]
    SourceBusy,
    #[error("cannot begin HTTP: {0}")]
    Http(#[from] hyper::Error),
}

impl Pool {
    pub fn new(upstream: &Upstream, metrics: HttpMetrics, abort: CancellationToken) -> Self {
        Self {
            upstream: upstream.clone(),
            label: format!("{}:{}", upstream.host, upstream.port),
            kept: Mutex::default(),
            places: Arc::new(Semaphore::new(MAX_REQUESTS)),
            // The semaphore counts all of them, and lets them wait.
            sources: Admission::new(Ceilings { total: usize::MAX, per_source: MAX_REQUESTS_PER_SOURCE }),
            failed_at: Mutex::default(),
            metrics,
            abort,
        }
    }

    /// A kept connection for a request from `source`, or a new one when there is none or `fresh` asks for it.
    pub async fn lease(self: &Arc<Self>, source: IpAddr, fresh: bool) -> Result<Lease, DialError> {
        let deadline = Instant::now() + DIAL_TIMEOUT;
        let place = self.place(source, deadline).await?;
        if let Some(sender) = if fresh { None } else { self.take_kept() } {
            return Ok(Lease { pool: Arc::clone(self), sender, is_kept: true, place });
        }
        let dialled = tokio::time::timeout_at(deadline, self.dial()).await;
        let dialled = dialled.unwrap_or(Err(DialError::Timeout));
        self.note(dialled.as_ref().err());
        Ok(Lease { pool: Arc::clone(self), sender: dialled?, is_kept: false, place })
    }

    /// How it stands when an order of upstreams is chosen.
    pub fn load(&self) -> Load {
        let open = MAX_REQUESTS - self.places.available_permits();
        let failing = locked(&self.failed_at).is_some_and(|at| at.elapsed() < FAILURE_MEMORY);
        Load { open, failing }
    }

    /// Closes what has been kept for too long; whether anything is still open, or worth remembering.
    pub fn sweep(&self) -> bool {
        let (mut kept, now) = (locked(&self.kept), Instant::now());
        kept.retain(|kept| kept.is_alive(now));
        !kept.is_empty() || self.load().open > 0 || locked(&self.failed_at).is_some()
    }

    async fn place(&self, source: IpAddr, deadline: Instant) -> Result<Place, DialError> {
        let of_source = self.sources.admit(source).map_err(|denied| match denied {
            Denied::Full => self.count_busy("busy", DialError::Busy),
            Denied::SourceFull => self.count_busy("source_busy", DialError::SourceBusy),
        })?;
        let of_all = tokio::time::timeout_at(deadline, Arc::clone(&self.places).acquire_owned()).await;
        match of_all {
            Ok(Ok(of_all)) => Ok(Place { _all: of_all, _source: of_source }),
            _ => Err(self.count_busy("busy", DialError::Busy)),
        }
    }

    fn count_busy(&self, outcome: &'static str, error: DialError) -> DialError {
        self.metrics.count_dial(&self.label, outcome);
        error
    }

    /// The one used last: it is the least likely to be closed by the other side, and the others may grow old. Dead ones on the way to it go.
    fn take_kept(&self) -> Option<Sender> {
        let (mut kept, now) = (locked(&self.kept), Instant::now());
        for index in (0..kept.len()).rev() {
            let is_alive = kept[index].is_alive(now);
            if is_alive && !kept[index].sender.is_ready() {
                continue;
            }
            let taken = kept.remove(index);
            if is_alive {
                return taken.map(|kept| kept.sender);
            }
        }
        None
    }

    async fn dial(&self) -> Result<Sender, DialError> {
        let stream = TcpStream::connect((self.upstream.host.as_str(), self.upstream.port)).await?;
        listener::tune(&stream)?;
        let (sender, connection) =
            http1::Builder::new().max_buf_size(MAX_HEADER_BUFFER).handshake(TokioIo::new(stream)).await?;
        let abort = self.abort.clone();
        let connection: ConnectionFuture = Box::pin(connection.with_upgrades());
        tokio::spawn(async move {
            if let Some(Err(error)) = abort.run_until_cancelled(connection).await {
                debug!(%error, "connection to an upstream ended");
            }
        });
        Ok(sender)
    }

    /// One line when an upstream stops or begins to answer, not one per request.
    fn note(&self, error: Option<&DialError>) {
        let outcome = match error {
            None => "connected",
            Some(DialError::Timeout) => "timed_out",
            Some(_) => "failed",
        };
        self.metrics.count_dial(&self.label, outcome);
        let reason = error.map(|_| if outcome == "timed_out" { "timed out" } else { "failed" });
        self.metrics.reach.note(&self.label, reason, Instant::now().into());
        let now = error.map(|_| Instant::now());
        let was_failing = std::mem::replace(&mut *locked(&self.failed_at), now).is_some();
        match error {
            Some(error) if !was_failing => warn!(upstream = self.label, %error, "upstream cannot be reached"),
            None if was_failing => info!(upstream = self.label, "upstream answers again"),
            _ => {}
        }
    }

    fn keep(&self, sender: Sender) {
        let mut kept = locked(&self.kept);
        if kept.len() >= MAX_KEPT {
            kept.pop_front();
        }
        kept.push_back(Kept { sender, since: Instant::now() });
    }
}

impl Kept {
    fn is_alive(&self, now: Instant) -> bool {
        now - self.since < KEEP_FOR && !self.sender.is_closed()
    }
}

/// What these locks hold is right after every statement, so a panic elsewhere does not spoil it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lease {
    /// Sends a request; when nothing of it went out, the error holds it.
    pub async fn send(
        &mut self,
        request: Request<crate::edge::Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<crate::edge::Body>>> {
        self.sender.try_send_request(request).await
    }

    /// Whether it served a request before.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// The exchange is complete: the connection may serve the next request.
    pub fn give_back(self) {
        let Self { pool, sender, place, .. } = self;
        if !sender.is_closed() {
            pool.keep(sender);
        }
        // Whoever waits for a place finds the connection.
        drop(place);
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;
    use tokio::net::TcpListener;

    use super::*;
    use crate::edge::core::route::Transport;

    #[tokio::test]
    async fn one_source_takes_a_quarter_and_gets_it_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let upstream = Upstream { transport: Transport::Tcp, host: "127.0.0.1".to_owned(), port };
        let metrics = HttpMetrics::new(&mut Registry::default());
        let pool = Arc::new(Pool::new(&upstream, metrics, CancellationToken::new()));
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let mut held = Vec::new();
        for _ in 0..MAX_REQUESTS_PER_SOURCE {
            held.push(pool.lease(address("2001:db8::1"), false).await.expect("room"));
            drop(listener.accept().await.expect("dialled"));
        }
        let same = pool.lease(address("2001:db8::2"), false).await.err();
        assert!(matches!(same, Some(DialError::SourceBusy)), "{same:?}");
        assert_eq!(pool.load().open, MAX_REQUESTS_PER_SOURCE, "a refusal takes no place");
        drop(pool.lease(address("192.0.2.1"), false).await.expect("room for others"));
        drop(held.pop());
        held.push(pool.lease(address("2001:db8::2"), false).await.expect("room again"));
        held.into_iter().for_each(Lease::give_back);
        assert_eq!(pool.load().open, 0);
        assert_eq!(pool.sources.total(), 0);
    }
}
