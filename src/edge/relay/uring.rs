//! The relay on `io_uring`: loops that each own a ring, one to a thread, and the way to command them.
//!
//! With several threads the kernel spreads connections over them (`SO_REUSEPORT`), and a connection lives and dies in one.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::Socket;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::handle::{Done, Stop};
use super::reactor::{Command, Reactor};
use super::route::RouteState;
use super::types::{RelayError, RelayRoute};
use super::{Relay, RelayHandle, socket};
use crate::base::rng::SeededRng;
use crate::base::roll_call::RollCall;
use crate::edge::LOOPS;
use crate::edge::metrics::RelayMetrics;
use crate::sys::packet_thread::PacketThread;

/// The `io_uring` relay. Its loops end when it and all handles are gone.
pub struct UringRelay {
    threads: Vec<Arc<Remote>>,
    routes: AtomicU64,
    metrics: RelayMetrics,
    rng: Mutex<SeededRng>,
}

/// Commands one reactor, which ends when this is gone. Not a queue: one command where a route begins, and one where it ends.
struct Remote(UnboundedSender<Command>);

impl UringRelay {
    /// Starts a loop in each thread; each shows in `loops` that it turns.
    ///
    /// # Errors
    /// The kernel's: `io_uring` is absent, forbidden or too old.
    pub fn new(
        threads: &[PacketThread],
        metrics: &RelayMetrics,
        rng: SeededRng,
        loops: &RollCall,
    ) -> io::Result<Self> {
        let threads = threads.iter().map(|thread| start(thread, metrics.clone(), loops.clone()));
        let threads = threads.collect::<io::Result<_>>()?;
        Ok(Self { threads, routes: AtomicU64::new(0), metrics: metrics.clone(), rng: Mutex::new(rng) })
    }

    fn listeners(&self, route: &RelayRoute) -> io::Result<Vec<Socket>> {
        let shared = self.threads.len() > 1;
        let first = socket::listen(route.listen, shared)?;
        let mut address = route.listen;
        address.set_port(bound(&first)?.port());
        let mut all = vec![first];
        for _ in 1..self.threads.len() {
            all.push(socket::listen(address, shared)?);
        }
        Ok(all)
    }
}

impl Relay for UringRelay {
    fn start(&self, route: RelayRoute) -> Result<RelayHandle, RelayError> {
        let rng = fork(&self.rng);
        let state = RouteState::new(&route, &self.metrics, rng)?;
        let failed = |source| RelayError::Listen { address: route.listen, source };
        let listeners = self.listeners(&route).map_err(failed)?;
        let address = bound(&listeners[0]).map_err(failed)?;
        let number = self.routes.fetch_add(1, Ordering::Relaxed);
        for (thread, listener) in self.threads.iter().zip(listeners) {
            let (listener, state) = (listener.into(), Arc::clone(&state));
            thread.send(Command::Serve { route: number, listener, state })?;
        }
        let threads = self.threads.clone();
        let stop: Stop = Box::new(move |grace, done: Done| {
            for thread in &threads {
                // A thread that is gone took its connections with it.
                thread.send(Command::Stop { route: number, grace, done: Arc::clone(&done) }).ok();
            }
        });
        Ok(RelayHandle::new(address, state, stop))
    }
}

/// A generator of its own for one route.
pub(super) fn fork(rng: &Mutex<SeededRng>) -> SeededRng {
    SeededRng::new(rng.lock().unwrap_or_else(PoisonError::into_inner).bytes())
}

pub(super) fn bound(listener: &Socket) -> io::Result<std::net::SocketAddr> {
    listener.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn start(thread: &PacketThread, metrics: RelayMetrics, loops: RollCall) -> io::Result<Arc<Remote>> {
    let (commands, queue) = unbounded_channel();
    let (ready, started) = sync_channel(1);
    thread.run(move || run(queue, metrics, loops, ready));
    started.recv().map_err(io::Error::other)??;
    Ok(Arc::new(Remote(commands)))
}

/// The loop. The ring is made here because only the thread that made it may use it.
async fn run(
    queue: UnboundedReceiver<Command>,
    metrics: RelayMetrics,
    loops: RollCall,
    ready: SyncSender<io::Result<()>>,
) {
    let reactor = Reactor::new(queue, metrics);
    let (mut reactor, report) = match reactor {
        Ok(reactor) => (Some(reactor), Ok(())),
        Err(error) => (None, Err(error)),
    };
    if ready.send(report).is_err() {
        return;
    }
    let Some(reactor) = &mut reactor else { return };
    let turns = loops.join(LOOPS, "layer 4 relay");
    match reactor.run(&turns).await {
        Ok(()) => turns.leave(),
        Err(error) => {
            tracing::error!(%error, "the relay's ring has failed; its routes are not served any more");
        }
    }
}

impl Remote {
    fn send(&self, command: Command) -> Result<(), RelayError> {
        self.0.send(command).map_err(|_| RelayError::Unresponsive)
    }
}
