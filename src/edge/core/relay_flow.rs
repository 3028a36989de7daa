//! One relayed TCP connection: what to do next, given what has ended.
//!
//! ```text
//! dial, dial the next, ... -> greeting -> two lanes, each: receive -> send (again, until all is out) -> receive -> ... -> end -> finish writing
//! ```
//!
//! A lane holds at most one chunk and does not receive while it holds one: a slow receiver stops the reads from its sender, and
//! the memory of a connection is two chunks. The owner carries out [`Step`]s and reports each end exactly once.

use std::time::{Duration, Instant};

/// An end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Upstream,
}

/// What the owner does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Connect to the upstream with this place in the order; ends with `handle_dialed`.
    Dial(usize),
    /// Receive one chunk from this side; ends with `handle_received`.
    Receive(Side),
    /// Send what is left of the chunk to this side; ends with `handle_sent`.
    Send(Side),
    /// Tell this side that no more will come (shutdown of the writing half). Nothing is reported.
    FinishWriting(Side),
    /// End every operation in flight; each still reports its own end, a dial a fault unless it was quicker.
    Cancel,
    /// Nothing is in flight: close both sockets. The last step.
    Close(Ending),
}

/// How a connection ended. All but `Finished` close with a reset, so that nobody takes a torn stream for a whole one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Both sides said that no more would come, and everything was passed on.
    Finished,
    /// One side, or the network, broke it off.
    Reset,
    /// No byte for as long as the route allows.
    Idle,
    /// No upstream could be reached.
    Unreachable,
    /// The route is stopped.
    Stopped,
}

/// What one receive gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    Bytes(usize),
    /// None yet, although it seemed so.
    Nothing,
    /// The side will send no more.
    End,
    Fault,
}

/// A socket does not work any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault;

#[derive(Debug)]
pub struct RelayFlow {
    phase: Phase,
    /// Why everything is being torn down.
    broken: Option<Ending>,
    cancelled: bool,
    /// Bytes of the owner's that go to the upstream before the client's.
    greeting: usize,
    last_progress: Instant,
    patience: Patience,
}

/// How long a connection waits.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For one dial.
    pub dial: Duration,
    /// For a byte in either direction, from the end of the dial on; `None` for ever.
    pub idle: Option<Duration>,
}

#[derive(Debug)]
enum Phase {
    Dialing {
        attempt: usize,
        attempts: usize,
        dial: Dial,
    },
    /// The lanes from the client and from the upstream.
    Relaying([Lane; 2]),
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dial {
    Wanted,
    InFlight,
    /// Its time is over, which the owner does not know yet.
    Late,
    Cancelled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Empty,
    Receiving,
    /// Bytes left of the chunk.
    Holding(usize),
    Sending(usize),
    /// All is passed on, the other side does not know yet.
    Ending,
    Ended,
    /// The receiver is gone: what comes has nowhere to go.
    Dead,
}

impl Side {
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Upstream,
            Self::Upstream => Self::Client,
        }
    }
}

impl RelayFlow {
    /// A connection just accepted, with so many upstreams to try. The one that is reached gets `greeting` bytes before any of the
    /// client's: when its dial has ended the owner holds them as it holds a chunk of the client's.
    #[must_use]
    pub fn new(attempts: usize, greeting: usize, patience: Patience, now: Instant) -> Self {
        let phase = Phase::Dialing { attempt: 0, attempts, dial: Dial::Wanted };
        Self { phase, broken: None, cancelled: false, greeting, last_progress: now, patience }
    }

    /// The next thing to do, until `None`.
    pub fn poll_step(&mut self) -> Option<Step> {
        if let Some(ending) = self.broken {
            return self.poll_teardown(ending);
        }
        match &mut self.phase {
            Phase::Dialing { attempt, attempts, .. } if attempt == attempts => {
                self.broken = Some(Ending::Unreachable);
                self.poll_teardown(Ending::Unreachable)
            }
            Phase::Dialing { dial: Dial::InFlight | Dial::Cancelled, .. } | Phase::Closed => None,
            Phase::Dialing { attempt, dial, .. } => {
                let (next, step) = match dial {
                    Dial::Late => (Dial::Cancelled, Step::Cancel),
                    _ => (Dial::InFlight, Step::Dial(*attempt)),
                };
                *dial = next;
                Some(step)
            }
            Phase::Relaying(lanes) => {
                let [client, upstream] = lanes;
                let step = client.poll(Side::Client).or_else(|| upstream.poll(Side::Upstream));
                step.or_else(|| self.poll_finished())
            }
        }
    }

    /// The dial asked for has ended.
    pub fn handle_dialed(&mut self, result: Result<(), Fault>, now: Instant) {
        let Phase::Dialing { attempt, dial, .. } = &mut self.phase else { return };
        if *dial == Dial::Wanted {
            return;
        }
        self.last_progress = now;
        if result.is_err() {
            (*attempt, *dial) = (*attempt + 1, Dial::Wanted);
            return;
        }
        let client = if self.greeting == 0 { Lane::Empty } else { Lane::Holding(self.greeting) };
        self.phase = Phase::Relaying([client, Lane::Empty]);
    }

