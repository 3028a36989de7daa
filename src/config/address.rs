//! Caddy's network addresses: `[network/]host:port`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::edge::core::route::{Listen, Transport, Upstream};

use super::problem::Problem;
use super::suggest;

const NETWORKS: [&str; 6] = ["tcp", "tcp4", "tcp6", "udp", "udp4", "udp6"];
/// Networks that Caddy has and an entrance for other machines has no use for.
const LOCAL_NETWORKS: [&str; 5] = ["unix", "unixgram", "unixpacket", "fd", "fdgram"];

/// An address as written, its host not yet looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkAddress {
    /// `None` when no network was named: TCP, unless the place says otherwise.
    pub transport: Option<Transport>,
    family: Option<Family>,
    /// Without brackets; empty for "all addresses".
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// Takes `text` apart. Errors: a problem without a place.
pub fn parse(text: &str) -> Result<NetworkAddress, Problem> {
    if text.contains('{') {
        return Err(unsupported(text, "placeholders in addresses"));
    }
    let (network, rest) = text.split_once('/').map_or((None, text), |(network, rest)| (Some(network), rest));
    let (transport, family) = match network {
        None => (None, None),
        Some(network) => parse_network(text, &network.trim().to_ascii_lowercase())?,
    };
    let (host, port) =
        split_port(rest).ok_or_else(|| bad(text, "it has no port; write it as `host:port`"))?;
    if host.contains('%') {
        return Err(unsupported(text, "addresses with a zone"));
    }
    Ok(NetworkAddress { transport, family, host: host.to_owned(), port: parse_port(text, port)? })
}

fn parse_network(text: &str, network: &str) -> Result<(Option<Transport>, Option<Family>), Problem> {
    if LOCAL_NETWORKS.contains(&network) {
        return Err(unsupported(text, &format!("the network \"{network}\"")));
    }
    if !NETWORKS.contains(&network) {
        let problem = bad(text, &format!("there is no network \"{network}\""));
        return Err(problem.cure(suggest::cure(network, &NETWORKS)));
    }
    let transport = if network.starts_with("udp") { Transport::Udp } else { Transport::Tcp };
    let family = match network.as_bytes()[3..] {
        [b'4'] => Some(Family::V4),
        [b'6'] => Some(Family::V6),
        _ => None,
    };
    Ok((Some(transport), family))
}

/// Host without brackets, and port. An address with several colons needs brackets.
fn split_port(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        return Some((host, port.strip_prefix(':')?));
    }
    let (host, port) = text.rsplit_once(':')?;
    (!host.contains(':')).then_some((host, port))
}

fn parse_port(text: &str, port: &str) -> Result<u16, Problem> {
    if port.contains('-') {
        return Err(unsupported(text, "port ranges").cure("Write one address for each port."));
    }
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse().ok().filter(|number| digits && *number != 0);
    number.ok_or_else(|| bad(text, &format!("\"{port}\" is not a port from 1 to 65535")))
}

impl NetworkAddress {
    /// As something to listen on; `otherwise` is the transport when none was named.
    ///
    /// No host is `::`, which stands for all addresses of both families, unless the network names one.
    pub fn listen(&self, otherwise: Transport) -> Result<Listen, Problem> {
        let ip = match self.host.as_str() {
            "" if self.family == Some(Family::V4) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => host.parse().map_err(|_| {
                bad(host, "a name cannot be listened on")
                    .cure("Write an address of this machine, or none for all of them.")
            })?,
        };
        if self.family.is_some_and(|family| (family == Family::V4) != ip.is_ipv4()) {
            return Err(bad(&self.host, "it is not of the family that the network names"));
        }
        let transport = self.transport.unwrap_or(otherwise);
        Ok(Listen { transport, address: SocketAddr::new(ip, self.port) })
    }

    /// As something to dial; no host is this machine itself.
    #[must_use]
    pub fn upstream(&self, otherwise: Transport) -> Upstream {
        let host = if self.host.is_empty() { "localhost" } else { &self.host };
        Upstream {
            transport: self.transport.unwrap_or(otherwise),
            host: host.to_ascii_lowercase(),
            port: self.port,
        }
    }
}

fn bad(text: &str, why: &str) -> Problem {
    Problem::error("bad-address", format!("\"{text}\" is not an address: {why}"))
        .cure("Write it as \"host:port\", such as \"100.64.0.2:22\" or \":443\".")
}

fn unsupported(text: &str, what: &str) -> Problem {
    Problem::error(
        "not-supported",
        format!("\"{text}\": {what} are not supported yet").replace("\" are", "\" is"),
    )
    .cure("Write an address and a port.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_caddy_reads() {
        for (text, expected) in [
            (":443", "tcp [::]:443"),
            ("0.0.0.0:2222", "tcp 0.0.0.0:2222"),
            ("udp/0.0.0.0:27015", "udp 0.0.0.0:27015"),
            ("[::]:443", "tcp [::]:443"),
            ("UDP/:53", "udp [::]:53"),
            ("tcp4/:80", "tcp 0.0.0.0:80"),
            ("udp6/[fd00::1]:53", "udp [fd00::1]:53"),
            ("localhost:9000", "tcp 127.0.0.1:9000"),
        ] {
            let listen = parse(text).and_then(|address| address.listen(Transport::Tcp)).expect(text);
            let transport = if listen.transport == Transport::Udp { "udp" } else { "tcp" };
            assert_eq!(format!("{transport} {}", listen.address), expected, "{text}");
        }
        let upstream = parse("udp/Machine-A.lan:27015").expect("an address").upstream(Transport::Tcp);
        assert_eq!((upstream.transport, upstream.host.as_str()), (Transport::Udp, "machine-a.lan"));
        assert_eq!(parse(":80").expect("an address").upstream(Transport::Tcp).host, "localhost");
    }

    #[test]
    fn refuses_the_rest_with_a_reason() {
        for (text, code) in [
            ("443", "bad-address"),
            (":0", "bad-address"),
            (":+80", "bad-address"),
            (":65536", "bad-address"),
            (":https", "bad-address"),
            ("::1:443", "bad-address"),
            ("[::1]", "bad-address"),
            ("tpc/:443", "bad-address"),
            ("example.com:443", "bad-address"),
            ("tcp6/0.0.0.0:1", "bad-address"),
            (":8000-8010", "not-supported"),
            ("unix//run/x.sock", "not-supported"),
            ("{env.PORT}", "not-supported"),
            ("udp/[fe80::1%eth0]:10", "not-supported"),
        ] {
            let problem = parse(text).and_then(|address| address.listen(Transport::Tcp)).expect_err(text);
            assert_eq!(problem.code, code, "{text}: {}", problem.what);
        }
    }
}
