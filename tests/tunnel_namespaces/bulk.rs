//! Megabytes by TCP from one namespace to the other and back at the same time.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use blake2::{Blake2s256, Digest};

use crate::cable::Cable;
use crate::tunnels::OPEN_PORT;

/// Each way.
pub const BYTES: usize = 8 << 20;
const WRITE: usize = 64 << 10;
/// A connection that rests for so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

type Checksum = [u8; 32];

/// From side 0 to `address` of side 1; what arrives at each end must be what left the other.
pub fn transfer(cable: &Cable, address: IpAddr) {
    let place = SocketAddr::new(address, OPEN_PORT);
    let (listening, is_listening) = std::sync::mpsc::channel();
    let server = cable.spawn(1, move || {
        let listener = TcpListener::bind(place).expect("the tunnel's address");
        listening.send(()).expect("waited for");
        exchange(&listener.accept().expect("a client").0, 1)
    });
    is_listening.recv().expect("it listens");
    let client = cable.spawn(0, move || {
        exchange(&TcpStream::connect_timeout(&place, PATIENCE).expect("a way through the tunnel"), 0)
    });
    for (receiver, thread) in [client, server].into_iter().enumerate() {
        let checksum = thread.join().expect("the transfer ends");
        assert_eq!(checksum, checksum_of(&content(1 - receiver)), "to side {receiver} over {address}");
    }
}

/// Sends all of `side`'s content and receives the other's; the checksum of that.
fn exchange(stream: &TcpStream, side: usize) -> Checksum {
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
    std::thread::scope(|scope| {
        scope.spawn(|| send(stream, side));
        receive(stream)
    })
}

fn send(mut stream: &TcpStream, side: usize) {
    content(side).chunks(WRITE).for_each(|chunk| stream.write_all(chunk).expect("the other side reads"));
    stream.shutdown(Shutdown::Write).expect("connected");
}

fn receive(mut stream: &TcpStream) -> Checksum {
    let mut received = Vec::with_capacity(BYTES);
    stream.read_to_end(&mut received).expect("the other side writes");
    checksum_of(&received)
}

fn checksum_of(bytes: &[u8]) -> Checksum {
    Blake2s256::digest(bytes).into()
}

/// No two parts of it are alike, so that what is lost, doubled or out of order is noticed.
fn content(side: usize) -> Vec<u8> {
    let mut state = [0x9e37_79b9_7f4a_7c15_u64, 0xd1b5_4a32_d192_ed03][side];
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(BYTES / 8).flatten().collect()
}
