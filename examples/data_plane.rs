//! The tunnel's data plane for a counter of instructions: `data_plane WORK ROUNDS` seals (and with `-open` opens) so many batches and
//! prints how many packets and bytes of payload they were. See `benches/instructions.py`.

#[path = "../tests/data_plane_gate/packets.rs"]
mod packets;
#[path = "../tests/data_plane_gate/pair.rs"]
mod pair;

/// The harness counts allocations where there is somebody who does; here there is not.
mod counting {
    pub fn allocations() -> u64 {
        0
    }
}

use std::process::ExitCode;

use genkan::tunnel::core::offload::segment::LocalPacket;
use genkan::tunnel::core::path::PathState;

use packets::{SEGMENTS, acknowledgement, bulk, local};
use pair::{A, B, Input, Pair, ipv4};

/// Small packets and datagrams of one batch.
const BATCH: usize = 16;
const DATAGRAM: usize = 512;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [work, rounds] = words.as_slice() else { return usage() };
    let (Ok(rounds), work) = (rounds.parse(), work.as_str()) else { return usage() };
    let (kind, is_deaf) = work.strip_suffix("-open").map_or((work, true), |kind| (kind, false));
    let mut pair = Pair::met(PathState::Direct);
    pair.is_deaf = is_deaf;
    match kind {
        "bulk" => {
            let mut packet = bulk(ipv4(A), ipv4(B));
            // An acknowledgement is the headers alone, and a super-packet has them once.
            let payload = packet.1.len() - acknowledgement(ipv4(A), ipv4(B)).len();
            run(&mut pair, rounds, &[Input::Local(local(&mut packet))], SEGMENTS.into(), payload);
        }
        "small" => {
            let packet = acknowledgement(ipv4(A), ipv4(B));
            let batch = [Input::Local(LocalPacket::Single(&packet)); BATCH];
            run(&mut pair, rounds, &batch, BATCH, 0);
        }
        "datagrams" => {
            let contents = vec![7; BATCH * DATAGRAM];
            run(&mut pair, rounds, &[Input::Flow(&contents, DATAGRAM)], BATCH, contents.len());
        }
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

/// One batch is `inputs`, which are so many packets with so many bytes of payload in all.
fn run(pair: &mut Pair, rounds: usize, inputs: &[Input<'_>], packets: usize, payload: usize) {
    for _ in 0..rounds {
        let work = pair.pass(A, inputs);
        assert_eq!(work.sealed, packets, "all of them leave");
        assert_eq!(work.opened, if pair.is_deaf { 0 } else { packets }, "all of them arrive");
    }
    println!("{} {}", rounds * packets, rounds * payload);
}

fn usage() -> ExitCode {
    eprintln!("data_plane bulk|small|datagrams[-open] ROUNDS");
    ExitCode::from(2)
}
