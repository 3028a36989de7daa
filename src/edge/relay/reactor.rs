//! One thread's loop: routes it accepts for, connections it carries.
//!
//! ```text
//! submit, and take the ends of operations; none: wait -> hand each to its connection or listener -> next steps queued -> deadlines -> wait
//! ```

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::connection::{Connection, Engine, Operation, Token};
use super::handle::Done;
use super::pipe::Pipes;
use super::route::RouteState;
use super::socket;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;

use crate::base::roll_call::Turns;
use crate::base::slots::{SlotId, Slots};
use crate::edge::core::relay_flow::Ending;
use crate::edge::metrics::RelayMetrics;
use crate::sys::alarm::Alarm;
use crate::sys::packet_thread;
use crate::sys::uring::{Completion, Event, OperationId, Ring};

/// Connections of one thread, over all routes: two descriptors each are 32,768.
const MAX_CONNECTIONS: usize = 16_384;
/// Buffers of one thread that hold something: 128 MB at the very worst. Beyond them a connection that has bytes is ended.
const MAX_CHUNKS: usize = 8192;
/// Two operations per connection, two more to cancel them, and some for listeners and the wake-up.
const MAX_OPERATIONS: usize = 4 * MAX_CONNECTIONS + 1024;
/// After a failed accept, mostly for want of descriptors: time for some to come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Times round without a wait, after which others in the thread have their turn.
const ROUNDS: usize = 4;
/// Limits are seconds to hours: they may be late by this.
const SWEEP_SPACING: Duration = Duration::from_secs(1);
/// With nothing to do the loop shows so often that it lives.
const TURN: Duration = Duration::from_secs(2);

pub(super) enum Command {
    Serve { route: u64, listener: OwnedFd, state: Arc<RouteState> },
    Stop { route: u64, grace: Duration, done: Done },
}

pub(super) struct Reactor {
    engine: Engine,
    /// Readable when an operation has ended.
    events: AsyncFd<OwnedFd>,
    queue: UnboundedReceiver<Command>,
    routes: BTreeMap<u64, Served>,
    connections: Slots<Connection>,
    /// When a connection may have waited long enough.
    sweep_at: Option<Instant>,
    alarm: Alarm,
    ending: bool,
    metrics: RelayMetrics,
}

struct Served {
    state: Arc<RouteState>,
    /// Gone when the route is stopped; the accept in flight holds it until it has ended.
    listener: Option<Rc<OwnedFd>>,
    accept: Accept,
    open: usize,
    stopping: Option<Stopping>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Accept {
    InFlight(OperationId),
    PausedUntil(Instant),
    Over,
}

struct Stopping {
    /// When what is still open is reset; `None` is never, or done already.
    deadline: Option<Instant>,
    _done: Option<Done>,
}

impl Reactor {
    /// # Errors
    /// The kernel's refusal of a ring.
    pub fn new(queue: UnboundedReceiver<Command>, metrics: RelayMetrics) -> io::Result<Self> {
        let ring = Ring::new(MAX_OPERATIONS, MAX_CHUNKS)?;
        let events = ring.watch()?;
        let connections = Slots::new(MAX_CONNECTIONS);
        let routes = BTreeMap::new();
        let engine = Engine { ring, pipes: Pipes::default() };
        let alarm = Alarm::new(Instant::now() + TURN);
        Ok(Self { engine, events, queue, routes, connections, sweep_at: None, alarm, ending: false, metrics })
    }

    /// Runs until nobody can command it any more and everything is closed; each time round counts.
    ///
    /// # Errors
    /// The kernel's, when the ring is unusable.
    pub async fn run(&mut self, turns: &Turns) -> io::Result<()> {
        let (mut completions, mut rounds, mut now) = (Vec::new(), 0, Instant::now());
        while !(self.ending && self.engine.ring.is_idle()) {
            self.engine.ring.turn(&mut completions)?;
            rounds += 1;
            if completions.is_empty() {
                self.wait(now).await?;
                rounds = 0;
            } else if rounds == ROUNDS {
                tokio::task::yield_now().await;
                rounds = 0;
            }
            turns.count();
            now = Instant::now();
            self.take_commands(now);
            for completion in completions.drain(..) {
                self.handle(completion, now);
            }
            self.handle_deadlines(now);
            self.report();
        }
        Ok(())
    }

