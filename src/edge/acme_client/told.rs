//! What people are told of certificates: under way, not had, over soon.

use std::time::Instant;

use super::AcmeClient;
use super::problem::OrderError;
use crate::base::condition::Condition;
use crate::base::wall_time::UnixTime;
use crate::edge::core::acme_order::OrderBook;
use crate::edge::core::certificate::Validity;
use crate::health::catalogue::{CERTIFICATE_ENDS, NO_CERTIFICATE, ORDERING};

/// An authority's words are a sentence or two; the rest of a longer answer helps nobody.
const WORDS_MAX: usize = 400;

impl AcmeClient {
    /// Conditions about names that nobody wants any more go; the page learns how the others stand.
    pub(super) fn tell_names(&self, book: &OrderBook, now: Instant) {
        let standings = book.standings(now, *self.wall.borrow());
        let names: Vec<String> = standings.iter().map(|standing| standing.name.clone()).collect();
        for kind in [NO_CERTIFICATE, CERTIFICATE_ENDS, ORDERING] {
            self.health.keep_only(kind.code, &names);
        }
        self.standings.send_replace(standings);
    }

    pub(super) fn tell_ordering(&self, name: &str, now: Instant) {
        let condition = ORDERING.condition(format!("a certificate for {name} is being ordered")).about(name);
        self.health.set(condition, now);
    }

    /// How an order ended.
    pub(super) fn tell_ended(&self, book: &OrderBook, name: &str, error: Option<&OrderError>, now: Instant) {
        let health = &self.health;
        health.clear_about(ORDERING.code, name);
        let standings = book.standings(now, *self.wall.borrow());
        let standing = standings.iter().find(|standing| standing.name == name);
        if let (Some(error), Some(standing)) = (error, standing) {
            health.set(failed(name, error, standing.validity, standing.next_try), now);
        } else {
            health.clear_about(NO_CERTIFICATE.code, name);
            health.clear_about(CERTIFICATE_ENDS.code, name);
        }
        self.standings.send_replace(standings);
    }
}

fn failed(name: &str, error: &OrderError, held: Option<Validity>, next_try: Option<UnixTime>) -> Condition {
    let condition = match held {
        None => NO_CERTIFICATE.condition(format!("there is no certificate for {name}")),
        Some(held) => CERTIFICATE_ENDS.condition(format!(
            "the certificate for {name} is good until {} and could not be renewed",
            held.not_after.to_minute()
        )),
    };
    let words: String = error.to_string().chars().take(WORDS_MAX).collect();
    let again = next_try.map(|at| format!("; it is tried again at {}", at.to_minute())).unwrap_or_default();
    condition.about(name).because(format!("{words}{again}")).cure(error.advice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::condition::Severity;

    #[test]
    fn a_certificate_that_is_not_had_is_told_with_reason_cure_and_time() {
        let told = failed("a.example.com", &OrderError::Timeout, None, Some(UnixTime(1_800_000_000)));
        assert_eq!((told.code.as_str(), told.about.as_str()), ("PUB-02", "a.example.com"));
        assert_eq!(told.why, "the order took too long; it is tried again at 2027-01-15 08:00 UTC");
        assert!(told.cure.contains("internet"), "{}", told.cure);
        let held = Validity { not_before: UnixTime(0), not_after: UnixTime(1_800_000_000) };
        let told = failed("a.example.com", &OrderError::Timeout, Some(held), None);
        assert_eq!((told.code.as_str(), told.severity), ("PUB-03", Severity::Warning));
        assert!(told.what.contains("2027-01-15"), "{}", told.what);
    }
}
