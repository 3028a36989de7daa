//! The box's network and clock against real peers: dnsmasq as the router, a DHCP server of short leases, chrony as the time
//! server, each in a network namespace at the other end of a cable. No clock is set.
//! Needs root, `ip`, `ping`, `dnsmasq` and `chronyd`: `cargo test --test appliance_network -- --ignored`.

#[path = "appliance_network/house.rs"]
mod house;
#[path = "appliance_network/short_leases.rs"]
mod short_leases;

use std::time::{Duration, Instant};

use genkan::appliance::core::settings::{Addressing, NetworkSettings, TimeServer, TimeSettings};
use genkan::base::wall_time::UnixTime;

use house::{Box, House};
use short_leases::ShortLeases;

fn fixed(address: &str, gateway: &str) -> NetworkSettings {
    let address = address.parse().expect("an address");
    let addressing = Addressing::Static { address, gateway: gateway.parse().ok() };
    NetworkSettings { addressing, ..NetworkSettings::default() }
}

/// Nobody is asked for the time.
fn no_time() -> TimeSettings {
    TimeSettings { servers: Vec::new() }
}

#[test]
#[ignore = "needs root, ip, ping and dnsmasq"]
fn a_late_router_a_cable_and_another_network() {
    let house = House::raise("late", "192.168.77.1/24");
    let mut at_home = Box::start(&house, NetworkSettings::default(), no_time());
    assert!(!at_home.drive(Duration::from_secs(4), Box::has_address));
    assert_eq!(at_home.codes(), ["NET-03"], "the router is not there yet");

    let router = house.dnsmasq(&["--dhcp-range=192.168.77.50,192.168.77.59,120", "--domain=house.test"]);
    assert!(at_home.drive(Duration::from_secs(40), Box::has_address), "{:?}", at_home.codes());
    let first = at_home.addresses();
    assert!(first[0].starts_with("eth0 192.168.77.5") && first[0].ends_with("/24"), "{first:?}");
    assert_eq!(at_home.codes(), [""; 0]);
    assert!(house.inside("ip route get 203.0.113.1 | grep -q 'via 192.168.77.1 dev eth0'"));
    assert!(house.inside("ping -c 1 -W 2 192.168.77.1"));
    assert_eq!(at_home.resolver(), ["search house.test", "nameserver 192.168.77.1"]);
    at_home.assert_the_lease_child_is_confined();

    let child = at_home.children()[0];
    assert!(House::shell(&format!("kill -9 {child}")));
    assert!(
        at_home.drive(Duration::from_secs(15), |it| it.children().first().is_some_and(|new| *new != child))
    );
    assert_eq!(at_home.addresses(), first, "a child that dies takes no address along");

    assert!(house.at_the_router("ip link set lan0 down"));
    assert!(at_home.drive(Duration::from_secs(5), |it| it.codes().contains(&"NET-02".to_owned())));
    assert!(house.at_the_router("ip link set lan0 up"));
    assert!(at_home.drive(Duration::from_secs(15), |it| !it.codes().contains(&"NET-02".to_owned())));
    assert_eq!(at_home.addresses(), first);

    drop(router);
    assert!(house.at_the_router("ip link set lan0 down") && house.at_the_router("ip addr flush dev lan0"));
    assert!(at_home.drive(Duration::from_secs(5), |it| it.codes().contains(&"NET-02".to_owned())));
    assert!(
        house.at_the_router("ip addr add 10.9.0.1/16 dev lan0") && house.at_the_router("ip link set lan0 up")
    );
    let _router = house.dnsmasq(&["--dhcp-range=10.9.1.1,10.9.1.9,255.255.0.0,120", "--dhcp-authoritative"]);
    assert!(
        at_home.drive(Duration::from_mins(1), |it| it.addresses().iter().any(|it| it.contains(" 10.9.1.")))
    );
    assert_eq!(at_home.addresses().len(), 1, "the old network's address is gone");
    assert!(house.inside("ip route get 203.0.113.1 | grep -q 'via 10.9.0.1 dev eth0'"));
    assert_eq!(at_home.resolver(), ["nameserver 10.9.0.1"]);
}

