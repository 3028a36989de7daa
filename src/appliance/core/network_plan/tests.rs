use std::time::Duration;

use super::*;
use crate::wire::errand::LeaseRoute;

fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a prefix")
}

fn interface(index: u32, name: &str) -> Interface {
    let is_wired = name.starts_with("eth");
    Interface {
        index,
        name: name.into(),
        hardware: [0; 6],
        is_wired,
        is_up: true,
        has_link: true,
        mtu: 1500,
        vlan: None,
        ipv6: Some(is_wired && index == 2),
    }
}

fn box_with(names: &[&str]) -> Present {
    let named = (LOOPBACK..).zip(["lo"].iter().chain(names));
    Present { interfaces: named.map(|(index, name)| interface(index, name)).collect(), ..Present::default() }
}

fn lease() -> Lease {
    Lease {
        address: net("192.168.1.10/24"),
        server: ip("192.168.1.1"),
        seconds: 3600,
        renew_after: 1800,
        rebind_after: 3000,
        routes: vec![LeaseRoute { prefix: net("0.0.0.0/0"), via: Some(ip("192.168.1.1")) }],
        dns: vec![ip("192.168.1.1")],
        domain: Some("lan".into()),
        time_servers: Vec::new(),
        mtu: None,
    }
}

fn fixed() -> NetworkSettings {
    let addressing = Addressing::Static { address: net("192.168.1.10/24"), gateway: Some(ip("192.168.1.1")) };
    NetworkSettings { addressing, ..NetworkSettings::default() }
}

/// Does `steps` to `present`, as the kernel would.
fn perform(present: &mut Present, steps: &[Step]) {
    for step in steps {
        match step.clone() {
            Step::Ipv6 { name, on } => {
                present
                    .interfaces
                    .iter_mut()
                    .filter(|have| have.name == name)
                    .for_each(|have| have.ipv6 = Some(on));
            }
            Step::Up { index } => change(present, index, |have| have.is_up = true),
            Step::Mtu { index, mtu } => change(present, index, |have| have.mtu = mtu),
            Step::CreateVlan { parent, id, name } => {
                let index = 100 + u32::from(id);
                let made = Interface { is_up: false, vlan: Some((parent, id)), ..interface(index, &name) };
                present.interfaces.push(Interface { is_wired: false, ipv6: Some(true), ..made });
            }
            Step::RemoveWay(way) => present.ways.retain(|have| *have != way),
            Step::RemoveAddress { index, address } => {
                present.addresses.retain(|have| *have != (index, address));
            }
            Step::AddAddress { index, address } => present.addresses.push((index, address)),
            Step::AddWay(way) => present.ways.push(way),
        }
    }
}

fn change(present: &mut Present, index: u32, how: impl Fn(&mut Interface)) {
    present.interfaces.iter_mut().filter(|have| have.index == index).for_each(how);
}

/// Comes again until there is nothing to do; the choice at the end.
fn settle(
    settings: &NetworkSettings,
    present: &mut Present,
    lease: Option<&Lease>,
    before: Option<u32>,
) -> Choice {
    for _ in 0..5 {
        let choice = choose(settings, present, before);
        let steps = plan(settings, present, &choice, lease);
        if steps.is_empty() {
            return choice;
        }
        perform(present, &steps);
    }
    panic!("never settles: {present:?}");
}

fn codes(settings: &NetworkSettings, present: &Present, lease: Option<&Lease>, waiting: u64) -> Vec<String> {
    let choice = choose(settings, present, None);
    let waiting = Duration::from_secs(waiting);
    let standing = Standing { settings, present, choice, lease, waiting, refused: None };
    conditions(&standing)
        .into_iter()
        .map(|condition| format!("{} {:?}", condition.code, condition.severity))
        .collect()
}

#[test]
fn a_lease_is_put_on_and_taken_off() {
    let settings = NetworkSettings::default();
    let mut present = box_with(&["eth0", "wlan0"]);
    present.interfaces[0].is_up = false;
    present.interfaces[1].is_up = false;
    assert_eq!(settle(&settings, &mut present, Some(&lease()), None), Choice::Linked(2));
    assert_eq!(present.addresses, [(2, net("192.168.1.10/24"))]);
    let default =
        Way { interface: 2, prefix: net("0.0.0.0/0"), via: Some(ip("192.168.1.1")), on_link: false };
    assert_eq!(present.ways, [default]);
    assert!(present.interfaces.iter().all(|interface| interface.is_up));

    let other = Lease { address: net("10.0.0.5/8"), routes: Vec::new(), ..lease() };
    settle(&settings, &mut present, Some(&other), Some(2));
    assert_eq!((present.addresses.clone(), present.ways.len()), (vec![(2, net("10.0.0.5/8"))], 0));
    settle(&settings, &mut present, None, Some(2));
    assert_eq!(present.addresses, []);
}

#[test]
fn what_others_have_set_stays() {
    let mut present = box_with(&["eth0", "genkan0"]);
    let tunnel = Way { interface: 3, prefix: net("100.64.0.0/10"), via: None, on_link: false };
    present.ways.push(tunnel);
    present.addresses.push((3, net("100.64.0.1/32")));
    settle(&fixed(), &mut present, None, None);
    assert!(present.ways.contains(&tunnel) && present.addresses.contains(&(3, net("100.64.0.1/32"))));
}

