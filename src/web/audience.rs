//! Who may see the house's own pages: machines on the LAN and in the tailnet, by an address or a name of the house.

use std::net::{Ipv4Addr, Ipv6Addr};

pub use crate::base::house::admits;

/// Endings of names that only the house's own resolvers answer: multicast DNS (RFC 6762), the home network (RFC 8375), private use.
const LOCAL_DOMAINS: [&str; 3] = [".local", ".home.arpa", ".internal"];

/// Whether `host`, as in an HTTP request's `Host` with or without a port, is an IP address, a single label such as `localhost`, or a name of
/// the house. Any other name may belong to a web page whose owner points it at an address in here (DNS rebinding), and then the page's
/// scripts could read what is meant for the house.
#[must_use]
pub fn is_house_name(host: &str) -> bool {
    let name = without_port(host);
    if let Some(literal) = name.strip_prefix('[') {
        return literal.strip_suffix(']').is_some_and(|literal| literal.parse::<Ipv6Addr>().is_ok());
    }
    if name.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.split('.').all(is_label)
        && (!name.contains('.') || LOCAL_DOMAINS.iter().any(|domain| name.ends_with(domain)))
}

/// A port is digits, or nothing, after the last colon (RFC 3986 section 3.2.3).
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_stranger_can_own_are_not_of_the_house() {
        for (host, expected) in [
            ("127.0.0.1", true),
            ("192.168.1.1:9090", true),
            ("8.8.8.8", true),
            ("[::1]", true),
            ("[fd7a:115c:a1e0::1]:9090", true),
            ("localhost", true),
            ("LocalHost:9090", true),
            ("gateway", true),
            ("gateway.", true),
            ("gateway.local", true),
            ("Gateway.LOCAL.:9090", true),
            ("gateway.tailnet.internal:9090", true),
            ("box.home.arpa", true),
            ("", false),
            (".", false),
            (":9090", false),
            ("::1", false),
            ("[::1", false),
            ("[::1]x", false),
            ("[attacker.example]", false),
            ("attacker.example", false),
            ("attacker.example:9090", false),
            ("attacker.example.", false),
            ("192.168.1.1.attacker.example", false),
            ("local.attacker.example", false),
            ("gatewaylocal.example", false),
            ("notlocal.xlocal", false),
            (".local", false),
            ("a..local", false),
            ("gateway.local..", false),
            ("attacker.example:9090.local", false),
            ("attacker.example/.local", false),
            ("attacker.example@gateway.local", false),
            ("localhost:9090:x", false),
        ] {
            assert_eq!(is_house_name(host), expected, "{host:?}");
        }
    }
}
