//! From what the owner wants, what interfaces there are and what the router lent to what is to be done next. Pure: the shell
//! reads what is present, does the steps and comes again until there are none.

mod choice;
mod conditions;

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use super::settings::{Addressing, NetworkSettings};
use crate::wire::dhcp::Hardware;
use crate::wire::errand::Lease;

pub use choice::{Choice, choose};
pub use conditions::{Standing, conditions};

/// Index of the loopback interface in every network namespace.
pub const LOOPBACK: u32 = 1;

/// An interface of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub index: u32,
    pub name: String,
    /// All zeros where there is none.
    pub hardware: Hardware,
    /// A card for a cable; no radio, and nothing that software made.
    pub is_wired: bool,
    /// Switched on.
    pub is_up: bool,
    /// Something answers at the other end of the cable.
    pub has_link: bool,
    /// In bytes.
    pub mtu: u32,
    /// Index of the interface below, and number of the VLAN.
    pub vlan: Option<(u32, u16)>,
    /// Whether it takes IPv6 addresses; `None` where the kernel has no IPv6.
    pub ipv6: Option<bool>,
}

/// A route of IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    pub interface: u32,
    pub prefix: Ipv4Net,
    /// `None`: on the link itself.
    pub via: Option<Ipv4Addr>,
    /// The router is not within the prefix of an address, and is on the link all the same.
    pub on_link: bool,
}

/// What the kernel has now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Present {
    pub interfaces: Vec<Interface>,
    /// IPv4 addresses by interface.
    pub addresses: Vec<(u32, Ipv4Net)>,
    /// Those that were set by this program, or by another one before it; not the kernel's own.
    pub ways: Vec<Way>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Let an interface take IPv6 addresses, or not. Before it goes up, so that none is taken first.
    Ipv6 {
        name: String,
        on: bool,
    },
    Up {
        index: u32,
    },
    /// Make the interface `name` for a VLAN on another.
    CreateVlan {
        parent: u32,
        id: u16,
        name: String,
    },
    /// In bytes.
    Mtu {
        index: u32,
        mtu: u32,
    },
    RemoveWay(Way),
    RemoveAddress {
        index: u32,
        address: Ipv4Net,
    },
    AddAddress {
        index: u32,
        address: Ipv4Net,
    },
    AddWay(Way),
}

impl Present {
    #[must_use]
    pub fn interface(&self, index: u32) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.index == index)
    }

    /// The interface of the VLAN `id` on `parent`.
    #[must_use]
    pub fn vlan(&self, parent: u32, id: u16) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.vlan == Some((parent, id)))
    }

    /// The interface that gets the address: the chosen one, or its VLAN's. `None` while that is yet to be made.
    #[must_use]
    pub fn carrier(&self, settings: &NetworkSettings, choice: &Choice) -> Option<&Interface> {
        let chosen = choice.index()?;
        match settings.vlan {
            Some(id) => self.vlan(chosen, id),
            None => self.interface(chosen),
        }
    }
}

/// The steps from `present` to what `settings` and `lease` want; none when it is so.
#[must_use]
pub fn plan(
    settings: &NetworkSettings,
    present: &Present,
    choice: &Choice,
    lease: Option<&Lease>,
) -> Vec<Step> {
    let carrier = present.carrier(settings, choice);
    let mut steps = Vec::new();
    if present.interface(LOOPBACK).is_some_and(|loopback| !loopback.is_up) {
        steps.push(Step::Up { index: LOOPBACK });
    }
    for interface in choice::candidates(settings, present) {
        let takes_ipv6 = settings.ipv6 && carrier.is_some_and(|carrier| carrier.index == interface.index);
        raise(&mut steps, interface, takes_ipv6);
    }
    if let (Some(id), Some(parent), None) = (settings.vlan, choice.index(), carrier) {
        let below = present.interface(parent).map_or("vlan", |interface| &interface.name);
        steps.push(Step::CreateVlan { parent, id, name: vlan_name(below, id) });
    }
    if let Some(carrier) = carrier.filter(|carrier| carrier.vlan.is_some()) {
        raise(&mut steps, carrier, settings.ipv6);
    }
    remove_what_is_not_wanted(&mut steps, settings, present, carrier, lease);
    if let Some(carrier) = carrier {
        add_what_is_missing(&mut steps, settings, present, carrier, lease);
    }
    steps
}

