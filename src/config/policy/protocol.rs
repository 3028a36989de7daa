//! `proto`: IP protocols by name or number.

use super::super::problem::Problem;
use super::super::suggest;

/// Names of the policy language and their numbers (IANA's protocol numbers).
const PROTOCOLS: [(&str, u8); 15] = [
    ("icmp", 1),
    ("igmp", 2),
    ("ipv4", 4),
    ("ip-in-ip", 4),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("udp", 17),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("sctp", 132),
    ("fc", 133),
];

/// `None` for an empty text: the default protocols.
pub fn parse(text: &str) -> Result<Option<u8>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let lower = text.to_ascii_lowercase();
    if let Some((_, number)) = PROTOCOLS.iter().find(|(name, _)| *name == lower) {
        return Ok(Some(*number));
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<u8>().ok().filter(|number| is_number && *number != 0);
    number.map(Some).ok_or_else(|| {
        let names: Vec<&str> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
        Problem::error("bad-protocol", format!("\"{text}\" is not an IP protocol"))
            .cure(suggest::cure(text, &names))
    })
}

/// As it may be written in a policy.
#[must_use]
pub fn name(number: u8) -> String {
    let named = PROTOCOLS.iter().find(|(_, known)| *known == number);
    named.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

/// TCP, UDP and SCTP.
pub fn has_ports(protocol: u8) -> bool {
    [6, 17, 132].contains(&protocol)
}
