//! TCP ports relayed by tokio-uring in one thread: `tokio-uring-relay PORT=ADDRESS:PORT...`, each port to its address.
//!
//! As one would write it first: two buffers per connection, a read and then a write of all that came, each way.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};

use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::{TcpListener, TcpStream};

const BUFFER_BYTES: usize = 64 * 1024;
/// So many requests reach the kernel by one system call at most.
const QUEUE_ENTRIES: u32 = 4096;

fn main() {
    let routes: Vec<(u16, SocketAddr)> = std::env::args().skip(1).map(|word| parse(&word)).collect();
    assert!(!routes.is_empty(), "usage: tokio-uring-relay PORT=ADDRESS:PORT...");
    tokio_uring::builder().entries(QUEUE_ENTRIES).start(async {
        let listeners = routes.into_iter().map(|(port, to)| tokio_uring::spawn(serve(port, to)));
        for listener in listeners.collect::<Vec<_>>() {
            listener.await.expect("a listener does not panic").expect("a port can be listened on");
        }
    });
}

fn parse(word: &str) -> (u16, SocketAddr) {
    let (port, to) = word.split_once('=').expect("PORT=ADDRESS:PORT");
    (port.parse().expect("a port"), to.parse().expect("an address with a port"))
}

async fn serve(port: u16, to: SocketAddr) -> io::Result<()> {
    // The standard library's listener has as long a queue as the kernel allows, tokio-uring's 1,024.
    let listener = TcpListener::from_std(std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?);
    loop {
        match listener.accept().await {
            Ok((stranger, _)) => drop(tokio_uring::spawn(relay(stranger, to))),
            Err(error) => eprintln!("port {port}: {error}"),
        }
    }
}

async fn relay(stranger: TcpStream, to: SocketAddr) {
    let machine = match TcpStream::connect(to).await {
        Ok(machine) => machine,
        Err(error) => return eprintln!("{to}: {error}"),
    };
    for stream in [&stranger, &machine] {
        let _ = stream.set_nodelay(true);
    }
    tokio::join!(carry(&stranger, &machine), carry(&machine, &stranger));
}

/// Until the end of `from`, which is passed on; a failure ends both ways.
async fn carry(from: &TcpStream, to: &TcpStream) {
    if copy(from, to).await.is_ok() {
        let _ = to.shutdown(Shutdown::Write);
    } else {
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

async fn copy(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let (read, filled) = from.read(buffer).await;
        let count = read?;
        if count == 0 {
            return Ok(());
        }
        let (written, slice) = to.write_all(filled.slice(..count)).await;
        written?;
        buffer = slice.into_inner();
    }
}