#[test]
#[ignore = "needs root, ip and dnsmasq"]
fn the_address_of_the_last_start_is_asked_for() {
    let house = House::raise("again", "192.168.77.1/24");
    let _router = house.dnsmasq(&["--dhcp-range=192.168.77.50,192.168.77.250,120", "--dhcp-sequential-ip"]);
    let mut at_home = Box::start(&house, NetworkSettings::default(), no_time());
    assert!(at_home.drive(Duration::from_secs(20), Box::has_address));
    let first = at_home.addresses();
    let directory = at_home.stop();
    assert!(house.inside("ip addr flush dev eth0"));

    let started = Instant::now();
    let mut again = Box::start_in(&house, NetworkSettings::default(), no_time(), directory, None);
    assert!(again.drive(Duration::from_secs(20), Box::has_address));
    assert_eq!(again.addresses(), first);
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "one question and one answer: {:?}",
        started.elapsed()
    );
}

#[test]
#[ignore = "needs root and ip"]
fn a_lease_is_renewed_and_taken_off_when_it_ends() {
    let house = House::raise("short", "192.168.77.1/24");
    let server = ShortLeases::start(&house);
    let mut at_home = Box::start(&house, NetworkSettings::default(), no_time());
    assert!(at_home.drive(Duration::from_secs(10), Box::has_address));
    assert!(at_home.drive(Duration::from_secs(15), |_| server.renewals() >= 1), "half the lease is over");
    assert!(at_home.has_address());

    let silent = Instant::now();
    server.fall_silent();
    assert!(at_home.drive(Duration::from_secs(30), |it| !it.has_address()), "nobody prolongs the lease");
    assert!(silent.elapsed() >= Duration::from_secs(3), "not before its end: {:?}", silent.elapsed());
    assert!(at_home.codes().contains(&"NET-03".to_owned()));
    server.refuse();
    assert!(!at_home.drive(Duration::from_secs(5), Box::has_address));
    server.answer();
    assert!(at_home.drive(Duration::from_secs(40), Box::has_address), "it never gives up");
}

#[test]
#[ignore = "needs root, ip and ping"]
fn a_fixed_address() {
    let house = House::raise("fixed", "192.168.77.1/24");
    let mut at_home = Box::start(&house, fixed("192.168.77.10/24", "192.168.77.1"), no_time());
    assert!(at_home.drive(Duration::from_secs(5), |it| it.addresses() == ["eth0 192.168.77.10/24"]));
    assert!(
        at_home.drive(Duration::from_secs(5), |it| it.codes() == ["NET-07"]),
        "no server of names was given"
    );
    assert!(house.inside("ping -c 1 -W 2 192.168.77.1"));
    assert!(house.inside("ip route get 203.0.113.1 | grep -q 'via 192.168.77.1'"));
    assert!(house.inside("ping -c 1 -W 2 127.0.0.1"), "the loopback interface is up");
}

#[test]
#[ignore = "needs root, ip and ping"]
fn a_vlan() {
    let house = House::raise("vlan", "192.168.77.1/24");
    let dns = vec!["10.7.0.1".parse().expect("an address")];
    let settings = NetworkSettings { vlan: Some(7), dns, ipv6: false, ..fixed("10.7.0.10/16", "10.7.0.1") };
    let can = house.at_the_router("ip link add lan0.7 link lan0 type vlan id 7 2>/dev/null");
    let mut at_home = Box::start(&house, settings, no_time());
    if !can {
        let told = at_home.drive(Duration::from_secs(5), |it| it.codes() == ["NET-06"]);
        assert!(told, "this kernel has no VLANs, and the owner is told: {:?}", at_home.codes());
        return;
    }
    assert!(house.at_the_router("ip addr add 10.7.0.1/16 dev lan0.7 && ip link set lan0.7 up"));
    assert!(at_home.drive(Duration::from_secs(5), |it| it.addresses() == ["eth0.7 10.7.0.10/16"]));
    assert!(at_home.drive(Duration::from_secs(5), |it| it.codes().is_empty()));
    assert!(house.inside("ping -c 1 -W 2 10.7.0.1"), "through the VLAN");
    assert!(!house.inside("ip -6 addr show dev eth0.7 | grep -q inet6"));
    assert_eq!(at_home.resolver(), ["nameserver 10.7.0.1"]);
}

