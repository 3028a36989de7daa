//! Who answers a request: a table of doors, names and paths, decided from facts alone.

use super::certificate;
use super::listen_plan::Door;

/// Whose certificate the connection was opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presented {
    /// No TLS.
    Nothing,
    /// The resident's: its own name was asked for, none, or one that nobody here has.
    Resident,
    /// A site's, for this name or `*.` pattern.
    Site(String),
}

/// What is known of a request. `host` is in the form of [`super::host_route::host_of`], empty when the request has none.
#[derive(Debug)]
pub struct Facts<'a> {
    pub door: Door,
    pub presented: &'a Presented,
    pub host: &'a str,
    pub resident_name: Option<&'a str>,
    /// The path is the resident's.
    pub claimed: bool,
    /// A route takes the host on this socket; `Some(true)` when it names it.
    pub site: Option<bool>,
    /// The path is that of an HTTP-01 challenge under way.
    pub challenge: bool,
    /// A site on the HTTPS port has this name.
    pub has_https: bool,
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Challenge,
    Resident,
    Site,
    /// 308 to the same place by https.
    Redirect,
    /// 421: this connection's certificate does not speak for the host (RFC 9110 section 15.5.20). The client opens another.
    Misdirected,
    NotFound,
}

#[must_use]
pub fn decide(facts: &Facts<'_>) -> Answer {
    match facts.door {
        Door::Control if facts.claimed => Answer::Resident,
        Door::Plain if facts.site.is_some() => Answer::Site,
        Door::Control | Door::Plain => Answer::NotFound,
        Door::Http => decide_http(facts),
        Door::Https => decide_https(facts),
    }
}

/// The challenge goes first, so that no configuration can keep a certificate from being renewed. The resident answers to its name, and to
/// what a machine in the house may call the box: an address, `genkan.local`, no Host at all; but not to a name that a site was given.
fn decide_http(facts: &Facts<'_>) -> Answer {
    let is_own = facts.is_residents_name();
    if facts.challenge {
        Answer::Challenge
    } else if facts.claimed && (is_own || is_unnamed(facts)) {
        Answer::Resident
    } else if facts.site.is_some() && !is_own {
        Answer::Site
    } else if is_own || facts.has_https {
        Answer::Redirect
    } else {
        Answer::NotFound
    }
}

/// Whether the host is none that a site has, nor one that means somebody else on the internet.
fn is_unnamed(facts: &Facts<'_>) -> bool {
    facts.site != Some(true) && !facts.has_https && !certificate::is_public(facts.host)
}

/// A connection serves the names its certificate covers, so one certificate for several names may carry them all over one HTTP/2
/// connection, and nothing else gets through it. The resident goes by path: relay clients put an address or another name into `Host`.
/// Its name is its own, also where a site's pattern covers it.
fn decide_https(facts: &Facts<'_>) -> Answer {
    let is_own = facts.is_residents_name();
    match facts.presented {
        Presented::Site(pattern) if is_own || !certificate::covers(pattern, facts.host) => {
            Answer::Misdirected
        }
        Presented::Resident if facts.site == Some(true) && !is_own => Answer::Misdirected,
        Presented::Resident if facts.claimed => Answer::Resident,
        Presented::Resident | Presented::Site(_) if facts.site.is_some() && !is_own => Answer::Site,
        _ => Answer::NotFound,
    }
}

impl Facts<'_> {
    fn is_residents_name(&self) -> bool {
        Some(self.host) == self.resident_name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESIDENT: &str = "hs.example.com";

    fn facts<'a>(door: Door, presented: &'a Presented, host: &'a str) -> Facts<'a> {
        Facts {
            door,
            presented,
            host,
            resident_name: Some(RESIDENT),
            claimed: false,
            site: None,
            challenge: false,
            has_https: false,
        }
    }

    #[test]
    fn port_80_answers_in_its_order() {
        let base = |host: &'static str| facts(Door::Http, &Presented::Nothing, host);
        for (case, expected) in [
            (
                Facts { challenge: true, claimed: true, has_https: true, ..base("app.example.com") },
                Answer::Challenge,
            ),
            (Facts { claimed: true, ..base(RESIDENT) }, Answer::Resident),
            (Facts { claimed: true, ..base("192.168.1.2") }, Answer::Resident),
            (Facts { claimed: true, ..base("genkan.local") }, Answer::Resident),
            (Facts { claimed: true, ..base("") }, Answer::Resident),
            (Facts { claimed: true, ..base("evil.example.org") }, Answer::NotFound),
            (Facts { claimed: true, has_https: true, ..base("app.example.com") }, Answer::Redirect),
            (Facts { claimed: true, site: Some(true), ..base("nas.lan") }, Answer::Site),
            (Facts { claimed: true, has_https: true, ..base("nas.lan") }, Answer::Redirect),
            (Facts { claimed: true, site: Some(false), ..base("nas.lan") }, Answer::Resident),
            (Facts { site: Some(true), has_https: true, ..base("app.example.com") }, Answer::Site),
            (base(RESIDENT), Answer::Redirect),
            (base("192.168.1.2"), Answer::NotFound),
            (base(""), Answer::NotFound),
        ] {
            assert_eq!(decide(&case), expected, "{case:?}");
        }
    }

    #[test]
    fn a_certificate_bounds_what_its_connection_reaches() {
        let app = Presented::Site("app.example.com".to_owned());
        let wide = Presented::Site("*.example.com".to_owned());
        for (presented, host, site, expected) in [
            (&app, "app.example.com", Some(true), Answer::Site),
            (&app, "api.example.com", Some(true), Answer::Misdirected),
            (&app, RESIDENT, None, Answer::Misdirected),
            (&app, "app.example.com", None, Answer::NotFound),
            (&wide, "api.example.com", Some(true), Answer::Site),
            (&wide, "example.com", Some(true), Answer::Misdirected),
            (&wide, RESIDENT, Some(true), Answer::Misdirected),
            (&Presented::Resident, RESIDENT, Some(true), Answer::NotFound),
            (&Presented::Resident, "app.example.com", Some(true), Answer::Misdirected),
            (&Presented::Resident, "other.example.org", Some(false), Answer::Site),
            (&Presented::Resident, RESIDENT, None, Answer::NotFound),
        ] {
            let case = Facts { site, ..facts(Door::Https, presented, host) };
            assert_eq!(decide(&case), expected, "{case:?}");
        }
    }

    #[test]
    fn the_resident_goes_by_path_on_its_own_connections() {
        for host in [RESIDENT, "192.168.1.2", "100.64.0.1", "unknown", ""] {
            for site in [None, Some(false)] {
                let case = Facts { claimed: true, site, ..facts(Door::Https, &Presented::Resident, host) };
                assert_eq!(decide(&case), Answer::Resident, "{case:?}");
            }
            let case = Facts { claimed: true, ..facts(Door::Control, &Presented::Nothing, host) };
            assert_eq!(decide(&case), Answer::Resident);
        }
        let under_a_pattern =
            Facts { claimed: true, site: Some(true), ..facts(Door::Https, &Presented::Resident, RESIDENT) };
        assert_eq!(decide(&under_a_pattern), Answer::Resident);
        assert_eq!(decide(&facts(Door::Control, &Presented::Nothing, RESIDENT)), Answer::NotFound);
    }
}
