//! What time it is, as far as the box can tell: a floor that no true time is below, the board's clock, and servers that agree.
//! Pure; the servers are asked by [`super::time_poll`] in a child without privileges, which is believed as much as a stranger.

mod conditions;
mod consensus;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::base::wall_time::UnixTime;
use crate::wire::errand::{MonotonicNanos, TimeSample};
use crate::wire::sntp::UnixNanos;

use super::time_poll::SERVERS_MAX;

/// After a round that gave the time. A Pi's quartz is off by some hundredths of a second in an hour.
const INTERVAL: Duration = Duration::from_hours(1);
/// After the first round without a result; twice as long after each, up to the last.
const RETRY_FIRST: Duration = Duration::from_secs(4);
const RETRY_MAX: Duration = Duration::from_secs(64);
/// A round takes a few seconds; one that takes this long has failed.
const ROUND_MAX: Duration = Duration::from_secs(30);
/// A single server is believed when no second one has answered for this long.
const LONELY: Duration = Duration::from_secs(20);
/// No single server may move a known clock by more than this.
const LONELY_STEP: i64 = 600 * SECOND;
/// A server that refused is left alone for this long.
const SHUNNED_FOR: Duration = Duration::from_hours(24);
/// A clock that is off by more is set; by less, it is made to run faster or slower until it is right.
const STEP: i64 = SECOND / 2;
/// A child's sample is of this round.
const SAMPLE_AGE: u64 = 60 * SECOND.unsigned_abs();
/// A server whose error is greater gives no time worth having.
const ERROR_MAX: u64 = 20 * SECOND.unsigned_abs();
/// No box runs for longer than this without an update or a saved time.
const CEILING: i64 = 20 * 365 * 86_400 * SECOND;
/// The time of a single server becomes the floor of the next start only when it is this near: a lie must not last for ever.
const SAVE_LONELY: i64 = 400 * 86_400 * SECOND;

const SECOND: i64 = 1_000_000_000;

/// Two clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    pub monotonic: MonotonicNanos,
    /// The system's wall clock.
    pub system: UnixNanos,
}

/// Where the time came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The board's own clock, which ran on while the box was off.
    Board,
    Server(IpAddr),
    /// So many servers agree.
    Servers(usize),
}

/// What to do to the system's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adjustment {
    /// Set it to this time, which is true now.
    Step(UnixNanos),
    /// Let it gain so many nanoseconds, or lose them.
    Slew(i64),
}

/// What happens when the time comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Begin a round.
    Ask,
    /// Believe a single server, if it is so.
    Decide,
    /// The round takes too long: end it.
    GiveUp,
}

#[derive(Debug, Clone, Copy)]
enum Round {
    Idle { next: Instant },
    Asking { since: Instant, decided: bool },
}

/// The judge of samples.
#[derive(Debug)]
pub struct TimeSync {
    floor: UnixNanos,
    /// Servers that can be asked at all, by the owner's word.
    servers: usize,
    source: Option<Source>,
    round: Round,
    samples: BTreeMap<IpAddr, TimeSample>,
    /// Since when there has been one answer, and no second.
    lonely_since: Option<Instant>,
    failures: u32,
    shunned: BTreeMap<IpAddr, Instant>,
    started: Instant,
    /// The last round's servers contradicted each other.
    is_disputed: bool,
    /// A server of the last round claimed a time before the floor.
    is_early: bool,
}

/// The greatest of what no true time is below: when the program was built, when time was last saved, when the newest
/// certificate of the box's own was issued. A saved time from beyond belief is not looked at.
#[must_use]
pub fn floor(built: UnixTime, saved: Option<UnixTime>, certificate: Option<UnixTime>) -> UnixTime {
    let latest = UnixTime(built.0.saturating_add(CEILING / SECOND));
    let later = [saved, certificate].into_iter().flatten().filter(|time| *time <= latest);
    later.fold(built, UnixTime::max)
}

impl TimeSync {
    /// Nothing is known yet; the first round is due at once. `servers` is how many the owner names.
    #[must_use]
    pub fn new(floor: UnixTime, servers: usize, now: Instant) -> Self {
        Self {
            floor: floor.0.saturating_mul(SECOND),
            servers,
            source: None,
            round: Round::Idle { next: now },
            samples: BTreeMap::new(),
            lonely_since: None,
            failures: 0,
            shunned: BTreeMap::new(),
            started: now,
            is_disputed: false,
            is_early: false,
        }
    }

    /// At the start: `board` is what the board's clock shows, if there is one. Gives the time to set the system's clock to:
    /// never below the floor, so that at least nothing is dated before the program was made.
    pub fn handle_board(&mut self, board: Option<UnixNanos>, system: UnixNanos) -> Option<UnixNanos> {
        let ran_on = board.into_iter().chain([system]).find(|time| self.is_credible(*time));
        if let Some(time) = ran_on {
            self.source = Some(Source::Board);
            return (time.saturating_sub(system).saturating_abs() > STEP).then_some(time);
        }
        Some(self.floor)
    }

    /// A round begins.
    pub fn handle_round(&mut self, now: Instant) {
        self.samples.clear();
        self.shunned.retain(|_, until| *until > now);
        self.is_early = false;
        self.round = Round::Asking { since: now, decided: false };
    }

