//! Steps as messages to the kernel.

use std::io;

use ipnet::Ipv4Net;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::appliance::core::network_plan::{Step, Way};

pub(super) const SYSCTL_IPV6: &str = "/proc/sys/net/ipv6/conf";
const SYSCTL_IPV4: &str = "/proc/sys/net/ipv4/conf";

pub(super) fn is_so_already(step: &Step, error: &io::Error) -> bool {
    match (step, error.raw_os_error()) {
        (Step::CreateVlan { .. } | Step::AddAddress { .. } | Step::AddWay(_), Some(code)) => {
            code == libc::EEXIST
        }
        (Step::RemoveWay(_), Some(code)) => code == libc::ESRCH,
        (Step::RemoveAddress { .. }, Some(code)) => code == libc::EADDRNOTAVAIL,
        _ => false,
    }
}

pub(super) fn describe(step: &Step) -> String {
    let name = |index: u32| interface_name(index).unwrap_or_else(|| format!("interface {index}"));
    match step {
        Step::Ipv6 { name, on } => format!("switch IPv6 {} on {name}", if *on { "on" } else { "off" }),
        Step::Up { index } => format!("switch {} on", name(*index)),
        Step::Mtu { index, mtu } => format!("set the MTU of {} to {mtu}", name(*index)),
        Step::CreateVlan { parent, id, .. } => format!("make VLAN {id} on {}", name(*parent)),
        Step::RemoveWay(way) => format!("remove the route to {} from {}", way.prefix, name(way.interface)),
        Step::AddWay(way) => format!("set the route to {} over {}", way.prefix, name(way.interface)),
        Step::RemoveAddress { index, address } => format!("take {address} from {}", name(*index)),
        Step::AddAddress { index, address } => format!("give {} the address {address}", name(*index)),
    }
}

pub(super) fn interface_name(index: u32) -> Option<String> {
    let name = nix::net::if_::if_indextoname(index).ok()?.into_string().ok()?;
    (!name.is_empty()).then_some(name)
}

pub(super) fn up(index: u32) -> RouteNetlinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    RouteNetlinkMessage::SetLink(link)
}

pub(super) fn with_mtu(index: u32, mtu: u32) -> RouteNetlinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes = vec![LinkAttribute::Mtu(mtu)];
    RouteNetlinkMessage::SetLink(link)
}

pub(super) fn new_vlan(parent: u32, id: u16, name: &str) -> RouteNetlinkMessage {
    let mut link = LinkMessage::default();
    let vlan = LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(id)]));
    link.attributes = vec![
        LinkAttribute::Link(parent),
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan), vlan]),
    ];
    RouteNetlinkMessage::NewLink(link)
}

pub(super) fn of_ipv4() -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message
}

pub(super) fn address_message(index: u32, address: Ipv4Net) -> AddressMessage {
    let mut message = of_ipv4();
    message.header.prefix_len = address.prefix_len();
    message.header.index = index;
    message.header.scope = AddressScope::Universe;
    let own = address.addr().into();
    message.attributes = vec![AddressAttribute::Local(own), AddressAttribute::Address(own)];
    if address.prefix_len() < 31 {
        message.attributes.push(AddressAttribute::Broadcast(address.broadcast()));
    }
    message
}

pub(super) fn route(way: &Way) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = way.prefix.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Dhcp;
    message.header.kind = RouteType::Unicast;
    message.header.scope = if way.via.is_some() { RouteScope::Universe } else { RouteScope::Link };
    if way.on_link {
        message.header.flags = RouteFlags::Onlink;
    }
    message.attributes.push(RouteAttribute::Oif(way.interface));
    if way.prefix.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(way.prefix.network())));
    }
    message.attributes.extend(way.via.map(|via| RouteAttribute::Gateway(RouteAddress::Inet(via))));
    message
}

/// Routers are listened to even where the box forwards packets, and addresses do not change for privacy: machines of the house
/// know the box by one.
pub(super) fn set_ipv6(name: &str, on: bool) -> io::Result<()> {
    let folder = format!("{SYSCTL_IPV6}/{name}");
    if on {
        std::fs::write(format!("{folder}/accept_ra"), "2")?;
        std::fs::write(format!("{folder}/use_tempaddr"), "0")?;
    }
    std::fs::write(format!("{folder}/disable_ipv6"), if on { "0" } else { "1" })
}

/// Lets the kernel tell the neighbours who has an address from now on: their tables may still name another machine.
pub(super) fn announce_itself(index: u32) {
    if let Some(name) = interface_name(index)
        && let Err(error) = std::fs::write(format!("{SYSCTL_IPV4}/{name}/arp_notify"), "1")
    {
        tracing::debug!(%error, name, "the address is not announced");
    }
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_core::NetlinkMessage;

    use super::*;

    /// As iproute2 writes `ip link add link eth0 name eth0.7 type vlan id 7` (eth0 being interface 3), but for the zero that
    /// ends the kind here.
    #[test]
    fn a_vlan_is_asked_for_as_iproute2_does() {
        let mut message = NetlinkMessage::from(new_vlan(3, 7, "eth0.7"));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let attributes = b"\x08\0\x05\0\x03\0\0\0\
            \x0b\0\x03\0eth0.7\0\0\
            \x1c\0\x12\0\x09\0\x01\0vlan\0\0\0\0\
            \x0c\0\x02\0\x06\0\x01\0\x07\0\0\0";
        assert_eq!(bytes[4..6], 16_u16.to_ne_bytes(), "RTM_NEWLINK");
        assert_eq!(bytes[32..], attributes[..]);
    }

    #[test]
    fn what_is_so_already_is_no_failure() {
        let way = Way { interface: 2, prefix: Ipv4Net::default(), via: None, on_link: false };
        let error = io::Error::from_raw_os_error;
        assert!(is_so_already(&Step::AddWay(way), &error(libc::EEXIST)));
        assert!(is_so_already(&Step::RemoveWay(way), &error(libc::ESRCH)));
        assert!(!is_so_already(&Step::AddWay(way), &error(libc::ENETUNREACH)));
        assert_eq!(
            describe(&Step::AddWay(Way { interface: u32::MAX, ..way })),
            "set the route to 0.0.0.0/0 over interface 4294967295"
        );
    }
}
