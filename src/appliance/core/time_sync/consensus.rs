//! What time most servers can agree on: the overlap of the most intervals (Marzullo's algorithm, as in RFC 5905, section 11.2.1).

use crate::wire::errand::TimeSample;

/// Added to each server's own error bound, in nanoseconds: leap seconds are smeared by some and not by others.
const TOLERANCE: i64 = 1_000_000_000;

/// The overlap of the most samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// How many samples share it.
    pub servers: usize,
    /// True time at the zero of the monotonic clock, in nanoseconds since 1970: the middle of the overlap.
    pub epoch: i64,
}

/// The greatest agreement among `samples`; `None` without samples.
#[must_use]
pub fn find<'s>(samples: impl IntoIterator<Item = &'s TimeSample>) -> Option<Agreement> {
    let mut ends: Vec<(i64, i8)> = samples.into_iter().flat_map(ends).collect();
    // At one point intervals open before they close: touching is agreeing.
    ends.sort_by_key(|(at, side)| (*at, -side));
    let mut depth = 0_usize;
    let mut best: Option<(usize, i64, i64)> = None;
    for (index, (at, side)) in ends.iter().enumerate() {
        if *side < 0 {
            depth -= 1;
            continue;
        }
        depth += 1;
        if best.is_none_or(|(most, _, _)| depth > most) {
            let close = ends[index..].iter().find(|(_, side)| *side < 0).map_or(*at, |(end, _)| *end);
            best = Some((depth, *at, close));
        }
    }
    best.map(|(servers, low, high)| Agreement { servers, epoch: low + high.saturating_sub(low) / 2 })
}

/// Where the sample's interval opens (1) and closes (-1).
fn ends(sample: &TimeSample) -> [(i64, i8); 2] {
    let at = i64::try_from(sample.at).unwrap_or(i64::MAX);
    let error = i64::try_from(sample.error).unwrap_or(i64::MAX).saturating_add(TOLERANCE);
    let middle = sample.time.saturating_sub(at);
    [(middle.saturating_sub(error), 1), (middle.saturating_add(error), -1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000_000;

    fn sample(last: u8, at: u64, seconds: i64) -> TimeSample {
        TimeSample { server: [192, 0, 2, last].into(), at, time: seconds * SECOND, error: 1_000_000 }
    }

    #[test]
    fn the_liar_is_outvoted() {
        let samples = [sample(1, 0, 1000), sample(2, 0, 5000), sample(3, 0, 1000)];
        assert_eq!(find(&samples), Some(Agreement { servers: 2, epoch: 1000 * SECOND }));
        assert_eq!(find(&samples[..2]).map(|agreement| agreement.servers), Some(1));
        assert_eq!(find(&[]), None);
    }

    #[test]
    fn samples_of_different_moments_are_compared_at_one() {
        let samples = [sample(1, 0, 1000), sample(2, 5_000_000_000, 1005)];
        assert_eq!(find(&samples), Some(Agreement { servers: 2, epoch: 1000 * SECOND }));
    }

    proptest! {
        #[test]
        fn no_sample_panics_and_the_count_is_bounded(raw in prop::collection::vec((any::<u64>(), any::<i64>(), any::<u64>()), 0..16)) {
            let samples: Vec<TimeSample> = raw
                .iter()
                .map(|(at, time, error)| TimeSample { server: [192, 0, 2, 1].into(), at: *at, time: *time, error: *error })
                .collect();
            let agreement = find(&samples);
            prop_assert_eq!(agreement.is_some(), !samples.is_empty());
            prop_assert!(agreement.is_none_or(|agreement| (1..=samples.len()).contains(&agreement.servers)));
        }
    }
}
