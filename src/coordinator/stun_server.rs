//! STUN: tells nodes from which address their datagrams arrive.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::net::UdpSocket;
use tracing::{trace, warn};

use crate::base::rate::{Rate, SourceLimiter};
use crate::base::source::Source;
use crate::wire::stun::{BindingRequest, MAX_REQUEST};

/// Answers per source. A client asks a few times in 20 s; a whole household may ask from one address.
const RATE: Rate = Rate { interval: Duration::from_millis(50), burst: 100 };

/// Pause after the socket failed, so that a persistent failure does not spin.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

/// Counters of the STUN server; clones share them.
#[derive(Debug, Clone, Default)]
pub struct StunMetrics {
    requests: Family<Outcome, Counter>,
}

impl StunMetrics {
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "genkan_stun_datagrams",
            "Datagrams at the STUN port by what came of them",
            metrics.requests.clone(),
        );
        metrics
    }

    fn count(&self, result: &'static str) {
        self.requests.get_or_create(&Outcome { result }).inc();
    }
}

/// Answers binding requests on `socket` until dropped. Run it once per address family.
pub async fn run(socket: UdpSocket, metrics: StunMetrics) {
    let mut limiter = SourceLimiter::new(RATE);
    // One byte more than a request may have, so that a cut datagram is not taken for a whole one.
    let mut buffer = [0; MAX_REQUEST + 1];
    loop {
        let result = match socket.recv_from(&mut buffer).await {
            Ok((length, source)) => answer(&socket, &buffer[..length], source, &mut limiter).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(outcome) => metrics.count(outcome),
            Err(error) => {
                metrics.count("failed");
                warn!(%error, "STUN socket");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// What came of one datagram: answered, ignored (not for us), limited, unreachable.
async fn answer(
    socket: &UdpSocket,
    datagram: &[u8],
    source: SocketAddr,
    limiter: &mut SourceLimiter,
) -> io::Result<&'static str> {
    let source_address = SocketAddr::new(source.ip().to_canonical(), source.port());
    let Some(answer) = BindingRequest::parse(datagram).and_then(|request| request.answer(source_address))
    else {
        return Ok("ignored");
    };
    if !limiter.take(Source::of(source.ip()), Instant::now()) {
        return Ok("limited");
    }
    match socket.send_to(&answer, source).await {
        Ok(_) => Ok("answered"),
        // A forged or vanished source is nobody's fault here.
        Err(error) => {
            trace!(%error, "STUN answer not sent");
            Ok("unreachable")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::stun::{encode_request, parse_answer};

    #[tokio::test]
    async fn a_client_learns_its_port_and_noise_gets_silence() {
        let metrics = StunMetrics::default();
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let to = server.local_addr().expect("bound");
        let running = tokio::spawn(run(server, metrics.clone()));
        let client = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        client.send_to(b"not a request", to).await.expect("sent");
        client.send_to(&encode_request(&[5; 12], b"tailnode"), to).await.expect("sent");
        let mut buffer = [0; 100];
        let (length, _) = client.recv_from(&mut buffer).await.expect("an answer");
        let mapped = client.local_addr().expect("bound");
        assert_eq!(parse_answer(&buffer[..length]), Some(([5; 12], mapped)));
        let ignored = metrics.requests.get_or_create(&Outcome { result: "ignored" }).get();
        assert_eq!(ignored, 1);
        running.abort();
    }
}
