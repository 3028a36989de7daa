//! Which certificate answers a name, which names a public authority would certify, and when a certificate is renewed.

use std::net::IpAddr;

use crate::base::wall_time::UnixTime;

/// Top-level domains that no public authority certifies: RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`, and what home
/// routers call their network.
const PRIVATE_SUFFIXES: [&str; 10] =
    ["home.arpa", "internal", "invalid", "lan", "local", "localdomain", "localhost", "home", "onion", "test"];

/// Longest DNS name in text (RFC 1035 section 2.3.4).
const MAX_NAME_LENGTH: usize = 253;

/// Whether a pattern (a host name, or `*.` and a host name for exactly one more label) covers `name`; both lower case.
#[must_use]
pub fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => name
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && label != "*" && rest == parent),
        None => pattern == name,
    }
}

/// Whether this is a full name of the public DNS tree, which an authority would certify by HTTP-01: no address, no name that only means
/// something at home, no wildcard (those need DNS-01).
#[must_use]
pub fn is_public(name: &str) -> bool {
    name.len() <= MAX_NAME_LENGTH
        && name.contains('.')
        && name.parse::<IpAddr>().is_err()
        && name.split('.').all(is_label)
        && !PRIVATE_SUFFIXES.iter().any(|suffix| ends_in(name, suffix))
}

/// A label of letters, digits and inner hyphens (RFC 1123 section 2.1).
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn ends_in(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// When a certificate is good (RFC 5280 section 4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub not_before: UnixTime,
    pub not_after: UnixTime,
}

impl Validity {
    /// Two thirds through its life: with 90 days that leaves 30 for an authority or a router that is down, and it keeps
    /// fitting when lifetimes shrink.
    #[must_use]
    pub fn renew_at(self) -> UnixTime {
        let lifetime = self.not_after.0.saturating_sub(self.not_before.0).max(0);
        UnixTime(self.not_before.0.saturating_add(lifetime / 3 * 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        assert!(covers("app.example.com", "app.example.com"));
        assert!(covers("*.example.com", "app.example.com"));
        assert!(!covers("*.example.com", "example.com"));
        assert!(!covers("*.example.com", "a.b.example.com"));
        assert!(!covers("*.example.com", ".example.com"));
        assert!(!covers("app.example.com", "api.example.com"));
    }

    #[test]
    fn only_names_of_the_public_tree_are_public() {
        for name in ["app.example.com", "xn--nckwd5cta.jp", "a.b.c.example.org"] {
            assert!(is_public(name), "{name}");
        }
        for name in [
            "localhost",
            "pi",
            "nas.local",
            "nas.lan",
            "box.home.arpa",
            "10.0.0.1",
            "::1",
            "*.example.com",
            "a..example.com",
            "-a.example.com",
            "app.example.com.",
            "under_score.example.com",
            "x.onion",
            "",
        ] {
            assert!(!is_public(name), "{name}");
        }
        assert!(!is_public(&format!("{}.com", "a.".repeat(130))));
    }

    #[test]
    fn renewal_comes_at_two_thirds_of_any_lifetime() {
        let day = 86_400;
        let ninety = Validity { not_before: UnixTime(1_000), not_after: UnixTime(1_000 + 90 * day) };
        assert_eq!(ninety.renew_at(), UnixTime(1_000 + 60 * day));
        let backwards = Validity { not_before: UnixTime(50), not_after: UnixTime(10) };
        assert_eq!(backwards.renew_at(), UnixTime(50));
        let absurd = Validity { not_before: UnixTime(i64::MIN), not_after: UnixTime(i64::MAX) };
        assert!(absurd.renew_at() <= absurd.not_after);
    }
}
