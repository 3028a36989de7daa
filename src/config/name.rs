//! Host names (RFC 1123, section 2.1) and relations between them.

/// Why `text` cannot be a host name; `None` when it can.
#[must_use]
pub fn flaw(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > 253 {
        return Some("it is longer than 253 characters");
    }
    if text.starts_with('.') || text.ends_with('.') {
        return Some("it begins or ends with a dot");
    }
    text.split('.').find_map(label_flaw)
}

fn label_flaw(label: &str) -> Option<&'static str> {
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    match label {
        "" => Some("it has two dots in a row"),
        _ if label.len() > 63 => Some("a part of it is longer than 63 characters"),
        _ if !label.is_ascii() => Some("letters beyond ASCII are written in their xn-- form"),
        _ if !label.bytes().all(is_sound) => Some("only letters, digits, hyphens and dots may stand in it"),
        _ if label.starts_with('-') || label.ends_with('-') => {
            Some("a part of it begins or ends with a hyphen")
        }
        _ => None,
    }
}

/// Whether `name` is `domain` or stands below it; both in lower case.
#[must_use]
pub fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether `pattern`, a name or `*.` and a name, covers `name`: the star is one label.
#[must_use]
pub fn covers(pattern: &str, name: &str) -> bool {
    if pattern == name {
        return true;
    }
    let (Some(domain), Some((label, rest))) = (pattern.strip_prefix("*."), name.split_once('.')) else {
        return false;
    };
    label != "*" && rest == domain
}

#[cfg(test)]
mod tests {
    use super::{covers, flaw, is_within};

    #[test]
    fn tells_names_from_other_text() {
        for name in ["a", "app.example.com", "xn--u9j2b.example", "a-b.c", "_acme.example"] {
            assert_eq!(flaw(name), None, "{name}");
        }
        let long = "a".repeat(64);
        for text in
            ["", ".", "a.", ".a", "a..b", "-a.b", "a b", "https://a", "a/b", "日本.example", &long, "a:80"]
        {
            assert!(flaw(text).is_some(), "{text}");
        }
    }

    #[test]
    fn a_domain_holds_itself_and_what_is_below() {
        assert!(is_within("a.example", "example") && is_within("example", "example"));
        assert!(!is_within("anexample", "example") && !is_within("example", "a.example"));
        assert!(covers("*.a", "b.a") && covers("a", "a"));
        assert!(!covers("*.a", "c.b.a") && !covers("*.a", "a") && !covers("a", "*.a"));
    }
}
