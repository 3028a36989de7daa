//! How long to wait before the next try: twice as long after each failure, up to a ceiling.

use std::time::Duration;

/// Delays that double. The same sequence every time: for tries that nobody else makes at the same moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with `first` and never exceeds `most`.
    #[must_use]
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first.min(most) }
    }

    /// The delay before the next try; the one after it is twice as long.
    pub fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = delay.saturating_mul(2).min(self.most);
        delay
    }

    /// It worked: begin anew with the first delay.
    pub fn reset(&mut self) {
        self.next = self.first.min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn delays_double_up_to_the_ceiling_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let delays: Vec<u64> = (0..5).map(|_| backoff.delay().as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 5, 5]);
        backoff.reset();
        assert_eq!(backoff.delay(), Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn a_delay_never_exceeds_the_ceiling(first: u64, most: u64, tries in 0..100_usize) {
            let most = Duration::from_secs(most);
            let mut backoff = Backoff::new(Duration::from_secs(first), most);
            let mut before = Duration::ZERO;
            for _ in 0..tries {
                let delay = backoff.delay();
                prop_assert!(delay <= most && delay >= before);
                before = delay;
            }
        }
    }
}
