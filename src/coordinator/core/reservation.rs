//! Addresses and names that the policy's `hosts` set aside.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::IpNet;

use super::address_pool::{self, GATEWAY};
use super::node_name;
use super::policy::Policy;

/// What the gateway is called where the policy does not name its address.
const GATEWAY_NAME: &str = "gateway";

/// Every host whose value is a single address that a node may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reservations {
    hosts: BTreeMap<String, Ipv4Addr>,
    addresses: BTreeSet<Ipv4Addr>,
    labels: BTreeSet<String>,
    gateway: String,
}

impl Reservations {
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        let single = |(name, prefix): (&String, &IpNet)| match prefix {
            IpNet::V4(prefix) if prefix.prefix_len() == 32 => Some((name.clone(), prefix.addr())),
            _ => None,
        };
        let all: Vec<_> = policy.hosts.iter().filter_map(single).collect();
        let gateway = all.iter().find(|(_, address)| *address == GATEWAY);
        let gateway = gateway.map_or_else(|| GATEWAY_NAME.to_owned(), |(name, _)| node_name::clean(name));
        let hosts: BTreeMap<_, _> =
            all.into_iter().filter(|(_, address)| address_pool::is_assignable(*address)).collect();
        let labels = hosts.keys().map(|name| node_name::clean(name));
        Self {
            addresses: hosts.values().copied().collect(),
            labels: labels.chain([gateway.clone()]).collect(),
            hosts,
            gateway,
        }
    }

    /// Every host with its address, in the order of their names.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, Ipv4Addr)> {
        self.hosts.iter().map(|(host, address)| (host.as_str(), *address))
    }

    /// The address set aside for the node of `host`.
    #[must_use]
    pub fn address(&self, host: &str) -> Option<Ipv4Addr> {
        self.hosts.get(host).copied()
    }

    #[must_use]
    pub fn holds_address(&self, address: Ipv4Addr) -> bool {
        self.addresses.contains(&address)
    }

    #[must_use]
    pub fn holds_label(&self, label: &str) -> bool {
        self.labels.contains(label)
    }

    /// The label of the gateway's own node.
    #[must_use]
    pub fn gateway_label(&self) -> &str {
        &self.gateway
    }

    /// For messages to people: the hosts a key can be bound to.
    #[must_use]
    pub fn host_names(&self) -> Vec<&str> {
        self.hosts.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_one_assignable_address_are_set_aside() {
        let hosts = [
            ("raspberry-pi", "100.64.0.1/32"),
            ("Machine_A", "100.64.0.2/32"),
            ("lan", "192.168.1.0/24"),
            ("router", "192.168.1.1/32"),
            ("resolver", "100.100.100.100/32"),
        ];
        let hosts = hosts.map(|(name, prefix)| (name.to_owned(), prefix.parse().expect("a test prefix")));
        let reservations = Reservations::of(&Policy { hosts: hosts.into(), ..Policy::default() });
        assert_eq!(reservations.host_names(), ["Machine_A"]);
        assert_eq!(reservations.address("Machine_A"), Some(Ipv4Addr::new(100, 64, 0, 2)));
        assert!(reservations.holds_label("machine-a") && reservations.holds_label("raspberry-pi"));
        assert_eq!(reservations.gateway_label(), "raspberry-pi");
        assert_eq!(Reservations::of(&Policy::default()).gateway_label(), "gateway");
    }
}
