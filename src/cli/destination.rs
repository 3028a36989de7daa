//! Which genkan a command is for: the one on this machine, or one elsewhere in the house.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{StringValueParser, TypedValueParser};

use super::error::CliError;
use crate::base::secret::Secret;
use crate::wire::admin::TLS_PORT;
use crate::wire::api_key::ApiKeyText;

/// As a person says it.
#[derive(Debug, Clone, Args)]
pub struct Destination {
    /// Where the state lives: database and admin socket.
    #[arg(long, global = true, default_value = "/var/lib/genkan", value_name = "DIR")]
    pub state: PathBuf,
    /// Send admin commands to the genkan at this address, not to the one on this machine.
    #[arg(long, global = true, env = "GENKAN_ADDRESS", value_name = "HOST[:PORT]")]
    pub address: Option<String>,
    /// The key for --address. Better in the environment, where other users of this machine do not see it.
    #[arg(long, global = true, env = "GENKAN_API_KEY", hide_env_values = true, value_name = "KEY")]
    #[arg(value_parser = StringValueParser::new().map(Secret::new))]
    pub api_key: Option<Secret<String>>,
}

/// As it can be reached.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// By the socket in this state directory.
    Here(PathBuf),
    There {
        address: Address,
        key: ApiKeyText,
    },
}

/// A host's name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl Destination {
    /// The genkan of this machine with its state in `state`.
    #[must_use]
    pub fn here(state: impl Into<PathBuf>) -> Self {
        Self { state: state.into(), address: None, api_key: None }
    }

    /// # Errors
    /// An address that is none, or a key that is missing or not whole.
    pub fn target(&self) -> Result<Target, CliError> {
        let Some(address) = self.address.as_deref().filter(|address| !address.is_empty()) else {
            return Ok(Target::Here(self.state.clone()));
        };
        let address = Address::parse(address)?;
        let key = self.api_key.as_ref().filter(|key| !key.expose().is_empty());
        let key = key.ok_or_else(|| CliError::Usage(NO_KEY.into()))?;
        let key = ApiKeyText::parse(key.expose()).map_err(|error| CliError::Usage(error.to_string()))?;
        Ok(Target::There { address, key })
    }
}

const NO_KEY: &str = "--address needs an API key: put it into GENKAN_API_KEY, or after --api-key; `genkan apikeys create` on the box makes one, and so does an empty file genkan/API-KEY.txt on its card when it starts";

impl Address {
    /// `HOST`, `HOST:PORT`, `[IPV6]:PORT` or an address of version 6 alone; `https://` before and `/` behind are allowed.
    fn parse(text: &str) -> Result<Self, CliError> {
        let bare = text.trim();
        let bare = bare.strip_prefix("https://").unwrap_or(bare);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        split(bare).ok_or_else(|| {
            CliError::Usage(format!(
                "{text:?} is not an address; write for example 192.168.1.10, gateway.local:{TLS_PORT} or [fd00::1]:{TLS_PORT}"
            ))
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn split(text: &str) -> Option<Address> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']')?;
        let port = if behind.is_empty() { None } else { Some(behind.strip_prefix(':')?) };
        (Some(host).filter(|host| is_ipv6(host))?, port)
    } else if is_ipv6(text) {
        (text, None)
    } else {
        let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        (Some(host).filter(|host| is_name(host))?, port)
    };
    let is_number = |port: &&str| port.bytes().all(|byte| byte.is_ascii_digit());
    let port = match port {
        None => TLS_PORT,
        Some(port) => Some(port).filter(is_number)?.parse().ok().filter(|port| *port != 0)?,
    };
    Some(Address { host: host.to_owned(), port })
}

/// With or without a zone (RFC 4007 section 11): an interface's name.
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(is_name)
}

fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=253).contains(&text.len()) && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::rng::SeededRng;
    use crate::wire::api_key::Pin;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, shown) in [
            ("192.168.1.10", "192.168.1.10:9443"),
            ("192.168.1.10:444", "192.168.1.10:444"),
            (" gateway.local ", "gateway.local:9443"),
            ("https://gateway:9443/", "gateway:9443"),
            ("fd7a:115c:a1e0::1", "[fd7a:115c:a1e0::1]:9443"),
            ("[fd7a:115c:a1e0::1]", "[fd7a:115c:a1e0::1]:9443"),
            ("[fe80::1%eth0]:444", "[fe80::1%eth0]:444"),
        ] {
            assert_eq!(Address::parse(text).expect(text).to_string(), shown);
        }
        for wrong in [
            "", ":1", "a:", "a:0", "a:65536", "a:+1", "a:1:2", "[::1", "[::1]1", "[a]:1", "http://a", "a b",
            "a/b",
        ] {
            assert!(matches!(Address::parse(wrong), Err(CliError::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_asked_for_only_where_it_is_needed() {
        let here = Destination::here("/state");
        assert_eq!(here.target().expect("a socket"), Target::Here("/state".into()));
        let there = |key: Option<&str>| Destination {
            address: Some("box".into()),
            api_key: key.map(|key| Secret::new(key.to_owned())),
            ..here.clone()
        };
        for (key, said) in
            [(None, "GENKAN_API_KEY"), (Some(""), "GENKAN_API_KEY"), (Some("gkapi-1"), "copy it again")]
        {
            let error = there(key).target().expect_err("no key").to_string();
            assert!(error.contains(said), "{error}");
        }
        let key = ApiKeyText::mint(&mut SeededRng::new([1; 32]), Pin::of(b"key"));
        let target = there(Some(key.whole().expose())).target().expect("a whole key");
        assert!(matches!(target, Target::There { key: found, .. } if found == key));
        let unset = Destination { address: Some(String::new()), ..there(None) };
        assert!(matches!(unset.target(), Ok(Target::Here(_))));
    }

    proptest! {
        #[test]
        fn what_is_read_reads_the_same_again(text in "\\PC{0,40}|[a-z0-9.:%\\[\\]-]{0,40}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert_eq!(Address::parse(&address.to_string()).expect("its own form"), address);
            }
        }
    }
}
