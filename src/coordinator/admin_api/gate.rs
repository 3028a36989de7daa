//! Who may ask over the network: places for connections, and a key for every request.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::base::ceilings::{Admissions, Ceilings};
use crate::base::rate::{Rate, SourceLimiter};
use crate::base::source::Source;
use crate::coordinator::ledger::{Ledger, Refusal};

/// Connections at once: a few people and their scripts; one machine leaves places to the others.
const CEILINGS: Ceilings = Ceilings { total: 32, per_source: 8 };

/// Requests without a good key that one source may make: mistakes of a person, not guesses of a program.
const FAILURES: Rate = Rate { interval: Duration::from_secs(6), burst: 10 };

/// Clones are the same gate.
#[derive(Clone)]
pub struct Gate(Arc<Mutex<State>>);

struct State {
    inside: Admissions,
    failures: SourceLimiter,
}

/// A connection's place; free again when dropped.
pub struct Seat {
    gate: Gate,
    source: Source,
}

impl Gate {
    pub fn new() -> Self {
        let state = State { inside: Admissions::new(CEILINGS), failures: SourceLimiter::new(FAILURES) };
        Self(Arc::new(Mutex::new(state)))
    }

    /// `None`: all places are taken, or all of this source.
    pub fn seat(&self, peer: IpAddr) -> Option<Seat> {
        let source = Source::of(peer);
        self.lock().inside.admit(source).ok()?;
        Some(Seat { gate: self.clone(), source })
    }

    /// Lets a request through that shows a key of `ledger`'s.
    ///
    /// # Errors
    /// 401 without one; 429 after too many of those, whatever is shown.
    pub async fn admit(&self, peer: IpAddr, headers: &HeaderMap, ledger: &Ledger) -> Result<(), Refusal> {
        let source = Source::of(peer);
        if !self.lock().failures.allows(source, Instant::now()) {
            return Err(Refusal {
                status: 429,
                text: "too many requests with a wrong API key came from this machine; wait a minute".into(),
            });
        }
        let shown = match bearer(headers) {
            Some(key) => ledger.authenticate(key).await,
            None => Err(Refusal::unauthorized("an API key is needed: Authorization: Bearer KEY")),
        };
        if let Err(refusal) = &shown {
            self.lock().failures.take(source, Instant::now());
            tracing::warn!(%peer, reason = refusal.text, "a request to administer was refused");
        }
        shown
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Both tables are right after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.gate.lock().inside.release(self.source);
    }
}

/// The one key that is shown (RFC 6750 section 2.1); two are none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).into_iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn one_machine_leaves_places_to_the_others() {
        let gate = Gate::new();
        let seats = |last: u8| {
            let peer = IpAddr::from([192, 168, 1, last]);
            (0..CEILINGS.total).map_while(|_| gate.seat(peer)).collect::<Vec<_>>()
        };
        let first = seats(1);
        assert_eq!(first.len(), CEILINGS.per_source);
        let others: Vec<_> = (2..=5).map(seats).collect();
        assert_eq!(others.iter().map(Vec::len).sum::<usize>(), CEILINGS.total - first.len());
        drop(first);
        assert_eq!(seats(6).len(), CEILINGS.per_source);
    }

    #[test]
    fn only_one_bearer_is_a_key() {
        let headers = |values: &[&'static str]| {
            let values = values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_static(value)));
            let mut map = HeaderMap::new();
            values.for_each(|(name, value)| {
                map.append(name, value);
            });
            map
        };
        assert_eq!(bearer(&headers(&["Bearer abc"])), Some("abc"));
        assert_eq!(bearer(&headers(&["bearer abc"])), Some("abc"));
        for wrong in [&[][..], &["abc"], &["Basic abc"], &["Bearer"], &["Bearer a", "Bearer b"]] {
            assert_eq!(bearer(&headers(wrong)), None, "{wrong:?}");
        }
    }
}
