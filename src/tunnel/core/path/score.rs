//! Which of two proven addresses is better.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Points of advantage needed to change: below this the two are alike, and a change would only reorder packets.
const MIN_ADVANTAGE: u64 = 1;

/// Whether `new` should replace `old`: percent faster than the slower one (0 to 100), plus points for nearness and IPv6.
pub(super) fn is_better(new: (SocketAddr, Duration), old: (SocketAddr, Duration)) -> bool {
    let points =
        |own: (SocketAddr, Duration), other: Duration| kind_points(own.0.ip()) + percent_faster(own.1, other);
    points(new, old.1) > points(old, new.1) + MIN_ADVANTAGE
}

fn percent_faster(own: Duration, other: Duration) -> u64 {
    let (own, other) = (own.as_micros(), other.as_micros());
    if own >= other { 0 } else { u64::try_from((other - own) * 100 / other).unwrap_or(100) }
}

fn kind_points(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => nearness(ip.is_loopback(), ip.is_link_local(), ip.is_private()),
        IpAddr::V6(ip) => 10 + nearness(ip.is_loopback(), ip.is_unicast_link_local(), ip.is_unique_local()),
    }
}

fn nearness(is_loopback: bool, is_link_local: bool, is_private: bool) -> u64 {
    match (is_loopback, is_link_local, is_private) {
        (true, _, _) => 50,
        (_, true, _) => 30,
        (_, _, true) => 20,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven(text: &str, millis: u64) -> (SocketAddr, Duration) {
        (text.parse().expect("literal"), Duration::from_millis(millis))
    }

    #[test]
    fn speed_counts_in_percent_and_nearness_in_points() {
        let (public, private) = ("198.51.100.1:1", "192.168.1.2:1");
        let ipv6 = "[2001:db8::1]:1";
        for (new, old, better) in [
            (proven(public, 10), proven("198.51.100.2:1", 20), true),
            (proven(public, 20), proven("198.51.100.2:1", 10), false),
            (proven(public, 99), proven("198.51.100.2:1", 100), false),
            (proven(private, 10), proven(public, 10), true),
            (proven(private, 12), proven(public, 10), true),
            (proven(private, 20), proven(public, 10), false),
            (proven(ipv6, 10), proven(public, 10), true),
            (proven(ipv6, 10), proven(private, 10), false),
            (proven(public, 0), proven("198.51.100.2:1", 0), false),
        ] {
            assert_eq!(is_better(new, old), better, "{new:?} against {old:?}");
        }
    }
}
