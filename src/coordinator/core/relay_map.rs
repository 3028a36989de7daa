//! Relay regions as each viewer should dial them.
//!
//! One region, 999, with one server: this process. A viewer whose control connection comes from the LAN is given the LAN
//! address to dial, because many routers cannot send a packet for the public address back inside; everybody else resolves
//! the public name.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;

use crate::wire::control::{DerpMap, DerpNode, DerpRegion};

/// Identifiers 900-999 are for private regions.
pub const REGION: i32 = 999;

/// How clients reach the relay and the STUN server of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelaySettings {
    /// Public name, for DNS, SNI and the certificate check; an address literal where the box has no name.
    pub host_name: String,
    /// SHA-256 of the self-signed certificate's DER; `None` once a public certificate stands.
    pub certificate_pin: Option<[u8; 32]>,
    pub lan: Option<Ipv4Net>,
    pub lan_address: Option<Ipv4Addr>,
    pub derp_port: u16,
    pub stun_port: u16,
}

/// The two ends of a viewer's control connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

/// The map for one viewer; `None` is a viewer inside this process, which gets the public form.
#[must_use]
pub fn derp_map(settings: &RelaySettings, viewer: Option<Origin>) -> DerpMap {
    let node = DerpNode {
        name: format!("{REGION}a"),
        region_id: REGION,
        host_name: settings.host_name.clone(),
        cert_name: settings
            .certificate_pin
            .map(|pin| format!("sha256-raw:{}", hex::encode(pin)))
            .unwrap_or_default(),
        ipv4: dial_address(settings, viewer).map(|address| address.to_string()).unwrap_or_default(),
        ipv6: String::new(),
        stun_port: settings.stun_port.into(),
        derp_port: settings.derp_port.into(),
        can_port80: true,
    };
    let region = DerpRegion {
        region_id: REGION,
        region_code: "genkan".into(),
        region_name: "genkan".into(),
        nodes: vec![node],
    };
    DerpMap { regions: [(REGION, region)].into(), omit_default_regions: true }
}

/// The IPv4 address a viewer should dial without asking DNS.
fn dial_address(settings: &RelaySettings, viewer: Option<Origin>) -> Option<Ipv4Addr> {
    let on_lan = viewer.filter(|origin| is_on_lan(settings, origin.peer.ip()));
    match on_lan {
        Some(origin) => settings.lan_address.or_else(|| ipv4_of(origin.local.ip())),
        None => settings.host_name.parse().ok(),
    }
}

/// Without a known LAN prefix, private and link-local sources count as the LAN.
fn is_on_lan(settings: &RelaySettings, peer: IpAddr) -> bool {
    ipv4_of(peer).is_some_and(|peer| match settings.lan {
        Some(lan) => lan.contains(&peer),
        None => peer.is_private() || peer.is_link_local() || peer.is_loopback(),
    })
}

/// IPv4, also when a dual-stack socket shows it mapped into IPv6.
fn ipv4_of(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(address) => address.to_ipv4_mapped(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> RelaySettings {
        RelaySettings {
            host_name: "genkan.example.com".into(),
            certificate_pin: Some([0xab; 32]),
            lan: "192.168.1.0/24".parse().ok(),
            lan_address: Some(Ipv4Addr::new(192, 168, 1, 2)),
            derp_port: 443,
            stun_port: 3478,
        }
    }

    fn from(peer: &str) -> Origin {
        Origin {
            peer: peer.parse().expect("a test address"),
            local: "192.168.1.2:8080".parse().expect("a test address"),
        }
    }

    fn address_for(settings: &RelaySettings, viewer: Option<Origin>) -> String {
        derp_map(settings, viewer).regions[&REGION].nodes[0].ipv4.clone()
    }

    #[test]
    fn only_viewers_on_the_lan_get_the_lan_address() {
        for (peer, expected) in [
            ("192.168.1.77:5000", "192.168.1.2"),
            ("[::ffff:192.168.1.77]:5000", "192.168.1.2"),
            ("192.168.2.77:5000", ""),
            ("203.0.113.9:5000", ""),
            ("[2001:db8::1]:5000", ""),
        ] {
            assert_eq!(address_for(&settings(), Some(from(peer))), expected, "{peer}");
        }
        assert_eq!(address_for(&settings(), None), "");
    }

    #[test]
    fn without_a_known_lan_the_connection_itself_tells() {
        let settings = RelaySettings { lan: None, lan_address: None, ..settings() };
        assert_eq!(address_for(&settings, Some(from("192.168.1.77:1"))), "192.168.1.2");
        assert_eq!(address_for(&settings, Some(from("203.0.113.9:1"))), "");
    }

    #[test]
    fn a_box_without_a_name_is_dialled_by_its_address() {
        let settings = RelaySettings { host_name: "192.0.2.1".into(), ..settings() };
        assert_eq!(address_for(&settings, Some(from("203.0.113.9:1"))), "192.0.2.1");
    }

    #[test]
    fn the_pin_goes_away_with_the_self_signed_certificate() {
        let pinned = derp_map(&settings(), None);
        let name = &pinned.regions[&REGION].nodes[0].cert_name;
        assert_eq!(*name, format!("sha256-raw:{}", "ab".repeat(32)));
        let public = derp_map(&RelaySettings { certificate_pin: None, ..settings() }, None);
        assert_eq!(public.regions[&REGION].nodes[0].cert_name, "");
    }
}
