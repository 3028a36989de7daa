//! What the kernel has, from its messages.

use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteProtocol, RouteType,
};

use super::orders::SYSCTL_IPV6;
use crate::appliance::core::network_plan::{Interface, Way};

pub(super) fn interface(message: &RouteNetlinkMessage) -> Option<Interface> {
    let RouteNetlinkMessage::NewLink(link) = message else { return None };
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    let hardware = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    });
    let mtu = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    let is_radio = ["wireless", "phy80211"]
        .iter()
        .any(|sign| Path::new("/sys/class/net").join(&name).join(sign).exists());
    Some(Interface {
        index: link.header.index,
        hardware: hardware.unwrap_or_default(),
        is_wired: link.header.link_layer_type == LinkLayerType::Ether && is_card(link) && !is_radio,
        is_up: link.header.flags.contains(LinkFlags::Up),
        // Not before the kernel sends on it, which is a moment after the cable is seen.
        has_link: link.header.flags.contains(LinkFlags::Running | LinkFlags::Up),
        mtu: mtu.unwrap_or_default(),
        vlan: vlan_of(link),
        ipv6: ipv6(&name),
        name,
    })
}

/// Not made by software; the ends of a `veth` are what a container has for a card.
pub(super) fn is_card(link: &LinkMessage) -> bool {
    let kinds = link_infos(link).filter_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    });
    kinds.into_iter().all(|kind| *kind == InfoKind::Veth)
}

pub(super) fn vlan_of(link: &LinkMessage) -> Option<(u32, u16)> {
    let parent = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(parent) => Some(*parent),
        _ => None,
    })?;
    let id = link_infos(link).find_map(|info| match info {
        LinkInfo::Data(InfoData::Vlan(settings)) => settings.iter().find_map(|setting| match setting {
            InfoVlan::Id(id) => Some(*id),
            _ => None,
        }),
        _ => None,
    })?;
    Some((parent, id))
}

pub(super) fn link_infos(link: &LinkMessage) -> impl Iterator<Item = &LinkInfo> {
    link.attributes.iter().flat_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.as_slice(),
        _ => &[],
    })
}

pub(super) fn address(message: &RouteNetlinkMessage) -> Option<(u32, Ipv4Net)> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(std::net::IpAddr::V4(local)) => Some(*local),
        _ => None,
    })?;
    Some((message.header.index, Ipv4Net::new(local, message.header.prefix_len).ok()?))
}

/// A route of the main table that a program set, over one interface.
pub(super) fn way(message: &RouteNetlinkMessage) -> Option<Way> {
    let RouteNetlinkMessage::NewRoute(route) = message else { return None };
    let protocols = [RouteProtocol::Dhcp, RouteProtocol::Static, RouteProtocol::Boot];
    let is_ours = route.header.table == RouteHeader::RT_TABLE_MAIN
        && route.header.kind == RouteType::Unicast
        && protocols.contains(&route.header.protocol);
    let mut way = Way { interface: 0, prefix: Ipv4Net::default(), via: None, on_link: false };
    let mut network = Ipv4Addr::UNSPECIFIED;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => way.interface = *index,
            RouteAttribute::Gateway(RouteAddress::Inet(via)) => way.via = Some(*via),
            RouteAttribute::Destination(RouteAddress::Inet(address)) => network = *address,
            _ => {}
        }
    }
    way.prefix = Ipv4Net::new(network, route.header.destination_prefix_length).ok()?;
    way.on_link = route.header.flags.contains(RouteFlags::Onlink);
    (is_ours && way.interface != 0).then_some(way)
}

/// `None` where the kernel has no IPv6.
fn ipv6(name: &str) -> Option<bool> {
    let text = std::fs::read_to_string(format!("{SYSCTL_IPV6}/{name}/disable_ipv6")).ok()?;
    Some(text.trim() == "0")
}
