//! What is served, as rows of the status page: ports and where they lead, certificates and how long they are good.

use crate::base::condition::Condition;
use crate::base::wall_time::{UnixTime, WallTime};
use crate::config::model::Ports;
use crate::coordinator::ledger::Snapshot;
use crate::edge::core::route::{EdgeConfig, HttpHandler, Transport, Upstream};
use crate::edge::view::CertificateView;
use crate::health::catalogue::{TUNNEL_DOWN, UPSTREAM_SILENT};
use crate::web::status::{Certificate, Level, Listener, State};

use super::standing::{self, Standing};

const DAY: i64 = 86_400;

/// What a row's state is judged by.
pub struct Judge<'a> {
    pub snapshot: &'a Snapshot,
    pub wall: WallTime,
    /// Of this process.
    pub conditions: &'a [Condition],
}

/// Every route of every server.
pub fn listeners(config: &EdgeConfig, judge: &Judge<'_>) -> Vec<Listener> {
    let mut rows = Vec::new();
    for server in &config.http_servers {
        let ports: Vec<String> = server.listen.iter().map(|at| format!("{}/tcp", at.port())).collect();
        for route in &server.routes {
            let HttpHandler::ReverseProxy { upstreams } = &route.handler;
            let name = if route.hosts.is_empty() { "any name".to_owned() } else { route.hosts.join(", ") };
            rows.push(judge.row(unique(ports.clone()), name, upstreams));
        }
    }
    for server in &config.layer4_servers {
        let port = |transport| if transport == Transport::Tcp { "tcp" } else { "udp" };
        let ports = server.listen.iter().map(|at| format!("{}/{}", at.address.port(), port(at.transport)));
        rows.push(judge.row(unique(ports.collect()), server.name.clone(), &server.upstreams));
    }
    rows
}

/// The ports of the program itself.
pub fn own(ports: Ports, judge: &Judge<'_>) -> Vec<Listener> {
    let row = |port: String, name: &str, state: State| Listener {
        port,
        name: name.to_owned(),
        upstreams: vec!["this entrance".to_owned()],
        state,
    };
    let ready = || State::new(Level::Good, "ready");
    let is_down = judge.holds(TUNNEL_DOWN.code, "");
    let tunnel = if is_down { State::new(Level::Bad, "the tunnel does not run") } else { ready() };
    vec![
        row(format!("{}/tcp, {}/tcp", ports.https, ports.control), "coordinator", ready()),
        row(format!("{}/tcp", ports.http), "certificates and redirects", ready()),
        row(format!("{}/udp", ports.stun), "STUN", ready()),
        row(format!("{}/tcp", ports.api), "administration by API key", ready()),
        row(format!("{}/udp", ports.wireguard), "WireGuard", tunnel),
    ]
}

/// A port that is open for both families is one port.
fn unique(mut ports: Vec<String>) -> String {
    ports.dedup();
    ports.join(", ")
}

impl Judge<'_> {
    fn row(&self, port: String, name: String, upstreams: &[Upstream]) -> Listener {
        let looked: Vec<(String, State)> = upstreams.iter().map(|upstream| self.upstream(upstream)).collect();
        let good = looked.iter().filter(|(_, state)| state.level == Level::Good).count();
        let state = match looked.iter().find(|(_, state)| state.level != Level::Good) {
            None => State::new(Level::Good, "ready"),
            Some((_, state)) if good == 0 => state.clone(),
            Some(_) => State::new(Level::Waiting, format!("{good} of {} ready", looked.len())),
        };
        Listener { port, name, upstreams: looked.into_iter().map(|(label, _)| label).collect(), state }
    }

    /// Its label, and how it stands.
    fn upstream(&self, upstream: &Upstream) -> (String, State) {
        let standing = standing::of(&upstream.host, self.snapshot, self.wall);
        let address = format!("{}:{}", upstream.host, upstream.port);
        let label = standing.name().map_or_else(|| address.clone(), |name| format!("{name} ({address})"));
        let state = match standing {
            Standing::Missing(_) => State::new(Level::Bad, "machine has not joined"),
            Standing::Expired(_) => State::new(Level::Bad, "machine's key is over"),
            Standing::Offline(..) => State::new(Level::Bad, "machine is offline"),
            Standing::Online(_) if self.holds(TUNNEL_DOWN.code, "") => {
                State::new(Level::Bad, "the tunnel does not run")
            }
            _ if self.holds(UPSTREAM_SILENT.code, &address) => State::new(Level::Bad, "does not answer"),
            _ => State::new(Level::Good, "ready"),
        };
        (label, state)
    }

    fn holds(&self, code: &str, about: &str) -> bool {
        self.conditions.iter().any(|one| one.code == code && one.about == about)
    }
}

/// A row for a name that is answered by TLS.
pub fn certificate(view: &CertificateView, wall: WallTime) -> Certificate {
    let expires = view.validity.map(|validity| validity.not_after);
    let left = |end: UnixTime| wall.known().map(|now| end.0.saturating_sub(now.0) / DAY);
    let failures = view.standing.as_ref().map(|standing| standing.failures);
    let is_over = expires.is_some_and(|end| wall.is_past(end));
    let (level, text) = match (expires, failures) {
        (Some(_), _) if is_over => (Level::Bad, "is over"),
        (Some(_), Some(1..)) => (Level::Waiting, "could not be renewed"),
        (Some(_), _) => (Level::Good, "good"),
        (None, None) => (Level::Quiet, "self-signed: not a public name"),
        (None, Some(0)) if wall.known().is_none() => (Level::Waiting, "waits for the time"),
        (None, Some(0)) => (Level::Waiting, "being ordered"),
        (None, Some(_)) => (Level::Bad, "could not be had"),
    };
    Certificate {
        name: view.name.clone(),
        expires,
        days_left: expires.and_then(left),
        next_try: view.standing.as_ref().and_then(|standing| standing.next_try),
        state: State::new(level, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::core::acme_order::NameStanding;
    use crate::edge::core::certificate::Validity;

    #[test]
    fn certificates_tell_days_and_troubles() {
        let now = UnixTime(1_800_000_000);
        let view = |days: Option<i64>, failures: Option<u32>| {
            let validity = days.map(|days| Validity {
                not_before: UnixTime(0),
                not_after: UnixTime(now.0 + days * DAY + 60),
            });
            let standing = failures.map(|failures| NameStanding {
                name: "a.example.com".into(),
                validity,
                failures,
                next_try: Some(now),
            });
            CertificateView { name: "a.example.com".into(), validity, standing }
        };
        for (days, failures, wall, expected) in [
            (Some(60), Some(0), WallTime::Known(now), "good Some(60)"),
            (Some(20), Some(2), WallTime::Known(now), "could not be renewed Some(20)"),
            (Some(-2), Some(2), WallTime::Known(now), "is over Some(-1)"),
            (Some(60), Some(0), WallTime::Unknown, "good None"),
            (None, Some(0), WallTime::Known(now), "being ordered None"),
            (None, Some(0), WallTime::Unknown, "waits for the time None"),
            (None, Some(1), WallTime::Known(now), "could not be had None"),
            (None, None, WallTime::Known(now), "self-signed: not a public name None"),
        ] {
            let row = certificate(&view(days, failures), wall);
            assert_eq!(format!("{} {:?}", row.state.text, row.days_left), expected);
        }
    }
}
