//! Names of nodes: one DNS label each, cleaned from whatever a machine calls itself, unique by a number at the end.

/// Longest DNS label (RFC 1035, section 2.3.4).
const LABEL_MAX: usize = 63;
/// Longest domain name in text form, without the trailing dot (same section).
const NAME_MAX: usize = 253;
/// What a machine without a usable name is called.
const FALLBACK: &str = "node";
/// Suffixes that a LAN adds to a machine's own name.
const LOCAL_SUFFIXES: [&str; 3] = [".local", ".localdomain", ".lan"];

/// Turns any text into a DNS label: lower case, letters, digits and inner hyphens. Never fails, never empty.
#[must_use]
pub fn clean(text: &str) -> String {
    let lower = text.to_lowercase();
    let own = LOCAL_SUFFIXES.iter().find_map(|suffix| lower.strip_suffix(suffix)).unwrap_or(&lower);
    let mut label = String::new();
    for c in own.chars().filter(|c| !matches!(c, '\'' | '\u{2019}')) {
        let c = if c.is_ascii_alphanumeric() { c } else { '-' };
        if c != '-' || !(label.is_empty() || label.ends_with('-')) {
            label.push(c);
        }
    }
    label.truncate(LABEL_MAX);
    let label = label.trim_end_matches('-');
    if label.is_empty() { FALLBACK.to_owned() } else { label.to_owned() }
}

/// `label` itself, or the first of `label-1`, `label-2`, ... that is free, short enough to stand before `base_domain`.
#[must_use]
pub fn make_unique(label: &str, base_domain: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let room = NAME_MAX.saturating_sub(base_domain.len() + 1).clamp(1, LABEL_MAX);
    let plain = shorten(label, room).to_owned();
    if !is_taken(&plain) {
        return plain;
    }
    let numbered = |number: u32| {
        let suffix = format!("-{number}");
        format!("{}{suffix}", shorten(label, room.saturating_sub(suffix.len()).max(1)))
    };
    (1..u32::MAX).map(numbered).find(|name| !is_taken(name)).unwrap_or(plain)
}

/// `label.base_domain.`, with the trailing dot that MagicDNS needs.
#[must_use]
pub fn qualify(label: &str, base_domain: &str) -> String {
    format!("{label}.{base_domain}.")
}

/// At most `room` bytes, not ending in a hyphen. Labels are ASCII.
fn shorten(label: &str, room: usize) -> &str {
    label.get(..room).unwrap_or(label).trim_end_matches('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_people_call_machines_becomes_a_label() {
        for (text, expected) in [
            ("raspberrypi", "raspberrypi"),
            ("Alice\u{2019}s MacBook Pro.local", "alices-macbook-pro"),
            ("DESKTOP_A1.lan", "desktop-a1"),
            ("web.prod.example.com", "web-prod-example-com"),
            ("--x--", "x"),
            ("玄関", "node"),
            ("", "node"),
        ] {
            assert_eq!(clean(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_taken_name_gets_a_number_and_stays_short_enough() {
        let taken = ["pi", "pi-1"];
        assert_eq!(make_unique("pi", "home.arpa", |name| taken.contains(&name)), "pi-2");
        let long = "a".repeat(63);
        let second = make_unique(&long, "home.arpa", |name| name == long);
        assert_eq!(second, format!("{}-1", "a".repeat(61)));
        assert_eq!(make_unique(&long, &"b".repeat(250), |_| false), "aa");
    }

    proptest! {
        #[test]
        fn any_text_gives_a_valid_label(text in any::<String>()) {
            let label = clean(&text);
            prop_assert!((1..=LABEL_MAX).contains(&label.len()));
            prop_assert!(label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
            prop_assert!(!label.starts_with('-') && !label.ends_with('-'));
        }
    }
}
