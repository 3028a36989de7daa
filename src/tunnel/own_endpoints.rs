//! Where this node can be reached: the addresses of its interfaces, and its public name.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::core::path::is_usable;

/// Interfaces change when a cable is plugged in or a lease ends; a minute would be felt, a second would be waste.
const INTERFACE_INTERVAL: Duration = Duration::from_secs(10);
/// A public name changes when the provider gives a new address; names for that have a life of a few minutes.
const NAME_INTERVAL: Duration = Duration::from_mins(3);
/// A resolver that has not answered by then will not.
const NAME_TIMEOUT: Duration = Duration::from_secs(10);

/// Looks now and then, for as long as the node listens.
pub struct OwnEndpoints {
    /// Port of the UDP sockets.
    pub port: u16,
    /// Name of the TUN, whose addresses lie inside the tunnel.
    pub interface: String,
    pub public: Option<(String, u16)>,
}

impl OwnEndpoints {
    /// Reports each new list to the node and upward.
    pub async fn watch(self, node: watch::Sender<Vec<SocketAddr>>, upward: mpsc::Sender<Vec<SocketAddr>>) {
        let mut public = Vec::new();
        let mut next_lookup = Instant::now();
        let mut ticks = interval(INTERFACE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some((name, port)) = &self.public
                && Instant::now() >= next_lookup
            {
                next_lookup = Instant::now() + NAME_INTERVAL;
                if let Some(found) = resolve(name, *port).await {
                    public = found;
                }
            }
            let endpoints = merge(&self.interface_endpoints(), &public);
            if *node.borrow() == endpoints {
                continue;
            }
            tracing::info!(count = endpoints.len(), "own endpoints changed");
            if node.send(endpoints.clone()).is_err() {
                return;
            }
            if upward.send(endpoints).await.is_err() {
                tracing::debug!("nobody tells the peers");
            }
        }
    }

    fn interface_endpoints(&self) -> Vec<SocketAddr> {
        let interfaces = match getifaddrs() {
            Ok(interfaces) => interfaces,
            Err(error) => {
                tracing::warn!(%error, "cannot list the network interfaces");
                return Vec::new();
            }
        };
        interfaces
            .filter(|interface| {
                interface.flags.contains(InterfaceFlags::IFF_UP) && interface.interface_name != self.interface
            })
            .filter_map(|interface| {
                let address = interface.address?;
                let ipv4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
                ipv4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
            })
            .map(|address| SocketAddr::new(address, self.port))
            .collect()
    }
}

/// Public ones first, so that a list that has to be cut keeps them; none twice, none that a peer could not use.
fn merge(local: &[SocketAddr], public: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut seen = BTreeSet::new();
    let mut local = local.to_vec();
    local.sort_unstable();
    public
        .iter()
        .chain(&local)
        .filter(|endpoint| is_usable(**endpoint) && seen.insert(**endpoint))
        .copied()
        .collect()
}

/// `None` keeps what was known: a resolver that fails says nothing about the address.
async fn resolve(name: &str, port: u16) -> Option<Vec<SocketAddr>> {
    match timeout(NAME_TIMEOUT, tokio::net::lookup_host((name, port))).await {
        Ok(Ok(found)) => {
            let mut found: Vec<_> = found.collect();
            found.sort_unstable();
            Some(found)
        }
        Ok(Err(error)) => {
            tracing::debug!(name, %error, "own public name does not resolve");
            None
        }
        Err(_) => {
            tracing::debug!(name, "own public name: no answer");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_endpoints_come_first_and_useless_ones_not_at_all() {
        let [lan, public, loopback, tunnel] =
            ["192.168.1.5:1", "198.51.100.1:1", "127.0.0.1:1", "100.64.0.1:1"]
                .map(|text| text.parse().expect("literal"));
        assert_eq!(merge(&[tunnel, lan, loopback, public], &[public]), [public, lan]);
    }

    #[tokio::test]
    async fn the_first_list_is_reported_both_ways() {
        let (node, mut seen) = watch::channel(Vec::new());
        let (upward, mut reported) = mpsc::channel(1);
        let public = Some(("198.51.100.1".to_owned(), 7));
        let endpoints = OwnEndpoints { port: 41641, interface: "genkan-none".to_owned(), public };
        let task = tokio::spawn(endpoints.watch(node, upward));
        let list = reported.recv().await.expect("a first list");
        assert_eq!(list.first(), Some(&SocketAddr::from(([198, 51, 100, 1], 7))));
        seen.changed().await.expect("the task lives");
        assert_eq!(*seen.borrow(), list);
        task.abort();
    }
}
