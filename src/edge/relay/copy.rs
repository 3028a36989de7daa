//! The relay on tokio (epoll): one task per connection, for kernels without `io_uring`. Same limits, same endings.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handle::{Done, Stop};
use super::header::Header;
use super::route::{Dialed, Permit, Plan, RouteState};
use super::socket;
use super::types::{RelayError, RelayRoute};
use super::uring::{bound, fork};
use super::{Relay, RelayHandle};
use crate::base::rng::SeededRng;
use crate::edge::core::relay_flow::Ending;
use crate::edge::metrics::{Direction, RelayMetrics};
use crate::edge::targets::Target;

/// As in the `io_uring` loop.
const CHUNK: usize = 16 * 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The relay without `io_uring`.
pub struct CopyRelay {
    metrics: RelayMetrics,
    rng: Mutex<SeededRng>,
}

/// How one direction ended, apart from a failed read.
#[derive(PartialEq, Eq)]
enum Lane {
    Finished,
    /// The receiver is gone.
    Dead,
}

/// What both directions tell the idle watch.
struct Progress {
    begun: Instant,
    /// Milliseconds after `begun` at which the last byte moved.
    last: AtomicU64,
}

impl CopyRelay {
    #[must_use]
    pub fn new(metrics: RelayMetrics, rng: SeededRng) -> Self {
        Self { metrics, rng: Mutex::new(rng) }
    }
}

impl Relay for CopyRelay {
    fn start(&self, route: RelayRoute) -> Result<RelayHandle, RelayError> {
        let state = RouteState::new(&route, &self.metrics, fork(&self.rng))?;
        let failed = |source| RelayError::Listen { address: route.listen, source };
        let listener = socket::listen(route.listen, false).map_err(failed)?;
        let address = bound(&listener).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = TcpListener::from_std(listener.into()).map_err(failed)?;
        let (command, stopped) = oneshot::channel();
        tokio::spawn(serve(listener, Arc::clone(&state), stopped));
        let stop: Stop = Box::new(move |grace, done: Done| drop(command.send((grace, done))));
        Ok(RelayHandle::new(address, state, stop))
    }
}

async fn serve(listener: TcpListener, state: Arc<RouteState>, stopped: oneshot::Receiver<(Duration, Done)>) {
    let (tracker, abort) = (TaskTracker::new(), CancellationToken::new());
    let stopped = tokio::select! {
        stopped = stopped => stopped,
        () = accept_all(&listener, &state, &tracker, &abort) => return,
    };
    drop(listener);
    tracker.close();
    let (grace, _done) = stopped.map_or((Duration::ZERO, None), |(grace, done)| (grace, Some(done)));
    if timeout(grace, tracker.wait()).await.is_err() {
        abort.cancel();
        tracker.wait().await;
    }
}

async fn accept_all(
    listener: &TcpListener,
    state: &Arc<RouteState>,
    tracker: &TaskTracker,
    abort: &CancellationToken,
) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                // An error: it was reset while it waited.
                let Ok(address) = socket::client(&client) else { continue };
                match state.admit(address.ip()) {
                    Ok(permit) => drop(tracker.spawn(carry(client, address, permit, abort.clone()))),
                    Err(_) => socket::reset_on_close(&client),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(route = state.name, %error, "cannot accept for now");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection from its dial to its end.
async fn carry(mut client: TcpStream, peer: SocketAddr, permit: Permit, abort: CancellationToken) {
    let state = permit.state();
    let plan = state.plan(peer.ip(), Instant::now());
    let Ok(header) = Header::new(plan.proxy_protocol, peer, &client) else { return };
    let ending = match abort.run_until_cancelled(dial(state, plan)).await {
        None => Ending::Stopped,
        Some(None) => Ending::Unreachable,
        Some(Some((mut upstream, target))) => {
            let _lease = target.lease();
            let relayed = abort.run_until_cancelled(relay(state, &header, &mut client, &mut upstream));
            let ending = relayed.await.unwrap_or(Ending::Stopped);
            if ending != Ending::Finished {
                socket::reset_on_close(&upstream);
            }
            ending
        }
    };
    if ending != Ending::Finished {
        socket::reset_on_close(&client);
    }
    state.count_closed(ending);
    tracing::debug!(route = state.name, %peer, ?ending, "closed");
}

async fn dial(state: &RouteState, plan: Plan) -> Option<(TcpStream, Arc<Target>)> {
    for target in plan.targets {
        let result = timeout(state.limits.dial_timeout, connect(target.address)).await;
        let result = result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let outcome = result.as_ref().map_or_else(Dialed::from_error, |_| Dialed::Connected);
        state.count_dialed(&target, outcome, Instant::now());
        match result {
            Ok(upstream) => return Some((upstream, target)),
            Err(error) => {
                tracing::debug!(route = state.name, upstream = target.upstream, %error, "dial failed");
            }
        }
    }
    None
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = std::net::TcpStream::from(socket::outgoing(address)?);
    socket::keep_alive(&socket)?;
    socket.set_nonblocking(true)?;
    tokio::net::TcpSocket::from_std_stream(socket).connect(address).await
}

async fn relay(
    state: &RouteState,
    header: &Header,
    client: &mut TcpStream,
    upstream: &mut TcpStream,
) -> Ending {
    let progress = Progress { begun: Instant::now(), last: AtomicU64::new(0) };
    let (client_read, client_write) = client.split();
    let (upstream_read, mut upstream_write) = upstream.split();
    let greet_and_pump = async {
        if upstream_write.write_all(header.bytes()).await.is_err() {
            return Ok(Lane::Dead);
        }
        pump(client_read, upstream_write, state, Direction::In, &progress).await
    };
    let lanes = async {
        tokio::try_join!(greet_and_pump, pump(upstream_read, client_write, state, Direction::Out, &progress),)
    };
    tokio::select! {
        lanes = lanes => match lanes {
            Ok((Lane::Finished, Lane::Finished)) => Ending::Finished,
            Ok(_) | Err(_) => Ending::Reset,
        },
        () = progress.idle(state.limits.idle) => Ending::Idle,
    }
}

/// Passes on one direction. An error is the sender's; a receiver that is gone leaves the other direction alone.
async fn pump(
    from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    state: &RouteState,
    direction: Direction,
    progress: &Progress,
) -> io::Result<Lane> {
    loop {
        // The buffer is taken only when there is something to put into it.
        from.readable().await?;
        let mut buffer = vec![0; CHUNK];
        let count = match from.try_read(&mut buffer) {
            Ok(0) => {
                to.shutdown().await.ok();
                return Ok(Lane::Finished);
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        if to.write_all(&buffer[..count]).await.is_err() {
            return Ok(Lane::Dead);
        }
        state.count_bytes(direction, count);
        progress.touch();
    }
}

impl Progress {
    fn touch(&self) {
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }

    /// Returns when nothing has moved for `limit`.
    async fn idle(&self, limit: Option<Duration>) {
        let Some(limit) = limit else { return std::future::pending().await };
        loop {
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let silent = self.begun.elapsed().saturating_sub(last);
            match limit.checked_sub(silent) {
                None | Some(Duration::ZERO) => return,
                Some(left) => sleep(left).await,
            }
        }
    }
}
