//! The tunnel's data plane for a counter of instructions: `data_plane WORK ROUNDS` seals (with `-open` opens too, with `-cipher` only
//! encrypts) so many batches and prints how many packets and bytes of payload they were. See `benches/instructions.py`.

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

use std::hint::black_box;
use std::process::ExitCode;

use genkan::tunnel::core::offload::segment::LocalPacket;
use genkan::tunnel::core::path::PathState;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use packets::{SEGMENTS, acknowledgement, bulk, local};
use pair::{A, B, Input, Pair, ipv4};

/// Small packets and datagrams of one batch.
const BATCH: usize = 16;
const DATAGRAM: usize = 512;
/// Of the headers of IPv4 and UDP.
const DATAGRAM_HEADERS: usize = 28;
/// WireGuard encrypts multiples of this many bytes.
const PADDING: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Seal,
    Open,
    Cipher,
}

/// What every round does.
struct Batch {
    packets: usize,
    /// Bytes of all packets.
    payload: usize,
    /// Bytes of one IP packet.
    length: usize,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [work, rounds] = words.as_slice() else { return usage() };
    let (kind, way) = match work.split_once('-') {
        None => (work.as_str(), Way::Seal),
        Some((kind, "open")) => (kind, Way::Open),
        Some((kind, "cipher")) => (kind, Way::Cipher),
        Some(_) => return usage(),
    };
    let Ok(rounds) = rounds.parse() else { return usage() };
    // An acknowledgement is the headers alone.
    let small = acknowledgement(ipv4(A), ipv4(B));
    match kind {
        "bulk" => {
            let mut packet = bulk(ipv4(A), ipv4(B));
            let (packets, payload) = (usize::from(SEGMENTS), packet.1.len() - small.len());
            let batch = Batch { packets, payload, length: payload / packets + small.len() };
            run(way, rounds, &batch, &[Input::Local(local(&mut packet))]);
        }
        "small" => {
            let batch = Batch { packets: BATCH, payload: 0, length: small.len() };
            run(way, rounds, &batch, &[Input::Local(LocalPacket::Single(&small)); BATCH]);
        }
        "datagrams" => {
            let contents = vec![7; BATCH * DATAGRAM];
            let length = DATAGRAM + DATAGRAM_HEADERS;
            let batch = Batch { packets: BATCH, payload: contents.len(), length };
            run(way, rounds, &batch, &[Input::Flow(&contents, DATAGRAM)]);
        }
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn run(way: Way, rounds: usize, batch: &Batch, inputs: &[Input<'_>]) {
    if way == Way::Cipher {
        encrypt(rounds * batch.packets, batch.length.next_multiple_of(PADDING));
    } else {
        pass(rounds, batch.packets, way == Way::Open, inputs);
    }
    println!("{} {}", rounds * batch.packets, rounds * batch.payload);
}

fn pass(rounds: usize, packets: usize, opens: bool, inputs: &[Input<'_>]) {
    let mut pair = Pair::met(PathState::Direct);
    pair.is_deaf = !opens;
    for _ in 0..rounds {
        let work = pair.pass(A, inputs);
        assert_eq!(work.sealed, packets, "all of them leave");
        assert_eq!(work.opened, if opens { packets } else { 0 }, "all of them arrive");
    }
}

/// The cipher alone, called as boringtun does.
fn encrypt(packets: usize, length: usize) {
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).expect("32 bytes"));
    let mut packet = vec![7; length];
    for number in 0..packets as u64 {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&number.to_le_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut packet);
        black_box(sealed.expect("shorter than 64 GB").as_ref());
    }
}

fn usage() -> ExitCode {
    eprintln!("data_plane bulk|small|datagrams[-open|-cipher] ROUNDS");
    ExitCode::from(2)
}
