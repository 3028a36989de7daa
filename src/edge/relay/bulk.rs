//! The bulk phase of a connection: bytes go from socket to socket by a pipe, which is lent only while it holds some. What is
//! moved is moved at once, by `splice`, and what would block waits in the ring. (The ring's own splice is no help: the kernel
//! hands each to a worker thread.)

use std::io;
use std::time::Instant;

use super::connection::{Connection, Engine, Operation, Token};
use super::socket;
use crate::edge::core::relay_flow::{Fault, Received, Side};

/// What came of trying to fill a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    /// The flow was told.
    Reported,
    /// Nothing has come yet.
    Blocked,
    /// All are lent, or there can be none.
    NoPipe,
}

impl Connection {
    /// Fills a pipe with what `from` has sent.
    pub(super) fn fill(&mut self, from: Side, now: Instant, engine: &mut Engine) -> Filled {
        let Some(pipe) = self.begin_bulk().then(|| engine.pipes.lend()).flatten() else {
            return Filled::NoPipe;
        };
        let moved = self.socket(from).map(|socket| retried(|| pipe.fill(socket)));
        let received = match moved {
            Some(Ok(bytes @ 1..)) => {
                self.paces[from as usize].count_moved(bytes);
                self.pipes[from as usize] = Some(pipe);
                self.flow.handle_received(from, Received::Bytes(bytes), now);
                return Filled::Reported;
            }
            Some(Ok(_)) => Some(Received::End),
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
            Some(Err(_)) | None => Some(Received::Fault),
        };
        engine.pipes.give_back(pipe);
        let Some(received) = received else { return Filled::Blocked };
        self.flow.handle_received(from, received, now);
        Filled::Reported
    }

    /// Reports when `from` has sent something.
    pub(super) fn wait_readable(&mut self, from: Side, now: Instant, engine: &mut Engine) {
        let token = Token::Connection(self.id, Operation::Receive(from));
        match self.socket(from).map(|socket| engine.ring.poll_readable(socket, token)) {
            Some(Ok(operation)) => self.in_flight[from as usize] = Some(operation),
            _ => self.flow.handle_received(from, Received::Fault, now),
        }
    }

    pub(super) fn handle_readable(
        &mut self,
        from: Side,
        result: &io::Result<()>,
        now: Instant,
        engine: &mut Engine,
    ) {
        if result.is_err() {
            return self.flow.handle_received(from, Received::Fault, now);
        }
        // Nothing new is begun here: meanwhile the connection may be torn down.
        if self.fill(from, now, engine) != Filled::Reported {
            self.flow.handle_received(from, Received::Nothing, now);
        }
    }

    /// Empties the pipe of what came from the other side into `to`, as far as it takes it.
    pub(super) fn drain(&mut self, to: Side, now: Instant, engine: &mut Engine) {
        let lane = to.other() as usize;
        let Some(pipe) = self.pipes[lane].take() else { return };
        let left = self.flow.left(to.other());
        let moved = self.socket(to).map(|socket| retried(|| pipe.drain(socket, left)));
        match moved {
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock && !self.flow.is_ending() => {
                self.pipes[lane] = Some(pipe);
                self.wait_writable(to, now, engine);
            }
            Some(Ok(bytes @ 1..)) => {
                self.count_sent(to, bytes);
                if bytes < left {
                    self.pipes[lane] = Some(pipe);
                } else {
                    engine.pipes.give_back(pipe);
                }
                self.flow.handle_sent(to, Ok(bytes), now);
            }
            Some(Ok(_) | Err(_)) | None => {
                engine.pipes.discard(pipe);
                self.flow.handle_sent(to, Err(Fault), now);
            }
        }
    }

    fn wait_writable(&mut self, to: Side, now: Instant, engine: &mut Engine) {
        let token = Token::Connection(self.id, Operation::Send(to));
        match self.socket(to).map(|socket| engine.ring.poll_writable(socket, token)) {
            Some(Ok(operation)) => self.in_flight[to.other() as usize] = Some(operation),
            _ => self.flow.handle_sent(to, Err(Fault), now),
        }
    }

    pub(super) fn handle_writable(
        &mut self,
        to: Side,
        result: &io::Result<()>,
        now: Instant,
        engine: &mut Engine,
    ) {
        match result {
            Ok(()) => self.drain(to, now, engine),
            Err(_) => self.flow.handle_sent(to, Err(Fault), now),
        }
    }

    /// Whether both sockets can be used directly from now on.
    fn begin_bulk(&mut self) -> bool {
        if !self.is_nonblocking {
            let both = [Side::Client, Side::Upstream];
            self.is_nonblocking = both
                .into_iter()
                .all(|side| self.socket(side).is_some_and(|socket| socket::set_nonblocking(socket).is_ok()));
        }
        self.is_nonblocking
    }
}

fn retried(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
