//! What the owner is told about the network.

use std::time::Duration;

use super::{Choice, Present, dns, wanted};
use crate::appliance::core::settings::{Addressing, NetworkSettings};
use crate::base::condition::{Condition, Severity};
use crate::wire::errand::Lease;

/// A router that is there answers within this time, also when it has just been switched on with the box.
const PATIENCE: Duration = Duration::from_secs(20);

/// How things stand.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    pub settings: &'a NetworkSettings,
    pub present: &'a Present,
    pub choice: Choice,
    pub lease: Option<&'a Lease>,
    /// Since there is a link and yet no address.
    pub waiting: Duration,
    /// What the kernel refused last, in its words.
    pub refused: Option<&'a str>,
}

/// All that hold now, NET-01 to NET-07.
#[must_use]
pub fn conditions(standing: &Standing<'_>) -> Vec<Condition> {
    let mut found = Vec::new();
    found.extend(standing.refused.map(refused));
    match standing.choice {
        Choice::Nothing => found.push(no_interface(standing)),
        Choice::NoLink(index) => found.push(no_link(standing, index)),
        Choice::Linked(index) => found.extend(no_address(standing, index)),
    }
    found.extend(no_way_out(standing));
    found.extend(no_names(standing));
    found
}

fn no_interface(standing: &Standing<'_>) -> Condition {
    let cards = standing.present.interfaces.iter().filter(|interface| interface.is_wired);
    let names: Vec<&str> = cards.map(|interface| interface.name.as_str()).collect();
    let Some(wanted) = &standing.settings.interface else {
        return Condition::new("NET-01", Severity::Error, "The box has no network socket that works.")
            .cure("Plug in a USB Ethernet adapter, or restart the box with it plugged in.");
    };
    let condition =
        Condition::new("NET-01", Severity::Error, format!("There is no network interface {wanted}."));
    let condition = condition.because("`interface` in [network] of genkan.toml names it.");
    match names.as_slice() {
        [] => condition.cure("Plug in its adapter, or take `interface` out of the file."),
        names => {
            condition.cure(format!("Write one that exists ({}), or take the line out.", names.join(", ")))
        }
    }
}

fn no_link(standing: &Standing<'_>, index: u32) -> Condition {
    let name = standing.present.interface(index).map_or("the network socket", |found| found.name.as_str());
    Condition::new("NET-02", Severity::Error, "No network cable leads anywhere.")
        .because(format!("{name} sees nothing at its other end."))
        .cure("Plug the cable in on both ends until it clicks; if it is, try another cable or another socket of the router, and look whether the router is on.")
}

fn no_address(standing: &Standing<'_>, index: u32) -> Option<Condition> {
    let is_waiting = standing.settings.addressing == Addressing::Dhcp && standing.lease.is_none();
    if !is_waiting {
        return None;
    }
    let name = standing.present.interface(index).map_or("the cable", |found| found.name.as_str());
    if standing.waiting < PATIENCE {
        return Some(Condition::new(
            "NET-03",
            Severity::Progress,
            "The router is being asked for an address.",
        ));
    }
    let what = "The router gives the box no address.";
    // Without how long it has been: each new text is written to the card.
    let why = format!("Nobody answers on {name} (DHCP). The box keeps asking.");
    Some(Condition::new("NET-03", Severity::Error, what).because(why).cure(
        "Switch the router on and wait two minutes; look whether its DHCP server is on. Or give the box an address of its own: mode = \"static\" in [network] of genkan.toml.",
    ))
}

fn no_way_out(standing: &Standing<'_>) -> Option<Condition> {
    let (address, ways) = wanted(standing.settings, standing.lease, 0);
    let has_default = ways.iter().any(|way| way.prefix.prefix_len() == 0);
    if address.is_none() || has_default {
        return None;
    }
    let condition =
        Condition::new("NET-04", Severity::Warning, "The box reaches the house, but not the internet.");
    Some(match standing.settings.addressing {
        Addressing::Static { .. } => condition
            .because("[network] of genkan.toml has no `gateway`.")
            .cure("Write the router's address: gateway = \"192.168.1.1\", for example."),
        Addressing::Dhcp => condition
            .because("The router gave an address and named no router (DHCP option 3).")
            .cure("Look at the router's DHCP settings, or use mode = \"static\" with a `gateway` in [network] of genkan.toml."),
    })
}

fn refused(reason: &str) -> Condition {
    Condition::new("NET-06", Severity::Error, "The network could not be set up as written.")
        .because(reason)
        .cure("Compare [network] of genkan.toml with your network; if it is right, restart the box and report this text.")
}

fn no_names(standing: &Standing<'_>) -> Option<Condition> {
    let (address, _) = wanted(standing.settings, standing.lease, 0);
    if address.is_none() || !dns(standing.settings, standing.lease).is_empty() {
        return None;
    }
    let condition = Condition::new(
        "NET-07",
        Severity::Warning,
        "The box cannot look up names: no certificate can be had.",
    );
    Some(condition.because("Nobody told it a DNS server.").cure(
        "Write one in [network] of genkan.toml: dns = [\"192.168.1.1\"] with the router's address, for example.",
    ))
}
