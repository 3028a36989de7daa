//! Rates: how often something may happen, in memory that does not grow with who asks.

use std::time::{Duration, Instant};

use super::source::Source;

/// Slots of a [`SourceLimiter`]: far more than a household's neighbours, 128 KiB at most.
const SLOTS: usize = 4096;

/// `burst` events at once, then one per `interval` (the generic cell rate algorithm: one instant of state).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub interval: Duration,
    pub burst: u32,
}

/// One user of a [`Rate`].
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenBucket {
    /// When the bucket is full again; `None`: it is full.
    full_at: Option<Instant>,
}

/// A [`Rate`] per source. Sources are spread over a fixed table; those that meet in one slot share it.
#[derive(Debug)]
pub struct SourceLimiter {
    rate: Rate,
    slots: Vec<TokenBucket>,
}

impl TokenBucket {
    /// Whether one more event may happen at `now`; it is counted if so.
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let after = full_at + rate.interval;
        let allowed = after.saturating_duration_since(now) <= rate.interval * rate.burst;
        if allowed {
            self.full_at = Some(after);
        }
        allowed
    }
}

/// Something that strangers can cause, said at a [`Rate`]; what goes unsaid is counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Remark {
    bucket: TokenBucket,
    unsaid: u64,
}

/// For a line of the log: a person sees each of a few, and a flood costs a line a minute.
pub const LOG_RATE: Rate = Rate { interval: Duration::from_mins(1), burst: 10 };

impl Remark {
    /// How many went unsaid before this one; `None` when this one does too.
    pub fn say(&mut self, rate: Rate, now: Instant) -> Option<u64> {
        if self.bucket.take(rate, now) {
            return Some(std::mem::take(&mut self.unsaid));
        }
        self.unsaid += 1;
        None
    }
}

impl SourceLimiter {
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, slots: vec![TokenBucket::default(); SLOTS] }
    }

    /// Whether one more event of `source` may happen at `now`; it is counted if so.
    pub fn take(&mut self, source: Source, now: Instant) -> bool {
        self.slots[slot(source)].take(self.rate, now)
    }

    /// Whether one more event of `source` might happen at `now`; nothing is counted.
    #[must_use]
    pub fn allows(&self, source: Source, now: Instant) -> bool {
        let mut bucket = self.slots[slot(source)];
        bucket.take(self.rate, now)
    }
}

/// FNV-1a. Who can choose its address to meet another in a slot can as well forge that other's address.
fn slot(source: Source) -> usize {
    let hash = source.octets().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from((hash ^ (hash >> 32)) & 0xffff_ffff).unwrap_or(0) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { interval: Duration::from_secs(1), burst: 3 };

    #[test]
    fn a_burst_then_one_per_interval() {
        let start = Instant::now();
        let mut bucket = TokenBucket::default();
        let taken = (0..5).filter(|_| bucket.take(RATE, start)).count();
        assert_eq!(taken, 3);
        let later = start + RATE.interval;
        assert!(bucket.take(RATE, later));
        assert!(!bucket.take(RATE, later));
        let much_later = later + Duration::from_hours(1);
        let taken = (0..5).filter(|_| bucket.take(RATE, much_later)).count();
        assert_eq!(taken, 3, "idleness saves up no more than one burst");
    }

    #[test]
    fn what_goes_unsaid_is_counted() {
        let now = Instant::now();
        let mut remark = Remark::default();
        let said: Vec<_> = (0..1000).filter_map(|_| remark.say(RATE, now)).collect();
        assert_eq!(said, [0, 0, 0]);
        assert_eq!(remark.say(RATE, now + RATE.interval), Some(997));
    }

    #[test]
    fn sources_do_not_pay_for_each_other_but_a_slash_64_is_one() {
        let now = Instant::now();
        let mut limiter = SourceLimiter::new(Rate { burst: 1, ..RATE });
        let mut take = |address: &str| limiter.take(Source::of(address.parse().expect("an address")), now);
        assert!(take("192.0.2.1"));
        assert!(!take("192.0.2.1"));
        assert!(!take("::ffff:192.0.2.1"));
        assert!(take("192.0.2.2"));
        assert!(take("2001:db8:0:1::1"));
        assert!(!take("2001:db8:0:1:ffff::2"));
    }

    #[test]
    fn looking_counts_nothing() {
        let now = Instant::now();
        let mut limiter = SourceLimiter::new(Rate { burst: 1, ..RATE });
        let source = Source::of("192.0.2.1".parse().expect("an address"));
        assert!(limiter.allows(source, now) && limiter.allows(source, now));
        assert!(limiter.take(source, now) && !limiter.allows(source, now));
    }
}
