//! Getting one request answered: which connections and upstreams are tried, and what is said when none answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};

use super::bodies::Progress;
use super::pool::{DialError, Lease, Pool};
use crate::edge::body::{self, Body};

/// For the upstream's header, counted from when the request last moved on. Long enough for any report, short enough that a hung service
/// does not gather requests for ever.
const HEADER_TIMEOUT: Duration = Duration::from_mins(10);

/// A kept connection may turn out dead once per upstream and request; then a new one is dialled.
const KEPT_ATTEMPTS: usize = 2;

/// An answered request.
pub struct Sent {
    pub response: Response<Incoming>,
    pub lease: Lease,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("the site has no upstream")]
    NoUpstream,
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the upstream broke off: {0}")]
    Broken(hyper::Error),
    #[error("the upstream does not answer")]
    Silent,
    #[error("the upstream changed the protocol unasked")]
    Upgrade,
}

/// What became of one try on one connection.
enum Outcome {
    Answered(Response<Incoming>),
    /// Nothing was sent.
    Unsent(Box<Request<Body>>),
    Failed(ProxyError),
}

/// Sends the request to the first upstream that takes it, on a place of `source`.
pub async fn send(
    request: Request<Body>,
    progress: &Progress,
    pools: &[Arc<Pool>],
    source: IpAddr,
) -> Result<Sent, ProxyError> {
    let mut request = request;
    let mut last = ProxyError::NoUpstream;
    for pool in pools {
        for attempt in 0..=KEPT_ATTEMPTS {
            let lease = match pool.lease(source, attempt == KEPT_ATTEMPTS).await {
                Ok(lease) => lease,
                Err(error) => {
                    last = error.into();
                    break;
                }
            };
            match send_on(request, progress, lease).await {
                (Outcome::Answered(response), lease) => return Ok(Sent { response, lease }),
                (Outcome::Unsent(unsent), _) => request = *unsent,
                (Outcome::Failed(error), _) => return Err(error),
            }
        }
    }
    Err(last)
}

async fn send_on(request: Request<Body>, progress: &Progress, mut lease: Lease) -> (Outcome, Lease) {
    let spare = if lease.is_kept() { repeatable(&request) } else { None };
    let answered = tokio::select! {
        answered = lease.send(request) => Some(answered),
        () = silence(progress) => None,
    };
    let outcome = match answered {
        Some(Ok(response)) => Outcome::Answered(response),
        Some(Err(mut failed)) => match failed.take_message().or(spare) {
            Some(unsent) => Outcome::Unsent(Box::new(unsent)),
            None => Outcome::Failed(ProxyError::Broken(failed.into_error())),
        },
        None => Outcome::Failed(ProxyError::Silent),
    };
    (outcome, lease)
}

/// Returns when nothing has moved for [`HEADER_TIMEOUT`].
async fn silence(progress: &Progress) {
    while progress.last().elapsed() < HEADER_TIMEOUT {
        tokio::time::sleep_until(progress.last() + HEADER_TIMEOUT).await;
    }
}

/// A copy of a request that may be sent twice: a method without effects, and no body.
fn repeatable(request: &Request<Body>) -> Option<Request<Body>> {
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    (is_safe && request.body().is_end_stream()).then(|| {
        let mut copy = Request::new(body::empty());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        copy
    })
}

impl ProxyError {
    /// What the client is told: whose fault it is, and nothing about the house behind.
    pub fn into_response(self) -> Response<Body> {
        let (status, line) = match self {
            Self::NoUpstream | Self::Dial(DialError::Busy) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the service behind this name takes no more requests at the moment",
            ),
            Self::Dial(DialError::SourceBusy) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too many requests from your address to the service behind this name are not finished yet",
            ),
            Self::Dial(DialError::Timeout) | Self::Silent => {
                (StatusCode::GATEWAY_TIMEOUT, "the service behind this name does not answer")
            }
            Self::Dial(_) => (StatusCode::BAD_GATEWAY, "the service behind this name cannot be reached"),
            Self::Broken(_) | Self::Upgrade => {
                (StatusCode::BAD_GATEWAY, "the service behind this name broke off its answer")
            }
        };
        body::text(status, line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_upstream_is_waited_for_as_long_as_the_request_moves() {
        let progress = Progress::new();
        let begun = tokio::time::Instant::now();
        let sender = progress.clone();
        tokio::spawn(async move {
            for _ in 0..3 {
                tokio::time::sleep(HEADER_TIMEOUT / 2).await;
                sender.note();
            }
        });
        silence(&progress).await;
        assert_eq!(begun.elapsed(), HEADER_TIMEOUT / 2 * 3 + HEADER_TIMEOUT);
    }

    #[test]
    fn the_status_says_whose_fault_it_is() {
        let refused = DialError::Io(std::io::ErrorKind::ConnectionRefused.into());
        for (error, status) in [
            (ProxyError::NoUpstream, 503),
            (ProxyError::Dial(DialError::Busy), 503),
            (ProxyError::Dial(DialError::SourceBusy), 503),
            (ProxyError::Dial(DialError::Timeout), 504),
            (ProxyError::Dial(refused), 502),
            (ProxyError::Silent, 504),
            (ProxyError::Upgrade, 502),
        ] {
            assert_eq!(error.into_response().status(), status);
        }
    }

    #[test]
    fn only_requests_without_effect_and_body_are_sent_twice() {
        let request = |method: Method, body| {
            let mut request = Request::new(body);
            *request.method_mut() = method;
            repeatable(&request).is_some()
        };
        assert!(request(Method::GET, body::empty()));
        assert!(request(Method::HEAD, body::empty()));
        assert!(!request(Method::GET, body::full("x")));
        assert!(!request(Method::POST, body::empty()));
        assert!(!request(Method::DELETE, body::empty()));
    }
}