    /// Waits until an operation may have ended, a command comes or something falls due.
    async fn wait(&mut self, now: Instant) -> io::Result<()> {
        let due = self.next_deadline().map_or(now + TURN, |at| at.min(now + TURN));
        let command = poll_fn(|context| {
            if !self.ending
                && let Poll::Ready(command) = self.queue.poll_recv(context)
            {
                return Poll::Ready(Ok(command));
            }
            match self.events.poll_read_ready(context) {
                Poll::Ready(ready) => Poll::Ready(ready.map(|mut ready| {
                    ready.clear_ready();
                    None
                })),
                Poll::Pending => self.alarm.poll(due, context).map(|()| Ok(None)),
            }
        })
        .await?;
        // That there will be no more, `take_commands` sees.
        if let Some(command) = command {
            self.obey(command, Instant::now());
        }
        Ok(())
    }

    fn handle(&mut self, completion: Completion<Token>, now: Instant) {
        match (completion.token, completion.event) {
            (Token::Accept(route), Event::Accepted { connection, more }) => {
                self.handle_accepted(route, connection, more, now);
            }
            (Token::Connection(id, operation), event) => {
                packet_thread::count_arrived(usize::from(matches!(event, Event::Received(Ok(Some(_))))));
                self.handle_ended(id, operation, event, now);
            }
            (Token::Accept(_) | Token::Ignored, _) => {}
        }
    }

    fn take_commands(&mut self, now: Instant) {
        while !self.ending {
            match self.queue.try_recv() {
                Ok(command) => self.obey(command, now),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => self.end(now),
            }
        }
    }

    fn obey(&mut self, command: Command, now: Instant) {
        match command {
            Command::Serve { route, listener, state } => self.serve(route, listener, state, now),
            Command::Stop { route, grace, done } => self.stop(route, now.checked_add(grace), Some(done), now),
        }
    }

    /// Stops every route that is not being stopped already.
    fn end(&mut self, now: Instant) {
        self.ending = true;
        let running = self.routes.iter().filter(|(_, served)| served.stopping.is_none());
        for route in running.map(|(&route, _)| route).collect::<Vec<_>>() {
            self.stop(route, Some(now), None, now);
        }
    }

    fn serve(&mut self, route: u64, listener: OwnedFd, state: Arc<RouteState>, now: Instant) {
        let listener = Some(Rc::new(listener));
        let served = Served { state, listener, accept: Accept::PausedUntil(now), open: 0, stopping: None };
        self.routes.insert(route, served);
        self.accept(route, now);
    }

    fn accept(&mut self, route: u64, now: Instant) {
        let Some(served) = self.routes.get_mut(&route) else { return };
        let Some(listener) = &served.listener else { return };
        served.accept = match self.engine.ring.accept(listener, Token::Accept(route)) {
            Ok(operation) => Accept::InFlight(operation),
            Err(error) => {
                tracing::warn!(route = served.state.name, %error, "cannot accept for now");
                Accept::PausedUntil(now + ACCEPT_PAUSE)
            }
        };
    }

    fn handle_accepted(&mut self, route: u64, result: io::Result<OwnedFd>, more: bool, now: Instant) {
        let error = match result {
            Ok(client) => {
                self.admit(route, client, now);
                None
            }
            Err(error) => Some(error),
        };
        if more {
            return;
        }
        let Some(served) = self.routes.get_mut(&route) else { return };
        if served.stopping.is_some() {
            served.accept = Accept::Over;
            return self.retire(route);
        }
        match error.filter(|error| error.kind() != io::ErrorKind::ConnectionAborted) {
            None => self.accept(route, now),
            Some(error) => {
                tracing::warn!(route = served.state.name, %error, "cannot accept for now");
                served.accept = Accept::PausedUntil(now + ACCEPT_PAUSE);
            }
        }
    }

    fn admit(&mut self, route: u64, client: OwnedFd, now: Instant) {
        let Some(served) = self.routes.get_mut(&route) else { return };
        // An error: it was reset while it waited.
        let Ok(peer) = socket::client(&client) else { return };
        let permit = Some(&served.state).filter(|_| served.stopping.is_none());
        let Some(permit) = permit.and_then(|state| state.admit(peer.ip()).ok()) else {
            socket::reset_on_close(&client);
            return;
        };
        let Ok(connection) = Connection::new(route, client, peer, permit, now) else { return };
        match self.connections.insert(connection) {
            Ok(id) => {
                served.open += 1;
                self.connections.get_mut(id).into_iter().for_each(|connection| connection.set_id(id));
                self.advance(id, now);
            }
            Err(connection) => {
                served.state.count_refused("thread_full");
                connection.refuse();
            }
        }
    }

