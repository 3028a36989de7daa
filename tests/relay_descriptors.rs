//! A relay that has carried a thousand connections holds no descriptor of them. Alone in its process, because it counts all
//! descriptors there are.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use genkan::base::ceilings::Ceilings;
use genkan::base::rng::SeededRng;
use genkan::base::roll_call::RollCall;
use genkan::edge::core::route::{Transport, Upstream};
use genkan::edge::metrics::EdgeMetrics;
use genkan::edge::relay::{CopyRelay, Relay, RelayRoute, UringRelay};
use genkan::sys::packet_thread::PacketThread;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use prometheus_client::registry::Registry;

const CONNECTIONS: usize = 1000;
/// At once: four descriptors each stay below the usual limit of 1,024.
const BATCH: usize = 100;

#[test]
fn the_soft_limit_is_raised_to_the_hard_one() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    // Enough for the test beside this one.
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(1000), hard).expect("lowered");
    let raised = genkan::app::descriptors::raise();
    assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).expect("a limit"), (hard, hard));
    assert_eq!(raised as u64, hard);
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_leave_no_descriptor_behind() {
    let metrics = EdgeMetrics::new(&mut Registry::default()).relay;
    let rng = SeededRng::new([1; 32]);
    let before = descriptors();
    let threads = [PacketThread::start("relay").expect("a thread")];
    if let Ok(relay) = UringRelay::new(&threads, &metrics, rng.clone(), &RollCall::default()) {
        exercise(&relay).await;
        drop((relay, threads));
        // The loop ends when nobody can command it any more, and then its thread.
        settle(|| descriptors() == before);
    }
    exercise(&CopyRelay::new(metrics, rng)).await;
}

async fn exercise(relay: &dyn Relay) {
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = service.local_addr().expect("bound");
    let before = descriptors();
    let upstream = Upstream { transport: Transport::Tcp, host: "127.0.0.1".into(), port: address.port() };
    let mut route = RelayRoute::new("many", SocketAddr::from(([127, 0, 0, 1], 0)), vec![upstream]);
    route.limits.connections = Ceilings { total: CONNECTIONS, per_source: CONNECTIONS };
    let handle = relay.start(route).expect("starts");
    let running = descriptors();
    for batch in 0..CONNECTIONS / BATCH {
        let pairs: Vec<_> = (0..BATCH).map(|_| open(handle.local_address(), &service)).collect();
        assert_eq!(handle.open(), BATCH);
        // Half of them end with a goodbye, half by vanishing.
        if batch % 2 == 0 {
            for (client, server) in &pairs {
                finish(client, server);
            }
        }
        drop(pairs);
        settle(|| handle.open() == 0);
        settle(|| descriptors() == running);
    }
    handle.stop(Duration::ZERO).await;
    settle(|| descriptors() == before);
}

fn open(relay: SocketAddr, service: &TcpListener) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect(relay).expect("listens");
    let (mut server, _) = service.accept().expect("dialled");
    client.write_all(b"x").expect("written");
    server.read_exact(&mut [0]).expect("passed on");
    (client, server)
}

fn finish(client: &TcpStream, server: &TcpStream) {
    client.shutdown(Shutdown::Write).expect("open");
    server.shutdown(Shutdown::Write).expect("open");
}

fn settle(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} descriptors are open", descriptors());
        std::thread::sleep(Duration::from_millis(2));
    }
}
