//! Which address the machines of the house know this box by.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::model;

/// How often to look whether the box has another address in the house.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// The house's network as this box stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lan {
    pub address: Ipv4Addr,
    pub prefix: Ipv4Net,
}

/// Publishes what [`find`] finds until `stop`: a router may give the address late, and another one later.
pub fn watch(settings: model::Lan, stop: CancellationToken) -> watch::Receiver<Option<Lan>> {
    let (sender, receiver) = watch::channel(find(&settings));
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let found = find(&settings);
            let is_news = sender.send_if_modified(|lan| std::mem::replace(lan, found) != found);
            if is_news {
                tracing::info!(lan = ?found, "the box's address in the house is another");
            }
        }
    });
    receiver
}

/// The configured address or interface, else the first private address of an interface that is up. `None` while there is
/// none: the box then hands out its public name only.
pub fn find(settings: &model::Lan) -> Option<Lan> {
    let addresses = getifaddrs().ok()?;
    let candidates: Vec<(String, Lan)> =
        addresses.filter_map(|entry| Some((entry.interface_name.clone(), of(&entry)?))).collect();
    choose(settings, &candidates)
}

fn choose(settings: &model::Lan, candidates: &[(String, Lan)]) -> Option<Lan> {
    let wanted = |(interface, lan): &&(String, Lan)| {
        settings.interface.as_ref().is_none_or(|name| name == interface)
            && settings.address.is_none_or(|address| address == lan.address)
    };
    let is_default = settings.interface.is_none() && settings.address.is_none();
    let found = candidates.iter().filter(wanted).find(|(_, lan)| !is_default || lan.address.is_private());
    found.map(|(_, lan)| *lan)
}

fn of(entry: &InterfaceAddress) -> Option<Lan> {
    let address = entry.address.as_ref()?.as_sockaddr_in()?.ip();
    let mask = entry.netmask.as_ref()?.as_sockaddr_in()?.ip();
    let prefix = Ipv4Net::with_netmask(address, mask).ok()?.trunc();
    (!address.is_loopback()).then_some(Lan { address, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lan(address: &str) -> Lan {
        let prefix: Ipv4Net = format!("{address}/24").parse().expect("an address");
        Lan { address: prefix.addr(), prefix: prefix.trunc() }
    }

    #[test]
    fn what_is_configured_wins_else_the_first_private_address() {
        let candidates = [
            ("wan0".to_owned(), lan("203.0.113.5")),
            ("eth0".to_owned(), lan("192.168.1.10")),
            ("eth1".to_owned(), lan("10.0.0.1")),
        ];
        let choose = |interface: Option<&str>, address: Option<&str>| {
            let address = address.map(|text| text.parse().expect("an address"));
            choose(&model::Lan { interface: interface.map(str::to_owned), address }, &candidates)
        };
        assert_eq!(choose(None, None), Some(lan("192.168.1.10")));
        assert_eq!(choose(Some("eth1"), None), Some(lan("10.0.0.1")));
        assert_eq!(choose(None, Some("203.0.113.5")), Some(lan("203.0.113.5")));
        assert_eq!(choose(Some("eth9"), None), None);
    }
}