#[test]
#[ignore = "needs root and ip"]
fn an_interface_that_comes_and_goes() {
    let house = House::raise("usb", "192.168.77.1/24");
    let named =
        NetworkSettings { interface: Some("eth9".into()), ..fixed("192.168.77.10/24", "192.168.77.1") };
    let mut at_home = Box::start(&house, named, no_time());
    assert_eq!(at_home.codes()[0], "NET-01");
    assert!(house.inside("ip link set eth0 down") && house.inside("ip link set eth0 name eth9"));
    assert!(at_home.drive(Duration::from_secs(5), |it| it.addresses() == ["eth9 192.168.77.10/24"]));
    assert!(house.inside("ip link del eth9"));
    assert!(at_home.drive(Duration::from_secs(5), |it| it.codes()[0] == "NET-01"));
}

#[test]
#[ignore = "needs root, ip and dnsmasq"]
fn an_adapter_is_pulled_out_and_put_in_again() {
    let house = House::raise("adapter", "192.168.77.1/24");
    let router = house.dnsmasq(&["--dhcp-range=192.168.77.50,192.168.77.59,120"]);
    let mut at_home = Box::start(&house, NetworkSettings::default(), no_time());
    assert!(at_home.drive(Duration::from_secs(20), Box::has_address));
    assert!(house.inside("ip link del eth0"));
    assert!(at_home.drive(Duration::from_secs(5), |it| it.codes() == ["NET-01"]));
    assert_eq!(at_home.children().len(), 0, "there is nothing to ask on");
    let due = at_home.network().poll_timeout();
    assert!(due.is_none_or(|at| at > Instant::now() + Duration::from_secs(1)), "PID 1 sleeps meanwhile");

    drop(router);
    house.plug_in("192.168.77.1/24");
    let _router = house.dnsmasq(&["--dhcp-range=192.168.77.50,192.168.77.59,120"]);
    assert!(at_home.drive(Duration::from_secs(20), Box::has_address), "{:?}", at_home.codes());
    assert_eq!(at_home.codes(), [""; 0]);
}

#[test]
#[ignore = "needs root, ip, dnsmasq and chronyd"]
fn the_time_is_had_by_address_and_by_name() {
    let house = House::raise("time", "192.168.77.1/24");
    assert!(house.at_the_router("ip addr add 192.168.77.2/24 dev lan0"));
    let names = ["--address=/time.house.test/192.168.77.2", "--dhcp-range=192.168.77.50,192.168.77.59,120"];
    let _router = house.dnsmasq(&names);
    let _server = house.chronyd();
    let servers = vec![
        TimeServer::Address("192.168.77.1".parse().expect("an address")),
        TimeServer::Name("time.house.test".into()),
        TimeServer::Name("nobody.house.test".into()),
    ];
    let mut at_home = Box::start(&house, NetworkSettings::default(), TimeSettings { servers });
    assert!(at_home.drive(Duration::from_secs(40), Box::has_measured), "{:?}", at_home.codes());
    let offset = at_home.network().measured_offset().expect("measured");
    assert!(offset.abs() < 50_000_000, "both ends have one clock, and yet {offset} ns are between them");
    assert_eq!(at_home.network().status().clock, "2 time servers that agree");
    assert_eq!(at_home.codes(), [""; 0]);
    assert!(at_home.drive(Duration::from_secs(10), |it| it.children().len() == 1), "the time child ends");
}

#[test]
#[ignore = "needs root, ip and chronyd"]
fn a_single_time_server_and_a_time_that_cannot_be() {
    let house = House::raise("lone", "192.168.77.1/24");
    let _server = house.chronyd();
    let lone =
        TimeSettings { servers: vec![TimeServer::Address("192.168.77.1".parse().expect("an address"))] };
    let settings = fixed("192.168.77.10/24", "192.168.77.1");
    let mut at_home = Box::start(&house, settings.clone(), lone.clone());
    assert!(at_home.drive(Duration::from_secs(40), Box::has_measured), "{:?}", at_home.codes());
    assert_eq!(at_home.network().status().clock, "time server 192.168.77.1");
    let directory = at_home.stop();

    let tomorrow = UnixTime(time::OffsetDateTime::now_utc().unix_timestamp() + 86_400);
    let mut at_home = Box::start_in(&house, settings, lone, directory, Some(tomorrow));
    assert!(at_home.drive(Duration::from_secs(20), |it| it.codes().contains(&"TIME-03".to_owned())));
    assert!(!at_home.network().clock_known());
}