/// What `settings` and `lease` want the interface `index` to have.
fn wanted(settings: &NetworkSettings, lease: Option<&Lease>, index: u32) -> (Option<Ipv4Net>, Vec<Way>) {
    let (address, routes) = match &settings.addressing {
        Addressing::Static { address, gateway } => {
            let default = gateway.map(|gateway| (Ipv4Net::default(), Some(gateway)));
            (Some(*address), default.into_iter().collect())
        }
        Addressing::Dhcp => {
            let routes: Vec<_> =
                lease.iter().flat_map(|lease| &lease.routes).map(|route| (route.prefix, route.via)).collect();
            (lease.map(|lease| lease.address), routes)
        }
    };
    let is_near = |via: Ipv4Addr| address.is_some_and(|address| address.contains(&via));
    let way = |(prefix, via): (Ipv4Net, Option<Ipv4Addr>)| {
        let on_link = via.is_some_and(|via| !is_near(via));
        Way { interface: index, prefix: prefix.trunc(), via, on_link }
    };
    // The link's own prefix is the kernel's route already.
    let own = address.map(|address| address.trunc());
    let mut ways: Vec<Way> = routes.into_iter().map(way).filter(|way| Some(way.prefix) != own).collect();
    // A router may be behind a route that is on the link.
    ways.sort_by_key(|way| way.via.is_some());
    ways.dedup_by_key(|way| way.prefix);
    (address, ways)
}

fn raise(steps: &mut Vec<Step>, interface: &Interface, takes_ipv6: bool) {
    if interface.ipv6.is_some_and(|on| on != takes_ipv6) {
        steps.push(Step::Ipv6 { name: interface.name.clone(), on: takes_ipv6 });
    }
    if !interface.is_up {
        steps.push(Step::Up { index: interface.index });
    }
}

/// Takes what is not wanted from every interface that could have carried the address before.
fn remove_what_is_not_wanted(
    steps: &mut Vec<Step>,
    settings: &NetworkSettings,
    present: &Present,
    carrier: Option<&Interface>,
    lease: Option<&Lease>,
) {
    let mut ours: Vec<u32> = choice::candidates(settings, present).map(|interface| interface.index).collect();
    ours.extend(carrier.map(|carrier| carrier.index));
    let (address, ways) = match carrier {
        Some(carrier) => wanted(settings, lease, carrier.index),
        None => (None, Vec::new()),
    };
    let stale = present.ways.iter().filter(|way| ours.contains(&way.interface) && !ways.contains(way));
    steps.extend(stale.map(|way| Step::RemoveWay(*way)));
    let keeps = |index: u32, have: Ipv4Net| {
        carrier.is_some_and(|carrier| carrier.index == index) && address == Some(have)
    };
    let stale =
        present.addresses.iter().filter(|(index, have)| ours.contains(index) && !keeps(*index, *have));
    steps.extend(stale.map(|(index, address)| Step::RemoveAddress { index: *index, address: *address }));
}

fn add_what_is_missing(
    steps: &mut Vec<Step>,
    settings: &NetworkSettings,
    present: &Present,
    carrier: &Interface,
    lease: Option<&Lease>,
) {
    let index = carrier.index;
    if let Some(mtu) = lease.and_then(|lease| lease.mtu).map(u32::from).filter(|mtu| *mtu != carrier.mtu) {
        steps.push(Step::Mtu { index, mtu });
    }
    let (address, ways) = wanted(settings, lease, index);
    if let Some(address) = address.filter(|address| !present.addresses.contains(&(index, *address))) {
        steps.push(Step::AddAddress { index, address });
    }
    // The kernel takes no route over an interface that is off; it goes up first and this comes again.
    if carrier.is_up {
        steps.extend(ways.into_iter().filter(|way| !present.ways.contains(way)).map(Step::AddWay));
    }
}

/// `eth0.7`, cut to what an interface may be called.
fn vlan_name(parent: &str, id: u16) -> String {
    /// IFNAMSIZ of Linux, without its terminating zero.
    const NAME_MAX: usize = 15;
    let end = format!(".{id}");
    let kept: String = parent.chars().take(NAME_MAX - end.len()).collect();
    kept + &end
}

/// The servers of names: the owner's, else the router's.
#[must_use]
pub fn dns(settings: &NetworkSettings, lease: Option<&Lease>) -> Vec<IpAddr> {
    if settings.dns.is_empty() {
        return lease.iter().flat_map(|lease| &lease.dns).map(|server| IpAddr::V4(*server)).collect();
    }
    settings.dns.clone()
}

/// The text of resolv.conf(5) for the worker's resolver.
#[must_use]
pub fn resolver_file(settings: &NetworkSettings, lease: Option<&Lease>) -> String {
    let mut lines = vec!["# Written by genkan from [network] and the router.".to_owned()];
    lines.extend(lease.and_then(|lease| lease.domain.as_ref()).map(|domain| format!("search {domain}")));
    lines.extend(dns(settings, lease).iter().map(|server| format!("nameserver {server}")));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests;