    fn handle_ended(&mut self, id: SlotId, operation: Operation, event: Event, now: Instant) {
        let Some(connection) = self.connections.get_mut(id) else {
            tracing::error!(?operation, "an operation outlived its connection");
            return;
        };
        connection.handle(operation, event, now, &mut self.engine);
        self.advance(id, now);
    }

    fn advance(&mut self, id: SlotId, now: Instant) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if !connection.advance(now, &mut self.engine) {
            self.sweep_at = earliest(self.sweep_at, connection.poll_timeout());
            return;
        }
        let route = connection.route;
        self.connections.remove(id);
        if let Some(served) = self.routes.get_mut(&route) {
            served.open -= 1;
            self.retire(route);
        }
    }

    fn stop(&mut self, route: u64, deadline: Option<Instant>, done: Option<Done>, now: Instant) {
        let Some(served) = self.routes.get_mut(&route) else { return };
        served.stopping = Some(Stopping { deadline, _done: done });
        served.listener = None;
        if let Accept::InFlight(operation) = served.accept {
            if let Err(error) = self.engine.ring.cancel(operation, Token::Ignored) {
                tracing::error!(route = served.state.name, %error, "the listener cannot be closed");
            }
        } else {
            served.accept = Accept::Over;
        }
        self.handle_deadlines(now);
        self.retire(route);
    }

    /// Forgets a stopped route whose last connection is gone.
    fn retire(&mut self, route: u64) {
        let Some(served) = self.routes.get(&route) else { return };
        if served.stopping.is_some() && served.open == 0 && served.accept == Accept::Over {
            self.routes.remove(&route);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.routes.values().map(Served::deadline).fold(self.sweep_at, earliest)
    }

    fn handle_deadlines(&mut self, now: Instant) {
        let due = self.routes.iter().filter(|(_, served)| served.deadline().is_some_and(|at| at <= now));
        for route in due.map(|(&route, _)| route).collect::<Vec<_>>() {
            self.handle_route_deadline(route, now);
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep(now);
        }
    }

    fn handle_route_deadline(&mut self, route: u64, now: Instant) {
        let Some(served) = self.routes.get_mut(&route) else { return };
        let Some(stopping) = &mut served.stopping else { return self.accept(route, now) };
        stopping.deadline = None;
        let all = self.connections.iter().filter(|(_, connection)| connection.route == route);
        for id in all.map(|(id, _)| id).collect::<Vec<_>>() {
            self.end_connection(id, Ending::Stopped, now);
        }
    }

    fn end_connection(&mut self, id: SlotId, ending: Ending, now: Instant) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.flow.abort(ending);
            self.advance(id, now);
        }
    }

    /// Acts on what has waited long enough and finds out when to look again.
    fn sweep(&mut self, now: Instant) {
        let (mut due, mut next) = (Vec::new(), None);
        for (id, connection) in self.connections.iter() {
            match connection.poll_timeout() {
                Some(at) if at <= now => due.push(id),
                at => next = earliest(next, at),
            }
        }
        self.sweep_at = next.map(|at| at.max(now + SWEEP_SPACING));
        for id in due {
            self.handle_timeout(id, now);
        }
    }

    fn handle_timeout(&mut self, id: SlotId, now: Instant) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.handle_timeout(now);
            self.advance(id, now);
        }
    }

    fn report(&self) {
        let (held, high_water) = self.engine.ring.chunks();
        self.metrics.chunks.set(i64::try_from(held).unwrap_or(i64::MAX));
        self.metrics.chunks_high_water.set(i64::try_from(high_water).unwrap_or(i64::MAX));
    }
}

impl Served {
    fn deadline(&self) -> Option<Instant> {
        match (&self.stopping, self.accept) {
            (Some(stopping), _) => stopping.deadline,
            (None, Accept::PausedUntil(at)) => Some(at),
            (None, Accept::InFlight(_) | Accept::Over) => None,
        }
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
