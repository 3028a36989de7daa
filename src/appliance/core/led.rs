//! What the board's one light says: which state, and whether it is lit at a moment.
//!
//! Ready is steady light, booting is fast blinking, trouble is a number of blinks and a pause: two no link, three no address, four no time,
//! five configuration, six data. Of several troubles the first in this order is shown, because the others often follow from it.

use std::time::Duration;

use crate::base::condition::{Condition, Severity};
use crate::wire::supervision::BoxStatus;

/// What is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LedState {
    #[default]
    Booting,
    NoLink,
    NoAddress,
    NoTime,
    ConfigError,
    DataTrouble,
    /// Something else needs the owner: see the status page.
    NeedsOwner,
    Ready,
}

const BLINK: Duration = Duration::from_millis(250);
const GAP: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(1500);
/// On as long as off, while booting.
const FAST: Duration = Duration::from_millis(100);

impl LedState {
    /// What `status` and the worker's `conditions` come to; `ready` is whether the worker has said so.
    #[must_use]
    pub fn of(status: &BoxStatus, conditions: &[Condition], ready: bool) -> Self {
        let all = || status.conditions.iter().chain(conditions);
        let errs = |area: &str| all().any(|one| one.severity == Severity::Error && is_of(one, area));
        // A warning about a time server leaves the time known.
        let waits = |area: &str| all().any(|one| one.severity != Severity::Warning && is_of(one, area));
        if !status.link {
            Self::NoLink
        } else if status.addresses.is_empty() {
            Self::NoAddress
        } else if waits("TIME") {
            Self::NoTime
        } else if errs("CFG") {
            Self::ConfigError
        } else if errs("DATA") {
            Self::DataTrouble
        } else if all().any(|one| one.severity == Severity::Error) {
            Self::NeedsOwner
        } else if ready {
            Self::Ready
        } else {
            Self::Booting
        }
    }

    /// How many blinks stand between pauses; `None` for the two states without a number.
    #[must_use]
    pub fn blinks(self) -> Option<u32> {
        Some(match self {
            Self::Booting | Self::Ready => return None,
            Self::NoLink => 2,
            Self::NoAddress => 3,
            Self::NoTime => 4,
            Self::ConfigError => 5,
            Self::DataTrouble => 6,
            Self::NeedsOwner => 7,
        })
    }

    /// Whether the light is on when the state has lasted for `since`, and for how long it stays so; `None` is for good.
    #[must_use]
    pub fn light(self, since: Duration) -> (bool, Option<Duration>) {
        let Some(blinks) = self.blinks() else {
            return match self {
                Self::Ready => (true, None),
                _ => phase(since, FAST, FAST),
            };
        };
        let row = (BLINK + GAP) * blinks;
        let at = remainder(since, row + PAUSE);
        // The last gap and the pause are one darkness.
        if at < row.saturating_sub(GAP) {
            phase(at, BLINK, GAP)
        } else {
            (false, Some((row + PAUSE).saturating_sub(at)))
        }
    }
}

/// One period of light and dark, over and over.
fn phase(since: Duration, on: Duration, off: Duration) -> (bool, Option<Duration>) {
    let at = remainder(since, on + off);
    let end = if at < on { on } else { on + off };
    (at < on, Some(end.saturating_sub(at)))
}

fn remainder(since: Duration, period: Duration) -> Duration {
    let millis = since.as_millis().checked_rem(period.as_millis()).unwrap_or(0);
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn is_of(condition: &Condition, area: &str) -> bool {
    condition.code.split('-').next() == Some(area)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Light and dark for one period, as one letter for each 50 ms.
    fn drawn(state: LedState, millis: u64) -> String {
        (0..millis / 50)
            .map(|step| if state.light(Duration::from_millis(step * 50)).0 { '#' } else { '.' })
            .collect()
    }

    #[test]
    fn each_state_has_its_picture() {
        assert_eq!(drawn(LedState::Ready, 500), "##########");
        assert_eq!(drawn(LedState::Booting, 500), "##..##..##");
        let pause = ".".repeat(30);
        assert_eq!(drawn(LedState::NoLink, 2500), format!("#####.....#####.....{pause}"));
        assert_eq!(drawn(LedState::NoLink, 5000), format!("#####.....#####.....{pause}").repeat(2));
        for (state, blinks) in [(LedState::NoTime, 4), (LedState::ConfigError, 5), (LedState::NeedsOwner, 7)]
        {
            let period = 500 * blinks + 1500;
            assert_eq!(drawn(state, period).matches("#####").count() as u64, blinks, "{state:?}");
        }
    }

    #[test]
    fn the_next_change_is_where_the_light_changes() {
        for state in [LedState::Booting, LedState::NoAddress, LedState::DataTrouble] {
            let mut at = Duration::ZERO;
            for _ in 0..20 {
                let (is_lit, lasts) = state.light(at);
                let lasts = lasts.expect("it changes");
                assert!(!lasts.is_zero());
                assert_eq!(state.light((at + lasts).saturating_sub(Duration::from_millis(1))).0, is_lit);
                at += lasts;
                assert_ne!(state.light(at).0, is_lit, "{state:?} at {at:?}");
            }
        }
        assert_eq!(LedState::Ready.light(Duration::from_secs(5)), (true, None));
        let _ = LedState::Booting.light(Duration::MAX);
    }

    #[test]
    fn the_first_cause_is_shown() {
        let connected =
            BoxStatus { link: true, addresses: vec!["192.168.1.2/24".into()], ..BoxStatus::default() };
        let holding = |code: &str, severity| vec![Condition::new(code, severity, "x")];
        let of = |status: &BoxStatus, conditions: &[Condition]| LedState::of(status, conditions, true);
        assert_eq!(of(&BoxStatus::default(), &[]), LedState::NoLink);
        let linked = BoxStatus { link: true, ..BoxStatus::default() };
        assert_eq!(of(&linked, &holding("CFG-01", Severity::Error)), LedState::NoAddress);
        assert_eq!(of(&connected, &[]), LedState::Ready);
        assert_eq!(LedState::of(&connected, &[], false), LedState::Booting);
        for (code, severity, expected) in [
            ("TIME-01", Severity::Progress, LedState::NoTime),
            ("CFG-01", Severity::Error, LedState::ConfigError),
            ("CFG-01", Severity::Warning, LedState::Ready),
            ("DATA-02", Severity::Error, LedState::DataTrouble),
            ("PUB-02", Severity::Error, LedState::NeedsOwner),
            ("PUB-04", Severity::Warning, LedState::Ready),
        ] {
            assert_eq!(of(&connected, &holding(code, severity)), expected, "{code}");
        }
    }
}
