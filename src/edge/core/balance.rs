//! In which order the upstreams of a route are tried for one client.

use std::net::IpAddr;

use rand_core::RngCore;

use crate::base::rng::SeededRng;
use crate::base::source::Source;

/// How the first upstream to try is picked; the names are those of caddy-l4's selection policies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Selection {
    #[default]
    Random,
    RoundRobin,
    /// The configured order.
    First,
    LeastConnections,
    /// The same source meets the same upstream as long as the list is the same.
    SourceHash,
}

/// What is known of one upstream when the choice is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Connections or flows it carries now.
    pub open: usize,
    /// A recent dial failed: it is tried after those that did not fail, never left out.
    pub failing: bool,
}

/// Picks orders; its whole memory is whose turn it is.
#[derive(Debug)]
pub struct Balance {
    selection: Selection,
    rng: SeededRng,
    turn: usize,
}

impl Balance {
    #[must_use]
    pub fn new(selection: Selection, rng: SeededRng) -> Self {
        Self { selection, rng, turn: 0 }
    }

    /// Every index of `loads` once, the best first.
    pub fn order(&mut self, source: IpAddr, loads: &[Load]) -> Vec<usize> {
        let count = loads.len();
        if count == 0 {
            return Vec::new();
        }
        let start = self.start(source, count);
        let mut order: Vec<usize> = (0..count).map(|step| (start + step) % count).collect();
        if self.selection == Selection::LeastConnections {
            order.sort_by_key(|&index| loads[index].open);
        }
        order.sort_by_key(|&index| loads[index].failing);
        order
    }

    fn start(&mut self, source: IpAddr, count: usize) -> usize {
        match self.selection {
            Selection::First => 0,
            Selection::Random => pick(self.rng.next_u64(), count),
            Selection::RoundRobin | Selection::LeastConnections => {
                self.turn = self.turn.wrapping_add(1);
                self.turn % count
            }
            Selection::SourceHash => pick(hash(Source::of(source)), count),
        }
    }
}

fn pick(value: u64, count: usize) -> usize {
    usize::try_from(value % count as u64).expect("less than a usize")
}

/// FNV-1a, 64 bits: spreads sources, promises nothing against an attacker, who gains nothing by choosing an upstream.
fn hash(source: Source) -> u64 {
    let step = |state: u64, byte: &u8| (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    source.octets().iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balance(selection: Selection) -> Balance {
        Balance::new(selection, SeededRng::new([1; 32]))
    }

    fn client(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn every_order_is_a_permutation_with_failing_ones_last() {
        let loads = [
            Load { open: 1, failing: true },
            Load { open: 9, failing: false },
            Load { open: 2, failing: false },
        ];
        for selection in [
            Selection::Random,
            Selection::RoundRobin,
            Selection::First,
            Selection::LeastConnections,
            Selection::SourceHash,
        ] {
            let mut balance = balance(selection);
            for last in 0..20 {
                let order = balance.order(client(last), &loads);
                assert_eq!(order[2], 0, "{selection:?}");
                assert_eq!(order[0] + order[1], 3, "{selection:?}");
            }
            assert!(balance.order(client(1), &[]).is_empty());
        }
    }

    #[test]
    fn policies_choose_as_named() {
        let even = [Load::default(); 3];
        assert_eq!(balance(Selection::First).order(client(1), &even), [0, 1, 2]);
        let mut turns = balance(Selection::RoundRobin);
        let firsts: Vec<usize> = (0..3).map(|_| turns.order(client(1), &even)[0]).collect();
        assert_eq!(firsts, [1, 2, 0]);
        let loads = [
            Load { open: 5, failing: false },
            Load { open: 3, failing: false },
            Load { open: 4, failing: false },
        ];
        assert_eq!(balance(Selection::LeastConnections).order(client(1), &loads), [1, 2, 0]);
        let mut sticky = balance(Selection::SourceHash);
        assert_eq!(sticky.order(client(7), &even), sticky.order(client(7), &even));
        let mut chance = balance(Selection::Random);
        let seen: std::collections::BTreeSet<usize> =
            (0..50).map(|_| chance.order(client(1), &even)[0]).collect();
        assert_eq!(seen.len(), 3);
    }
}
