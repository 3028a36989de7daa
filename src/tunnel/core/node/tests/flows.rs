use std::net::SocketAddr;

use super::simulation::{A, B, OPEN_PORT, World, tailnet_address, udp};
use crate::tunnel::core::drops::DropReason;
use crate::tunnel::core::flows::{FlowAddresses, FlowId};

const FLOW: FlowId = FlowId(5);

/// The port that [`udp`] comes from.
const PORT: u16 = 0;

fn addresses(local: usize, local_port: u16, remote_port: u16) -> FlowAddresses {
    FlowAddresses {
        local: SocketAddr::new(tailnet_address(local), local_port),
        remote: SocketAddr::new(tailnet_address(1 - local), remote_port),
    }
}

/// Both sides have the flow between `PORT` of A and `OPEN_PORT` of B.
fn world() -> World {
    let mut world = World::new();
    world.sides[A].node.begin_flow(FLOW, addresses(A, PORT, OPEN_PORT));
    world.sides[B].node.begin_flow(FLOW, addresses(B, OPEN_PORT, PORT));
    world
}

fn send(world: &mut World, side: usize, contents: &[u8], segment_size: usize) {
    let now = world.now;
    world.sides[side].node.handle_flow(FLOW, contents, segment_size, now);
    world.settle();
}

#[test]
fn datagrams_of_a_flow_arrive_in_it_and_answers_come_back() {
    let mut world = world();
    // The first wait for the handshake, one by one.
    send(&mut world, A, b"abcdabcdab", 4);
    assert_eq!(world.sides[B].answered.concat(), [&b"abcd"[..], b"abcd", b"ab"]);
    world.sides[B].answered.clear();
    send(&mut world, A, b"efghefghef", 4);
    assert_eq!(world.sides[B].answered, [[&b"efgh"[..], b"efgh", b"ef"]], "together, as they were sent");
    send(&mut world, B, b"answer", 6);
    assert_eq!(world.sides[A].answered, [[b"answer"]]);
    assert!(world.sides[A].delivered.is_empty() && world.sides[B].delivered.is_empty());
}

#[test]
fn the_kernel_keeps_what_is_not_of_the_flow_and_what_is_not_plain() {
    let mut world = world();
    // From another port, and without a checksum.
    let mut other = udp(A);
    other[20..22].copy_from_slice(&9_u16.to_be_bytes());
    world.send(A, &other);
    world.send(A, &udp(A));
    assert_eq!(world.sides[B].delivered, [other, udp(A)]);
    assert!(world.sides[B].answered.is_empty());

    world.sides[B].node.end_flow(FLOW);
    send(&mut world, A, b"late", 4);
    assert_eq!(world.sides[B].delivered.len(), 3);
    world.sides[A].node.end_flow(FLOW);
    send(&mut world, A, b"over", 4);
    assert_eq!(world.sides[A].node.drops().of(DropReason::LocalMalformed), 1);
}

#[test]
fn a_flow_is_under_the_policy_as_a_socket_is() {
    let mut world = World::new();
    let closed = OPEN_PORT + 1;
    world.sides[A].node.begin_flow(FLOW, addresses(A, PORT, closed));
    world.sides[B].node.begin_flow(FLOW, addresses(B, closed, PORT));
    send(&mut world, A, b"no", 2);
    assert!(world.sides[B].answered.is_empty());
    assert_eq!(world.sides[B].node.drops().of(DropReason::FilterRules), 1);
    send(&mut world, B, b"yes", 3);
    assert_eq!(world.sides[A].answered, [[b"yes"]], "the answer to what was said, by the same ports");
    send(&mut world, A, b"answer", 6);
    assert_eq!(world.sides[B].answered, [[b"answer"]]);
}
