//! One connection in the `io_uring` loop: carries out the steps of its [`RelayFlow`] on the ring.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bulk::Filled;
use super::header::Header;
use super::pipe::{Pipe, Pipes};
use super::route::{Dialed, Permit, RouteState};
use super::socket;
use crate::base::slots::SlotId;
use crate::edge::core::bulk::Pace;
use crate::edge::core::relay_flow::{Ending, Fault, Patience, Received, RelayFlow, Side, Step};
use crate::edge::metrics::Direction;
use crate::edge::targets::{Lease, Target};
use crate::sys::uring::{CHUNK, Chunk, Event, OperationId, Ring};

/// Pipes filled for one direction before others have their turn.
const BURST: usize = 16;
/// Before it a connection that vanished would not be noticed by keep-alive anyway, and most connections are over by then: the
/// options of their sockets were four system calls of each.
const KEPT_ALIVE_AFTER: Duration = Duration::from_secs(30);

/// What the connections of one loop share.
pub(super) struct Engine {
    pub ring: Ring<Token>,
    pub pipes: Pipes,
}

/// What an operation in the ring belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Token {
    /// The listener of the route with this number.
    Accept(u64),
    Connection(SlotId, Operation),
    /// Its end says nothing new.
    Ignored,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Operation {
    Dial(usize),
    Receive(Side),
    Send(Side),
}

pub(super) struct Connection {
    pub route: u64,
    pub flow: RelayFlow,
    pub(super) id: SlotId,
    client: Rc<OwnedFd>,
    upstream: Option<Rc<OwnedFd>>,
    /// Held by a lane between its receive and its send, by where the bytes came from.
    chunks: [Option<Chunk>; 2],
    /// As `chunks`, of a lane that is bulk.
    pub(super) pipes: [Option<Pipe>; 2],
    /// By where the bytes come from.
    pub(super) paces: [Pace; 2],
    /// Whether the sockets wait only in the ring.
    pub(super) is_nonblocking: bool,
    /// What to cancel, by lane; a dial counts as the client's. An id that has ended is harmless.
    pub(super) in_flight: [Option<OperationId>; 2],
    plan: Vec<Arc<Target>>,
    header: Header,
    lease: Option<Lease>,
    permit: Permit,
    peer: SocketAddr,
    opened: Instant,
    /// When the upstream's socket gets keep-alive.
    keep_alive_at: Option<Instant>,
    bytes: [u64; 2],
}

impl Connection {
    /// Of a client at `peer`.
    ///
    /// # Errors
    /// The kernel's, about the client's socket.
    pub fn new(
        route: u64,
        client: OwnedFd,
        peer: SocketAddr,
        permit: Permit,
        now: Instant,
    ) -> io::Result<Self> {
        let plan = permit.state().plan(peer.ip(), now);
        let header = Header::new(plan.proxy_protocol, peer, &client)?;
        let limits = &permit.state().limits;
        let patience = Patience { dial: limits.dial_timeout, idle: limits.idle };
        Ok(Self {
            route,
            flow: RelayFlow::new(plan.targets.len(), header.bytes().len(), patience, now),
            id: SlotId::from_bits(u64::MAX),
            client: Rc::new(client),
            upstream: None,
            chunks: [None, None],
            pipes: [None, None],
            paces: [Pace::default(); 2],
            is_nonblocking: false,
            in_flight: [None, None],
            plan: plan.targets,
            header,
            lease: None,
            permit,
            peer,
            opened: now,
            keep_alive_at: None,
            bytes: [0; 2],
        })
    }

    /// For want of room: the client sees a reset.
    pub fn refuse(self) {
        socket::reset_on_close(&self.client);
    }

    /// Its number in the loop, which all its operations carry.
    pub fn set_id(&mut self, id: SlotId) {
        self.id = id;
    }

