//! Two tunnels with real TUN interfaces in two network namespaces, joined by a cable and by a relay in this process.
//! Needs root, `ip`, `iptables` and `ping`: `cargo test --test tunnel_namespaces -- --ignored`.

#[path = "tunnel_namespaces/bulk.rs"]
mod bulk;
#[path = "tunnel_namespaces/cable.rs"]
mod cable;
#[path = "tunnel_namespaces/tunnels.rs"]
mod tunnels;

use std::net::UdpSocket;
use std::sync::mpsc::channel;
use std::thread::sleep;
use std::time::Duration;

use cable::Cable;
use genkan::tunnel::udp_socket::BoundSockets;
use tunnels::{Tunnels, ipv4, ipv6};

/// For the tunnels to come up.
const START: Duration = Duration::from_secs(1);
/// Until an address that no longer answers is not trusted.
const DISTRUST: Duration = Duration::from_secs(7);
/// For a datagram over the cable.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of the tunnel's interface.
const MTU: u64 = 1280;
/// Packets that one super-packet is at least in the mean; 4 to 22 were seen.
const JOINED: u64 = 2;

#[test]
#[ignore = "needs root, ip, iptables and ping"]
fn machines_reach_each_other_directly_and_by_the_relay() {
    machines_reach_each_other("flows", [true, true]);
}

#[test]
#[ignore = "needs root, ip, iptables and ping"]
fn machines_reach_each_other_without_offloads() {
    machines_reach_each_other("flows-plain", [false, false]);
}

#[test]
#[ignore = "needs root and ip"]
fn bulk_arrives_whole_in_super_packets() {
    bulk_arrives_whole("bulk", [true, true]);
}

#[test]
#[ignore = "needs root and ip"]
fn bulk_arrives_whole_where_one_side_has_no_offloads() {
    bulk_arrives_whole("bulk-mixed", [true, false]);
}

#[test]
#[ignore = "needs root and ip"]
fn bulk_arrives_whole_without_offloads() {
    bulk_arrives_whole("bulk-plain", [false, false]);
}

#[test]
#[ignore = "needs root and ip"]
fn a_way_with_a_small_mtu_concerns_itself_alone() {
    let cable = Cable::lay("small-mtu");
    assert!(cable.inside(0, "ip route add 192.168.77.2 dev cable mtu 1300"));
    let (bound, is_bound) = channel();
    let receiver = cable.spawn(1, move || {
        let socket = UdpSocket::bind("192.168.77.2:41641").expect("the cable's address");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        bound.send(()).expect("waited for");
        [(); 3].map(|()| socket.recv(&mut [0; 2000]).expect("a datagram"))
    });
    is_bound.recv().expect("it listens");
    let sender = cable.spawn(0, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut sockets = BoundSockets::bind(0).and_then(BoundSockets::watch).expect("a free port");
            let before = sockets.sends_segments();
            let to = "192.168.77.2:41641".parse().expect("an address");
            sockets.send(&[7; 3000], 1400, to).await.expect("in fragments");
            (before, sockets.sends_segments())
        })
    });
    let (before, after) = sender.join().expect("sent");
    assert_eq!(receiver.join().expect("received"), [1400, 1400, 200]);
    assert_eq!(before, after, "others are sent segments as before");
}

fn machines_reach_each_other(label: &str, offload: [bool; 2]) {
    let cable = Cable::lay(label);
    let tunnels = Tunnels::start(&cable, offload);
    sleep(START);
    assert_reached_directly(&cable);
    assert_reached_by_the_relay(&cable);
    tunnels.end();
    assert_nothing_leaks(&cable);
}

fn assert_reached_directly(cable: &Cable) {
    assert!(cable.inside(0, "ping -c 3 -i 0.2 -W 2 100.64.0.2"), "IPv4");
    assert!(cable.inside(1, "ping -c 3 -i 0.2 -W 2 fd7a:115c:a1e0::1"), "IPv6");
    assert!(cable.inside(0, "ping -c 20 -i 0.05 -s 1200 -W 2 100.64.0.2"), "large packets");
    assert!(!cable.inside(0, "ping -c 1 -W 1 100.64.0.9"), "nobody has this address");
}

fn assert_reached_by_the_relay(cable: &Cable) {
    assert!(cable.inside(0, "iptables -A INPUT -p udp -i cable -j DROP"));
    sleep(DISTRUST);
    assert!(cable.inside(0, "ping -c 5 -i 0.2 -W 2 100.64.0.2"), "by the relay");
    assert!(cable.inside(0, "iptables -F"));
    assert!(cable.inside(0, "ping -c 5 -i 1 -W 2 100.64.0.2"), "directly again");
    assert!(cable.inside(0, "ip link set cable down"));
    sleep(DISTRUST);
    assert!(cable.inside(1, "ping -c 3 -i 0.2 -W 2 100.64.0.1"), "by the relay, without any cable");
}

/// After the tunnels' end.
fn assert_nothing_leaks(cable: &Cable) {
    assert!(cable.inside(0, "sh -c '! ip link show genkan0'"), "the interface goes with the tunnel");
    assert!(
        cable.inside(0, "ip link set cable up") && cable.inside(0, "ip route add default via 192.168.77.2")
    );
    assert!(cable.inside(0, "ip route get 203.0.113.1"), "the rest of the world is reachable");
    for address in ["100.64.0.2", "fd7a:115c:a1e0::2"] {
        assert!(
            !cable.inside(0, &format!("ip route get {address}")),
            "nothing for the tailnet leaves by the LAN"
        );
    }
}

fn bulk_arrives_whole(label: &str, offload: [bool; 2]) {
    let cable = Cable::lay(label);
    let tunnels = Tunnels::start(&cable, offload);
    sleep(START);
    bulk::transfer(&cable, ipv4(1).into());
    bulk::transfer(&cable, ipv6(1).into());
    for side in [0, 1] {
        assert_offloads_are(offload[side], &cable, side);
    }
    tunnels.end();
}

/// By the mean size of what kernel and tunnel gave each other, acknowledgements among it.
fn assert_offloads_are(on: bool, cable: &Cable, side: usize) {
    for way in ["tx", "rx"] {
        let bytes = cable.counted(side, &format!("{way}_bytes"));
        let packets = cable.counted(side, &format!("{way}_packets"));
        let is_joined = bytes > JOINED * MTU * packets;
        let is_plain = bytes <= MTU * packets;
        assert!(
            if on { is_joined } else { is_plain },
            "side {side}, {way}: {bytes} bytes in {packets} packets"
        );
    }
}
