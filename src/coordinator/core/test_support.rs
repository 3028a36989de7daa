//! A house for tests: policy names, a gateway, and machines known by a number.

use crate::wire::key::{DiscoPublic, MachinePublic, NodePublic};

use super::policy::Policy;
use super::relay_map::RelaySettings;
use super::tailnet::TailnetSettings;

pub struct Client {
    pub machine: MachinePublic,
    pub node: NodePublic,
    pub disco: DiscoPublic,
}

/// The keys of machine `number`.
pub fn client(number: u8) -> Client {
    Client {
        machine: MachinePublic::from_bytes([number; 32]),
        node: NodePublic::from_bytes([number; 32]),
        disco: DiscoPublic::from_bytes([number; 32]),
    }
}

pub fn settings() -> TailnetSettings {
    TailnetSettings {
        base_domain: "home.example".into(),
        gateway_node: NodePublic::from_bytes([0xfe; 32]),
        gateway_machine: MachinePublic::from_bytes([0xfe; 32]),
        gateway_disco: DiscoPublic::from_bytes([0xfe; 32]),
        relay: RelaySettings {
            host_name: "genkan.example.com".into(),
            certificate_pin: None,
            lan: None,
            lan_address: None,
            derp_port: 443,
            stun_port: 3478,
        },
    }
}

/// Four hosts, as in a small house; everybody may reach everybody.
pub fn house_policy() -> Policy {
    let hosts = [("raspberry-pi", 1), ("machine-a", 2), ("machine-b", 3), ("machine-c", 4)];
    let hosts = hosts.map(|(name, last)| {
        let prefix = ipnet::Ipv4Net::from(std::net::Ipv4Addr::new(100, 64, 0, last));
        (name.to_owned(), prefix.into())
    });
    Policy { hosts: hosts.into(), ..Policy::default() }
}
