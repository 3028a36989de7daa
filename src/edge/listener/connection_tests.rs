use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::permit::Admission;
use super::*;
use crate::base::ceilings::Ceilings;
use crate::base::rng::SeededRng;
use crate::base::roll_call::RollCall;
use crate::edge::core::cipher_order::{CipherOrder, Processor};
use crate::edge::core::route::EdgeConfig;
use crate::edge::http_metrics::HttpMetrics;
use crate::edge::http_proxy::Proxy;
use crate::edge::settings::EdgeSettings;
use crate::edge::tls::{Certificates, Names};
use crate::edge::{CertificateStore, Resident, ResponseFuture, StoreFailure, body};

struct NoStore;

impl CertificateStore for NoStore {
    fn load(&self, _: &str) -> Result<Option<Vec<u8>>, StoreFailure> {
        Ok(None)
    }

    fn save(&self, _: &str, _: &[u8]) -> Result<(), StoreFailure> {
        Ok(())
    }

    fn delete(&self, _: &str) -> Result<(), StoreFailure> {
        Ok(())
    }
}

struct Hello;

impl Resident for Hello {
    fn name(&self) -> Option<&str> {
        None
    }

    fn claims(&self, _: &str) -> bool {
        true
    }

    fn handle(&self, _: Request<Incoming>, _: SocketAddr, _: SocketAddr) -> ResponseFuture {
        Box::pin(async { body::text(http::StatusCode::OK, "hello") })
    }
}

fn shared() -> Shared {
    let certificates = Certificates::open(Arc::new(NoStore), None, &Names::default()).expect("opened");
    let certificates = Arc::new(certificates);
    let metrics = HttpMetrics::new(&mut Registry::default());
    let (tasks, drain, abort) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
    let proxy = Proxy::new(metrics.clone(), SeededRng::new([0; 32]), tasks.clone(), abort.clone());
    let front = Front::new(Arc::new(Hello), proxy, metrics.clone(), 443);
    let tls = TlsAcceptor::from(Arc::new(
        tls::server_config(certificates.clone(), CipherOrder::of(Processor { has_aes: true }))
            .expect("configured"),
    ));
    Shared {
        front: Arc::new(front),
        certificates,
        tls,
        metrics,
        loops: RollCall::default(),
        tasks,
        drain,
        abort,
    }
}

/// A connection to the control door in memory, and the task that serves it.
fn open(is_http2: bool, shared: Shared) -> (DuplexStream, tokio::task::JoinHandle<()>) {
    let (far, near) = tokio::io::duplex(4096);
    let address = SocketAddr::from(([127, 0, 0, 1], 8080));
    let connection =
        Connection { peer: address, local: address, door: Door::Control, presented: Presented::Nothing };
    let serving = tokio::spawn(async move { serve_http(near, connection, is_http2, &shared).await });
    (far, serving)
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_header_that_trickles_in_is_not_waited_for() {
    let (mut client, serving) = open(false, shared());
    let begun = Instant::now();
    let trickle = async {
        for byte in REQUEST {
            tokio::time::sleep(Duration::from_secs(9)).await;
            if client.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(trickle, async { serving.await.expect("ended") });
    assert!(begun.elapsed() <= HEADER_TIMEOUT + Duration::from_secs(9), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_closed_in_either_version() {
    for is_http2 in [false, true] {
        let (_client, serving) = open(is_http2, shared());
        let begun = Instant::now();
        serving.await.expect("ended");
        assert!(begun.elapsed() <= HEADER_TIMEOUT + FINISH_TIMEOUT, "{is_http2} {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_is_closed_when_nothing_more_is_asked() {
    let (mut client, serving) = open(false, shared());
    let begun = Instant::now();
    for _ in 0..3 {
        client.write_all(REQUEST).await.expect("open");
        let mut answer = [0; 15];
        client.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        let mut rest = vec![0; 4096];
        assert!(client.read(&mut rest).await.expect("the rest") > 0);
        tokio::time::sleep(HEADER_TIMEOUT / 2).await;
    }
    serving.await.expect("ended");
    assert!(begun.elapsed() > HEADER_TIMEOUT, "requests kept it open");
}

#[tokio::test]
async fn draining_closes_a_connection_that_waits_for_nothing() {
    let shared = shared();
    let (mut client, serving) = open(false, shared.clone());
    client.write_all(REQUEST).await.expect("open");
    let mut answer = vec![0; 4096];
    assert!(client.read(&mut answer).await.expect("an answer") > 0);
    shared.drain.cancel();
    serving.await.expect("ended");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_never_ends_frees_its_place() {
    let shared = shared();
    let admission = Admission::new(Ceilings { total: 1, per_source: 1 });
    let source = [192, 0, 2, 1].into();
    let (_client, near) = tokio::io::duplex(64);
    let stream = Stream::new(near, admission.admit(source).expect("room"));
    let begun = Instant::now();
    let handshake = shake_hands(stream, &shared).await;
    assert!(handshake.is_none());
    assert_eq!(begun.elapsed(), HANDSHAKE_TIMEOUT);
    admission.admit(source).expect("room again");
}

#[tokio::test]
async fn uploads_that_nobody_takes_stay_within_the_stated_memory() {
    let ceilings = EdgeSettings::new(EdgeConfig::default(), [0; 32]).connections;
    let worst = |connections: usize| connections * CONNECTION_WINDOW as usize;
    assert_eq!(worst(ceilings.total), 128 * 1024 * 1024);
    assert_eq!(worst(ceilings.per_source), 32 * 1024 * 1024);
    // RFC 9113 section 6.9.2: the window of a connection begins with 65,535 bytes and grows by WINDOW_UPDATE on stream 0.
    let (mut client, _serving) = open(true, shared());
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("open");
    let increment = loop {
        let mut header = [0; 9];
        client.read_exact(&mut header).await.expect("a frame");
        let mut payload = vec![0; usize::from(header[1]) << 8 | usize::from(header[2])];
        client.read_exact(&mut payload).await.expect("all of it");
        if header[3] == 8 && header[5..] == [0; 4] {
            break u32::from_be_bytes(payload.try_into().expect("four bytes"));
        }
    };
    assert_eq!(65_535 + increment, CONNECTION_WINDOW);
}
