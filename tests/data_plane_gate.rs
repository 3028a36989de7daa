//! What a packet may cost between the kernel and the network: no allocation, one send for each super-packet that comes, one
//! write for each batch of datagrams. Counted, not timed: the same on every machine.

#![allow(unsafe_code, reason = "an allocator cannot be written without")]

#[path = "data_plane_gate/counting.rs"]
mod counting;
#[path = "data_plane_gate/packets.rs"]
mod packets;
#[path = "data_plane_gate/pair.rs"]
mod pair;

use genkan::tunnel::core::offload::segment::LocalPacket;
use genkan::tunnel::core::path::PathState;

use packets::{SEGMENTS, acknowledgement, bulk, local};
use pair::{A, B, Input, Pair, Work, ipv4, ipv6};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Until all memory that is used again and again has grown.
const WARM_UP: usize = 3;
/// Thousands of packets, of which none may cost anything; each batch is one.
const ROUNDS: usize = 100;

/// Datagrams of a flow in one batch, and the bytes of each.
const DATAGRAMS: usize = 49;
const DATAGRAM: usize = 1252;
/// Small packets in one batch: what the driver reads before it sends.
const SMALL: usize = 16;

/// What [`ROUNDS`] batches cost, after some that are not counted.
fn steady(pair: &mut Pair, from: usize, inputs: &[Input<'_>]) -> Work {
    for _ in 0..WARM_UP {
        pair.pass(from, inputs);
    }
    let mut total = Work::default();
    for _ in 0..ROUNDS {
        total += pair.pass(from, inputs);
    }
    total
}

/// Every batch is `packets` packets, one send and `writes` writes, and nothing is allocated.
fn expected(packets: usize, writes: usize) -> Work {
    Work {
        sealed: ROUNDS * packets,
        sends: ROUNDS,
        seal_allocations: 0,
        opened: ROUNDS * packets,
        writes: ROUNDS * writes,
        open_allocations: 0,
    }
}

#[test]
fn an_allocation_is_noticed() {
    let before = counting::allocations();
    let mut room = std::hint::black_box(vec![0_u8; 10]);
    room.reserve(1000);
    assert_eq!(counting::allocations() - before, 2, "one made, one grown: {}", room.len());
}

#[test]
fn a_super_packet_costs_no_allocation_one_send_and_one_write() {
    let mut pair = Pair::met(PathState::Direct);
    for address in [ipv4, ipv6] {
        for from in [A, B] {
            let mut packet = bulk(address(from), address(1 - from));
            let work = steady(&mut pair, from, &[Input::Local(local(&mut packet))]);
            assert_eq!(work, expected(SEGMENTS.into(), 1), "from {}", address(from));
        }
    }
}

#[test]
fn by_the_relay_nothing_is_allocated_either() {
    let mut pair = Pair::met(PathState::Relay);
    let mut packet = bulk(ipv4(A), ipv4(B));
    let work = steady(&mut pair, A, &[Input::Local(local(&mut packet))]);
    assert_eq!(work, expected(SEGMENTS.into(), 1));
}

#[test]
fn datagrams_of_a_flow_cost_no_allocation_and_stay_together() {
    let mut pair = Pair::met(PathState::Direct);
    let contents = vec![7; DATAGRAMS * DATAGRAM];
    for from in [A, B] {
        let work = steady(&mut pair, from, &[Input::Flow(&contents, DATAGRAM)]);
        assert_eq!(work, expected(DATAGRAMS, 1), "from side {from}");
    }
}

#[test]
fn small_packets_cost_no_allocation_and_leave_together() {
    let mut pair = Pair::met(PathState::Direct);
    let packet = acknowledgement(ipv4(A), ipv4(B));
    let batch = [Input::Local(LocalPacket::Single(&packet)); SMALL];
    assert_eq!(steady(&mut pair, A, &batch), expected(SMALL, SMALL), "the kernel takes each by itself");
}

#[test]
fn bulk_and_its_acknowledgements_cost_no_allocation_in_turn() {
    let mut pair = Pair::met(PathState::Direct);
    let mut packet = bulk(ipv4(A), ipv4(B));
    let there = [Input::Local(local(&mut packet))];
    let acknowledgement = acknowledgement(ipv4(B), ipv4(A));
    let back = [Input::Local(LocalPacket::Single(&acknowledgement)); SMALL];
    let mut allocations = 0;
    for round in 0..WARM_UP + ROUNDS {
        for work in [pair.pass(A, &there), pair.pass(B, &back)] {
            let counted = work.seal_allocations + work.open_allocations;
            allocations += if round < WARM_UP { 0 } else { counted };
        }
    }
    assert_eq!(allocations, 0);
}