    /// The receive from this side has ended.
    pub fn handle_received(&mut self, from: Side, received: Received, now: Instant) {
        let Some(lane) = self.lane(from).filter(|lane| **lane == Lane::Receiving) else { return };
        *lane = match received {
            Received::Bytes(count) if count > 0 => Lane::Holding(count),
            Received::Nothing => Lane::Empty,
            Received::Bytes(_) | Received::End => Lane::Ending,
            Received::Fault => Lane::Dead,
        };
        match received {
            Received::Fault => self.abort(Ending::Reset),
            Received::Nothing => {}
            Received::Bytes(_) | Received::End => self.last_progress = now,
        }
    }

    /// The send to this side has ended, with so many bytes out. After a fault the other lane goes on: what the broken side
    /// said before it broke still arrives.
    pub fn handle_sent(&mut self, to: Side, result: Result<usize, Fault>, now: Instant) {
        let Some(lane) = self.lane(to.other()) else { return };
        let Lane::Sending(left) = *lane else { return };
        *lane = match result {
            Ok(count) if count >= left => Lane::Empty,
            Ok(count) if count > 0 => Lane::Holding(left - count),
            Ok(_) | Err(Fault) => Lane::Dead,
        };
        if *lane != Lane::Dead {
            self.last_progress = now;
        }
    }

    /// Bytes that came from this side and are not all out yet.
    #[must_use]
    pub fn left(&self, from: Side) -> usize {
        let Phase::Relaying([client, upstream]) = &self.phase else { return 0 };
        match if from == Side::Client { client } else { upstream } {
            Lane::Holding(left) | Lane::Sending(left) => *left,
            _ => 0,
        }
    }

    /// Whether it is being torn down.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.broken.is_some()
    }

    /// Tears the connection down, unless that has begun already.
    pub fn abort(&mut self, ending: Ending) {
        if !matches!(self.phase, Phase::Closed) {
            self.broken.get_or_insert(ending);
        }
    }

    /// When [`RelayFlow::handle_timeout`] has something to do, unless something ends before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let patience = match &self.phase {
            _ if self.broken.is_some() => None,
            Phase::Dialing { dial: Dial::InFlight, .. } => Some(self.patience.dial),
            Phase::Relaying(_) => self.patience.idle,
            Phase::Dialing { .. } | Phase::Closed => None,
        };
        self.last_progress.checked_add(patience?)
    }

    /// Acts on a deadline that has passed: a dial is given up, a silent connection torn down.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        match &mut self.phase {
            Phase::Dialing { dial, .. } => *dial = Dial::Late,
            Phase::Relaying(_) => self.abort(Ending::Idle),
            Phase::Closed => {}
        }
    }

    fn lane(&mut self, from: Side) -> Option<&mut Lane> {
        let Phase::Relaying([client, upstream]) = &mut self.phase else { return None };
        Some(match from {
            Side::Client => client,
            Side::Upstream => upstream,
        })
    }

    fn in_flight(&self) -> bool {
        match &self.phase {
            Phase::Dialing { dial, .. } => *dial != Dial::Wanted,
            Phase::Relaying(lanes) => {
                lanes.iter().any(|lane| matches!(lane, Lane::Receiving | Lane::Sending(_)))
            }
            Phase::Closed => false,
        }
    }

    fn poll_teardown(&mut self, ending: Ending) -> Option<Step> {
        if matches!(self.phase, Phase::Closed) {
            return None;
        }
        if !self.in_flight() {
            self.phase = Phase::Closed;
            return Some(Step::Close(ending));
        }
        (!std::mem::replace(&mut self.cancelled, true)).then_some(Step::Cancel)
    }

    fn poll_finished(&mut self) -> Option<Step> {
        let Phase::Relaying(lanes) = self.phase else { return None };
        let over = |lane: &Lane| matches!(lane, Lane::Ended | Lane::Dead);
        if !lanes.iter().all(over) {
            return None;
        }
        let dead = lanes.contains(&Lane::Dead);
        self.phase = Phase::Closed;
        Some(Step::Close(if dead { Ending::Reset } else { Ending::Finished }))
    }
}

impl Lane {
    fn poll(&mut self, from: Side) -> Option<Step> {
        let (next, step) = match *self {
            Self::Empty => (Self::Receiving, Step::Receive(from)),
            Self::Holding(left) => (Self::Sending(left), Step::Send(from.other())),
            Self::Ending => (Self::Ended, Step::FinishWriting(from.other())),
            Self::Receiving | Self::Sending(_) | Self::Ended | Self::Dead => return None,
        };
        *self = next;
        Some(step)
    }
}

impl Ending {
    /// As counters name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Reset => "reset",
            Self::Idle => "idle",
            Self::Unreachable => "unreachable",
            Self::Stopped => "stopped",
        }
    }
}

#[cfg(test)]
mod tests;