    /// Takes in the end of one operation.
    pub fn handle(&mut self, operation: Operation, event: Event, now: Instant, engine: &mut Engine) {
        match (operation, event) {
            (Operation::Dial(attempt), Event::Connected(result)) => {
                self.handle_dialed(attempt, result, now, engine);
            }
            (Operation::Receive(from), Event::Received(result)) => self.handle_received(from, result, now),
            (Operation::Send(to), Event::Sent { chunk, result }) => {
                self.handle_sent(to, chunk, result, now, engine);
            }
            (Operation::Receive(from), Event::Ready(result)) => {
                self.handle_readable(from, &result, now, engine);
            }
            (Operation::Send(to), Event::Ready(result)) => self.handle_writable(to, &result, now, engine),
            (operation, _) => tracing::error!(?operation, "the ring answered with another operation's event"),
        }
    }

    /// When [`Connection::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.flow.poll_timeout(), self.keep_alive_at].into_iter().flatten().min()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.flow.handle_timeout(now);
        if self.keep_alive_at.take_if(|at| *at <= now).is_some()
            && let Some(Err(error)) = self.upstream.as_ref().map(socket::keep_alive)
        {
            tracing::debug!(route = self.state().name, %error, "no keep-alive");
        }
    }

    /// Does what can be done now; true when the connection is over and wants to be dropped.
    pub fn advance(&mut self, now: Instant, engine: &mut Engine) -> bool {
        let mut burst = BURST;
        while let Some(step) = self.flow.poll_step() {
            match step {
                Step::Dial(attempt) => self.dial(attempt, now, engine),
                Step::Receive(from) if self.paces[from as usize].is_bulk() => {
                    self.receive_bulk(from, &mut burst, now, engine);
                }
                Step::Receive(from) => self.receive(from, now, engine),
                Step::Send(to) if self.pipes[to.other() as usize].is_some() => self.drain(to, now, engine),
                Step::Send(to) => self.send(to, now, engine),
                Step::FinishWriting(side) => self.finish_writing(side),
                Step::Cancel => self.cancel(engine),
                Step::Close(ending) => {
                    self.close(ending, now, engine);
                    return true;
                }
            }
        }
        false
    }

    fn dial(&mut self, attempt: usize, now: Instant, engine: &mut Engine) {
        let target = &self.plan[attempt];
        let token = Token::Connection(self.id, Operation::Dial(attempt));
        let begun = socket::outgoing(target.address).and_then(|socket| {
            let socket = Rc::new(socket);
            let operation = engine.ring.connect(&socket, target.address, token)?;
            Ok((socket, operation))
        });
        match begun {
            Ok((socket, operation)) => {
                self.upstream = Some(socket);
                self.in_flight[Side::Client as usize] = Some(operation);
            }
            Err(error) => self.handle_dialed(attempt, Err(error), now, engine),
        }
    }

    fn handle_dialed(&mut self, attempt: usize, result: io::Result<()>, now: Instant, engine: &mut Engine) {
        let target = &self.plan[attempt];
        let outcome = result.as_ref().map_or_else(Dialed::from_error, |()| Dialed::Connected);
        self.state().count_dialed(target, outcome, now);
        if let Err(error) = &result {
            tracing::debug!(route = self.state().name, upstream = target.upstream, %error, "dial failed");
            self.upstream = None;
        } else {
            self.lease = Some(target.lease());
            self.keep_alive_at = Some(now + KEPT_ALIVE_AFTER);
            self.hold_header(engine);
        }
        self.flow.handle_dialed(result.map_err(|_| Fault), now);
    }

    /// The flow sends it as it sends a chunk of the client's.
    fn hold_header(&mut self, engine: &mut Engine) {
        let bytes = self.header.bytes();
        if bytes.is_empty() {
            return;
        }
        self.chunks[Side::Client as usize] = engine.ring.chunk_of(bytes);
        if self.chunks[Side::Client as usize].is_none() {
            tracing::warn!(route = self.state().name, "no room for a PROXY header");
            self.flow.abort(Ending::Reset);
        }
    }

    /// After a burst the ring is asked although more may be there: it answers in the next turn.
    fn receive_bulk(&mut self, from: Side, burst: &mut usize, now: Instant, engine: &mut Engine) {
        if *burst == 0 {
            return self.wait_readable(from, now, engine);
        }
        *burst -= 1;
        match self.fill(from, now, engine) {
            Filled::Reported => {}
            Filled::Blocked => self.wait_readable(from, now, engine),
            Filled::NoPipe => self.receive(from, now, engine),
        }
    }

    pub(super) fn receive(&mut self, from: Side, now: Instant, engine: &mut Engine) {
        let token = Token::Connection(self.id, Operation::Receive(from));
        match self.socket(from).map(|socket| engine.ring.receive(socket, token)) {
            Some(Ok(operation)) => self.in_flight[from as usize] = Some(operation),
            _ => self.flow.handle_received(from, Received::Fault, now),
        }
    }

    fn handle_received(&mut self, from: Side, result: io::Result<Option<Chunk>>, now: Instant) {
        let received = match &result {
            Ok(Some(chunk)) => {
                self.paces[from as usize].count_received(chunk.len(), CHUNK);
                Received::Bytes(chunk.len())
            }
            Ok(None) => Received::End,
            Err(_) => Received::Fault,
        };
        self.chunks[from as usize] = result.ok().flatten();
        self.flow.handle_received(from, received, now);
    }

    fn send(&mut self, to: Side, now: Instant, engine: &mut Engine) {
        let token = Token::Connection(self.id, Operation::Send(to));
        let chunk = self.chunks[to.other() as usize].take();
        match self.socket(to).zip(chunk).map(|(socket, chunk)| engine.ring.send(socket, chunk, token)) {
            Some(Ok(operation)) => self.in_flight[to.other() as usize] = Some(operation),
            _ => self.flow.handle_sent(to, Err(Fault), now),
        }
    }

    fn handle_sent(
        &mut self,
        to: Side,
        mut chunk: Chunk,
        result: io::Result<usize>,
        now: Instant,
        engine: &mut Engine,
    ) {
        if let Ok(count) = result {
            chunk.advance(count);
            self.count_sent(to, count);
        }
        if chunk.is_empty() || result.is_err() {
            engine.ring.give_back(chunk);
        } else {
            self.chunks[to.other() as usize] = Some(chunk);
        }
        self.flow.handle_sent(to, result.map_err(|_| Fault), now);
    }

    pub(super) fn count_sent(&mut self, to: Side, count: usize) {
        let count = if to == Side::Upstream { self.header.count_sent(count) } else { count };
        self.bytes[to as usize] += count as u64;
        self.state().count_bytes(direction(to), count);
    }

    // Not by the ring: it hands shutdown to a worker thread, and here it never blocks.
    fn finish_writing(&self, side: Side) {
        if let Some(socket) = self.socket(side) {
            socket::finish_writing(socket);
        }
    }

    fn cancel(&self, engine: &mut Engine) {
        for operation in self.in_flight.into_iter().flatten() {
            if let Err(error) = engine.ring.cancel(operation, Token::Ignored) {
                // It then ends when the peer does something, or by keep-alive.
                tracing::warn!(%error, "an operation of a connection cannot be cancelled");
            }
        }
    }

    fn close(&mut self, ending: Ending, now: Instant, engine: &mut Engine) {
        self.chunks.iter_mut().filter_map(Option::take).for_each(|chunk| engine.ring.give_back(chunk));
        self.pipes.iter_mut().filter_map(Option::take).for_each(|pipe| engine.pipes.discard(pipe));
        if ending != Ending::Finished {
            socket::reset_on_close(&self.client);
            self.upstream.iter().for_each(socket::reset_on_close);
        }
        self.state().count_closed(ending);
        let [bytes_out, bytes_in] = self.bytes;
        let seconds = now.saturating_duration_since(self.opened).as_secs_f64();
        tracing::debug!(route = self.state().name, peer = %self.peer, ?ending, bytes_in, bytes_out, seconds, "closed");
    }

    pub(super) fn socket(&self, side: Side) -> Option<&Rc<OwnedFd>> {
        match side {
            Side::Client => Some(&self.client),
            Side::Upstream => self.upstream.as_ref(),
        }
    }

    pub(super) fn state(&self) -> &Arc<RouteState> {
        self.permit.state()
    }
}

fn direction(to: Side) -> Direction {
    match to {
        Side::Upstream => Direction::In,
        Side::Client => Direction::Out,
    }
}
