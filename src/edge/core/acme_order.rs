//! When to order which certificate, and how long to wait after a failure.
//!
//! The shell adds names and reports what became of each order; [`OrderBook::poll_order`] hands out the next name that is
//! due, [`OrderBook::poll_timeout`] says when to ask again. Nothing is due while the wall clock is unknown: a certificate
//! judged by a wrong clock would be ordered in vain, and authorities count orders.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand_core::RngCore;

use super::certificate::Validity;
use crate::base::rng::SeededRng;
use crate::base::wall_time::{UnixTime, WallTime};

/// The first wait after a failure. Doubling from two minutes makes five attempts in the first hour, the number of failed
/// validations per host name that Let's Encrypt forgives in one hour.
const FIRST_DELAY: Duration = Duration::from_mins(2);

/// The same where the authority did not even look at the order: it counts nothing, and a box that has just been switched on
/// with its router is seconds away from the internet.
const FIRST_DELAY_UNSEEN: Duration = Duration::from_secs(5);

/// The longest such wait: whoever gets the internet back has certificates soon after.
const LONGEST_DELAY_UNSEEN: Duration = Duration::from_mins(15);

/// The longest wait between attempts: a port forwarded at last is noticed within the same half day.
const LONGEST_DELAY: Duration = Duration::from_hours(6);

/// The shortest wait after the authority said that it has had enough of us (RFC 8555 section 6.7, `rateLimited`).
const RATE_LIMIT_DELAY: Duration = Duration::from_hours(1);

/// How far ahead a renewal is slept for at most: the wall clock may be stepped meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_hours(1);

/// Names kept at once; a household has a handful, an authority allows 50 certificates per domain and week.
pub const MAX_NAMES: usize = 256;

/// Whose word ended an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Refused or not validated.
    Ordinary,
    /// The authority was not reached, or refused the request's nonce: it did not look at the order.
    Unseen,
    /// The authority limits the rate of orders.
    RateLimited,
}

/// Every name that should have a certificate, and how each stands.
#[derive(Debug)]
pub struct OrderBook {
    names: BTreeMap<String, Standing>,
    rng: SeededRng,
}

#[derive(Debug, Clone, Copy)]
struct Standing {
    /// Of the certificate in hand.
    validity: Option<Validity>,
    /// Orders that failed since the last one that did not: those that the authority looked at, and the others.
    refused: u32,
    unseen: u32,
    not_before: Instant,
}

/// How one name stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameStanding {
    pub name: String,
    /// Of the certificate in hand.
    pub validity: Option<Validity>,
    /// Orders that failed since the last one that did not.
    pub failures: u32,
    /// When the next order is due; `None` while the wall clock is unknown.
    pub next_try: Option<UnixTime>,
}

impl OrderBook {
    #[must_use]
    pub fn new(rng: SeededRng) -> Self {
        Self { names: BTreeMap::new(), rng }
    }

    /// Makes `wanted` the names to care for. Known names keep their standing; of more than [`MAX_NAMES`] the last are left out.
    pub fn set_names<'a>(&mut self, wanted: impl IntoIterator<Item = &'a str>, now: Instant) {
        let mut names = BTreeMap::new();
        for name in wanted.into_iter().take(MAX_NAMES) {
            let fresh = Standing { validity: None, refused: 0, unseen: 0, not_before: now };
            names.insert(name.to_owned(), self.names.get(name).copied().unwrap_or(fresh));
        }
        self.names = names;
    }

    /// A certificate is in hand, loaded or just issued.
    pub fn handle_certificate(&mut self, name: &str, validity: Validity, now: Instant) {
        if let Some(standing) = self.names.get_mut(name) {
            *standing = Standing { validity: Some(validity), refused: 0, unseen: 0, not_before: now };
        }
    }

    /// An order came to nothing. Returns how long the name now waits.
    pub fn handle_failure(&mut self, name: &str, failure: Failure, now: Instant) -> Duration {
        let jitter = f64::from(self.rng.next_u32()) / f64::from(u32::MAX) / 4.0;
        let Some(standing) = self.names.get_mut(name) else { return Duration::ZERO };
        let (count, first, longest) = match failure {
            Failure::Ordinary | Failure::RateLimited => (&mut standing.refused, FIRST_DELAY, LONGEST_DELAY),
            Failure::Unseen => (&mut standing.unseen, FIRST_DELAY_UNSEEN, LONGEST_DELAY_UNSEEN),
        };
        let floor = if failure == Failure::RateLimited { RATE_LIMIT_DELAY } else { first };
        let doubled = first.saturating_mul(2_u32.saturating_pow(*count));
        let delay = doubled.clamp(floor, longest).mul_f64(1.0 + jitter);
        *count = count.saturating_add(1);
        standing.not_before = now + delay;
        delay
    }

    /// The name to order for now: one without a certificate before one that only needs renewal, the most patient first.
    #[must_use]
    pub fn poll_order(&self, now: Instant, wall: WallTime) -> Option<String> {
        let today = wall.known()?;
        self.names
            .iter()
            .filter(|(_, standing)| now >= standing.not_before && standing.is_wanting(today))
            .min_by_key(|(_, standing)| (standing.validity.is_some(), standing.not_before))
            .map(|(name, _)| name.clone())
    }

    /// Every name, in alphabetical order.
    #[must_use]
    pub fn standings(&self, now: Instant, wall: WallTime) -> Vec<NameStanding> {
        let view = |(name, standing): (&String, &Standing)| NameStanding {
            name: name.clone(),
            validity: standing.validity,
            failures: standing.failures(),
            next_try: wall.known().map(|today| standing.next_try(now, today)),
        };
        self.names.iter().map(view).collect()
    }

    /// When [`Self::poll_order`] may have something, and why.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant, wall: WallTime) -> Option<(Instant, &'static str)> {
        let today = wall.known()?;
        self.names.values().map(|standing| standing.deadline(now, today)).min_by_key(|(at, _)| *at)
    }
}

impl Standing {
    fn failures(&self) -> u32 {
        self.refused.saturating_add(self.unseen)
    }

    fn is_wanting(&self, today: UnixTime) -> bool {
        self.validity.is_none_or(|validity| today >= validity.renew_at())
    }

    fn next_try(&self, now: Instant, today: UnixTime) -> UnixTime {
        let waits = today.saturating_add(self.not_before.saturating_duration_since(now));
        self.validity.map_or(waits, |validity| validity.renew_at().max(waits))
    }

    fn deadline(&self, now: Instant, today: UnixTime) -> (Instant, &'static str) {
        if self.is_wanting(today) {
            let reason = if self.failures() > 0 { "retry an order" } else { "order a certificate" };
            return (self.not_before.max(now), reason);
        }
        let renew_at = self.validity.map_or(today, Validity::renew_at);
        let seconds = u64::try_from(renew_at.0.saturating_sub(today.0)).unwrap_or(0);
        (
            now + Duration::from_secs(seconds).min(LONGEST_SLEEP),
            "look whether a certificate is due for renewal",
        )
    }
}

#[cfg(test)]
#[path = "acme_order/tests.rs"]
mod tests;