    /// A server's time, read when the clocks stood at `reading`.
    pub fn handle_sample(
        &mut self,
        sample: TimeSample,
        reading: Reading,
        now: Instant,
    ) -> Option<Adjustment> {
        let is_fresh = sample.at <= reading.monotonic && reading.monotonic - sample.at <= SAMPLE_AGE;
        if !is_fresh || sample.error > ERROR_MAX {
            return None;
        }
        if !self.is_credible(sample.time) {
            self.is_early |= sample.time < self.floor;
            return None;
        }
        if self.samples.len() < SERVERS_MAX {
            self.samples.insert(sample.server, sample);
        }
        if self.samples.len() == 1 {
            self.lonely_since.get_or_insert(now);
        } else {
            self.lonely_since = None;
        }
        self.decide(reading, now)
    }

    /// A server wants no questions.
    pub fn handle_shun(&mut self, server: IpAddr, now: Instant) {
        if self.shunned.len() < SERVERS_MAX {
            self.shunned.insert(server, now + SHUNNED_FOR);
        }
    }

    /// Everybody has answered or let its time pass, or the child that asked has failed.
    pub fn handle_round_end(&mut self, reading: Reading, now: Instant) -> Option<Adjustment> {
        let adjustment = self.decide(reading, now);
        let Round::Asking { decided, .. } = self.round else { return adjustment };
        self.is_disputed = !decided && self.samples.len() > 1;
        self.failures = if decided { 0 } else { self.failures.saturating_add(1) };
        let wait = if decided {
            INTERVAL
        } else {
            RETRY_FIRST.saturating_mul(1 << (self.failures - 1).min(8)).min(RETRY_MAX)
        };
        self.round = Round::Idle { next: now + wait };
        adjustment
    }

    /// The network has changed: who could not be reached may be reached now.
    pub fn handle_network(&mut self, now: Instant) {
        if matches!(self.round, Round::Idle { .. }) && !self.is_confirmed() {
            self.round = Round::Idle { next: now };
            self.failures = 0;
        }
    }

    /// Whether a single server is to be believed by now.
    pub fn decide(&mut self, reading: Reading, now: Instant) -> Option<Adjustment> {
        let Round::Asking { since, decided: false } = self.round else { return None };
        let agreement = consensus::find(self.samples.values())?;
        let answers = self.samples.len();
        let is_majority = agreement.servers >= 2 && agreement.servers * 2 > answers;
        let is_lonely =
            answers == 1 && (self.servers <= 1 || self.lonely_since.is_some_and(|at| now >= at + LONELY));
        let time = agreement.epoch.saturating_add(i64::try_from(reading.monotonic).ok()?);
        let is_moderate =
            !self.is_confirmed() || time.saturating_sub(reading.system).saturating_abs() <= LONELY_STEP;
        if !self.is_credible(time) || !(is_majority || (is_lonely && is_moderate)) {
            return None;
        }
        self.round = Round::Asking { since, decided: true };
        let single = self.samples.keys().next().copied();
        let was_confirmed = self.is_confirmed();
        self.source = match single {
            Some(server) if answers == 1 => Some(Source::Server(server)),
            _ => Some(Source::Servers(agreement.servers)),
        };
        self.is_disputed = false;
        Some(adjust(time, reading.system, was_confirmed))
    }

    /// The next moment at which something is due, and what.
    #[must_use]
    pub fn poll_timeout(&self) -> (Instant, Due) {
        match self.round {
            Round::Idle { next } => (next, Due::Ask),
            Round::Asking { since, decided } => {
                let lonely = self.lonely_since.filter(|_| !decided && self.samples.len() == 1);
                let believed = lonely.map(|at| at + LONELY).filter(|at| *at < since + ROUND_MAX);
                believed.map_or((since + ROUND_MAX, Due::GiveUp), |at| (at, Due::Decide))
            }
        }
    }

    /// Where the time came from; `None` while it is unknown.
    #[must_use]
    pub fn source(&self) -> Option<Source> {
        self.source
    }

    /// Servers that are not to be asked.
    #[must_use]
    pub fn shunned(&self) -> Vec<IpAddr> {
        self.shunned.keys().copied().collect()
    }

    /// A time that is not decades off.
    #[must_use]
    pub fn near(&self) -> UnixNanos {
        self.floor
    }

    /// The time to keep as a floor for the next start.
    #[must_use]
    pub fn worth_saving(&self, system: UnixNanos) -> Option<UnixTime> {
        let is_sure = match self.source? {
            Source::Servers(_) => true,
            Source::Server(_) => system <= self.floor.saturating_add(SAVE_LONELY),
            Source::Board => false,
        };
        (is_sure && self.is_credible(system)).then_some(UnixTime(system.div_euclid(SECOND)))
    }

    fn is_credible(&self, time: UnixNanos) -> bool {
        (self.floor..=self.floor.saturating_add(CEILING)).contains(&time)
    }

    /// Somebody else than the board vouched for the time.
    fn is_confirmed(&self) -> bool {
        matches!(self.source, Some(Source::Server(_) | Source::Servers(_)))
    }
}

/// A clock that nobody vouched for before is set to the very time.
fn adjust(time: UnixNanos, system: UnixNanos, was_confirmed: bool) -> Adjustment {
    let offset = time.saturating_sub(system);
    let is_small = offset.unsigned_abs() <= STEP.unsigned_abs();
    if was_confirmed && is_small { Adjustment::Slew(offset) } else { Adjustment::Step(time) }
}

#[cfg(test)]
mod tests;