#[test]
fn the_first_card_with_a_link_is_taken_and_kept() {
    let settings = NetworkSettings::default();
    let mut present = box_with(&["eth0", "eth1"]);
    present.interfaces[1].has_link = false;
    assert_eq!(settle(&settings, &mut present, Some(&lease()), None), Choice::Linked(3));
    present.interfaces[1].has_link = true;
    assert_eq!(choose(&settings, &present, Some(3)), Choice::Linked(3), "no change without need");
    present.interfaces[2].has_link = false;
    assert_eq!(settle(&settings, &mut present, Some(&lease()), Some(3)), Choice::Linked(2));
    assert_eq!(present.addresses, [(2, net("192.168.1.10/24"))], "the other card lost it");
    present.interfaces[1].has_link = false;
    assert_eq!(choose(&settings, &present, Some(3)), Choice::NoLink(3));
    let named = NetworkSettings { interface: Some("eth7".into()), ..settings };
    assert_eq!(choose(&named, &present, None), Choice::Nothing);
}

#[test]
fn a_vlan_is_made_and_carries_the_address() {
    let settings = NetworkSettings { vlan: Some(7), ..fixed() };
    let mut present = box_with(&["eth0"]);
    settle(&settings, &mut present, None, None);
    let made = present.vlan(2, 7).expect("made");
    assert_eq!((made.name.as_str(), made.is_up, made.ipv6), ("eth0.7", true, Some(true)));
    assert_eq!(present.addresses, [(107, net("192.168.1.10/24"))]);
    assert_eq!(present.ways[0].interface, 107);
    assert_eq!(present.interfaces[1].ipv6, Some(false), "IPv6 belongs into the VLAN as well");
    assert_eq!(vlan_name("enx0123456789ab", 4094), "enx0123456.4094");
}

#[test]
fn ipv6_is_the_chosen_interfaces_alone() {
    let mut present = box_with(&["eth0", "eth1"]);
    present.interfaces[2].ipv6 = Some(true);
    settle(&NetworkSettings::default(), &mut present, None, None);
    assert_eq!([1, 2].map(|at| present.interfaces[at].ipv6), [Some(true), Some(false)]);
    settle(&NetworkSettings { ipv6: false, ..NetworkSettings::default() }, &mut present, None, None);
    assert_eq!([1, 2].map(|at| present.interfaces[at].ipv6), [Some(false), Some(false)]);
}

#[test]
fn a_router_outside_the_prefix_is_on_the_link() {
    let far = Lease {
        address: net("10.9.9.9/32"),
        routes: vec![
            LeaseRoute { prefix: net("0.0.0.0/0"), via: Some(ip("10.9.9.1")) },
            LeaseRoute { prefix: net("10.9.9.1/32"), via: None },
            LeaseRoute { prefix: net("0.0.0.0/0"), via: Some(ip("10.9.9.2")) },
        ],
        mtu: Some(1400),
        ..lease()
    };
    let mut present = box_with(&["eth0"]);
    settle(&NetworkSettings::default(), &mut present, Some(&far), None);
    let told: Vec<_> =
        present.ways.iter().map(|way| (way.prefix.to_string(), way.via, way.on_link)).collect();
    let [gateway, default] = [("10.9.9.1/32", None, false), ("0.0.0.0/0", Some(ip("10.9.9.1")), true)]
        .map(|(prefix, via, on_link)| (prefix.to_owned(), via, on_link));
    assert_eq!(told, [gateway, default]);
    assert_eq!(present.interfaces[1].mtu, 1400);
}

#[test]
fn the_resolver_is_told_what_the_owner_or_the_router_says() {
    let settings = NetworkSettings::default();
    let text = resolver_file(&settings, Some(&lease()));
    assert!(text.ends_with("search lan\nnameserver 192.168.1.1\n"), "{text}");
    let dns = vec!["9.9.9.9".parse().expect("an address"), "2620:fe::fe".parse().expect("an address")];
    let text = resolver_file(&NetworkSettings { dns, ..settings.clone() }, Some(&lease()));
    assert!(text.ends_with("search lan\nnameserver 9.9.9.9\nnameserver 2620:fe::fe\n"), "{text}");
    assert_eq!(resolver_file(&settings, None).lines().count(), 1);
}

#[test]
fn each_trouble_has_its_code() {
    let settings = NetworkSettings::default();
    let mut present = box_with(&["eth0"]);
    assert_eq!(codes(&settings, &present, Some(&lease()), 0), [""; 0]);
    assert_eq!(codes(&fixed(), &present, None, 99), ["NET-07 Warning"]);
    assert_eq!(codes(&settings, &present, None, 1), ["NET-03 Progress"]);
    assert_eq!(codes(&settings, &present, None, 60), ["NET-03 Error"]);
    let bare = Lease { routes: Vec::new(), dns: Vec::new(), ..lease() };
    assert_eq!(codes(&settings, &present, Some(&bare), 0), ["NET-04 Warning", "NET-07 Warning"]);
    present.interfaces[1].has_link = false;
    assert_eq!(codes(&settings, &present, None, 60), ["NET-02 Error"]);
    assert_eq!(codes(&settings, &box_with(&["wlan0"]), None, 60), ["NET-01 Error"]);
    let named = NetworkSettings { interface: Some("eth7".into()), ..settings };
    assert_eq!(codes(&named, &present, None, 60), ["NET-01 Error"]);
}

#[test]
fn every_trouble_says_what_to_do() {
    let settings = NetworkSettings::default();
    let present = box_with(&["eth0"]);
    for choice in [Choice::Nothing, Choice::NoLink(2), Choice::Linked(2)] {
        let waiting = Duration::from_mins(1);
        let refused = Some("eth0: adding an address: not permitted");
        let standing =
            Standing { settings: &settings, present: &present, choice, lease: None, waiting, refused };
        let found = conditions(&standing);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|condition| !condition.cure.is_empty()), "{found:?}");
    }
}
