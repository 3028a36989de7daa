//! HTTP/1.1 and HTTP/2 in, HTTP/1.1 out: the reverse proxy.
//!
//! ```text
//! request -> headers of the next hop -> order of upstreams -> kept or new connection -> response -> headers back
//!            body streams through in both directions; an upgrade becomes a tunnel
//! ```
//!
//! A request goes to another connection or upstream only when nothing of it has been sent, or when it has no body and its method may be
//! repeated (RFC 9110 section 9.2.2) and the kept connection it went out on turned out to be dead.

mod attempt;
mod bodies;
mod pool;
mod tunnel;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::UPGRADE;
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::body::{self, Body};
use super::core::balance::{Balance, Load, Selection};
use super::core::headers::{self, FirstHop};
use super::core::host_route::Site;
use super::core::route::Upstream;
use super::http_metrics::HttpMetrics;
use super::listener::Connection;
use crate::base::rng::SeededRng;
use attempt::{ProxyError, Sent};
use bodies::Progress;
use pool::Pool;

/// How often kept connections that nobody used are looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// Forwards requests; keeps connections to upstreams.
pub struct Proxy {
    pools: Mutex<HashMap<Upstream, Arc<Pool>>>,
    balance: Mutex<Balance>,
    metrics: HttpMetrics,
    /// Tunnels in being.
    tasks: TaskTracker,
    abort: CancellationToken,
}

impl Proxy {
    #[must_use]
    pub fn new(metrics: HttpMetrics, rng: SeededRng, tasks: TaskTracker, abort: CancellationToken) -> Self {
        let balance = Mutex::new(Balance::new(Selection::Random, rng));
        Self { pools: Mutex::default(), balance, metrics, tasks, abort }
    }

    /// Sends the request to one of the site's upstreams and gives back what it answers. `authority` is the host as the client wrote it.
    pub async fn forward(
        &self,
        mut request: Request<Incoming>,
        authority: &str,
        site: &Site,
        connection: &Connection,
    ) -> Response<Body> {
        let client = (request.version() < Version::HTTP_2 && headers::upgrade(request.headers()).is_some())
            .then(|| hyper::upgrade::on(&mut request));
        let progress = Progress::new();
        let request = prepare(request, authority, connection, progress.clone());
        let source = connection.peer.ip();
        let pools = self.pools_of(site, source);
        match attempt::send(request, &progress, &pools, source).await {
            Ok(sent) => self.finish(sent, client),
            Err(error) => {
                debug!(server = site.server, %error, "request failed");
                error.into_response()
            }
        }
    }

    /// Closes kept connections that have not been used for long. Runs until dropped.
    pub async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            self.pools.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, pool| pool.sweep());
        }
    }

    /// The pools of the site's upstreams, in the order in which this client should try them.
    fn pools_of(&self, site: &Site, source: IpAddr) -> Vec<Arc<Pool>> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<Arc<Pool>> =
            site.upstreams.iter().map(|upstream| self.pool(&mut pools, upstream)).collect();
        drop(pools);
        let loads: Vec<Load> = all.iter().map(|pool| pool.load()).collect();
        let order = self.balance.lock().unwrap_or_else(PoisonError::into_inner).order(source, &loads);
        order.into_iter().filter_map(|index| all.get(index).cloned()).collect()
    }

    fn pool(&self, pools: &mut HashMap<Upstream, Arc<Pool>>, upstream: &Upstream) -> Arc<Pool> {
        let new = || Arc::new(Pool::new(upstream, self.metrics.clone(), self.abort.clone()));
        Arc::clone(pools.entry(upstream.clone()).or_insert_with(new))
    }

    fn finish(&self, sent: Sent, client: Option<OnUpgrade>) -> Response<Body> {
        let Sent { mut response, lease } = sent;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            headers::prepare_response(response.headers_mut(), None);
            return response.map(|body| bodies::returning(body, lease));
        }
        let agreed = headers::upgrade(response.headers());
        let (Some(client), Some(protocol)) = (client, agreed) else {
            return ProxyError::Upgrade.into_response();
        };
        let upstream = hyper::upgrade::on(&mut response);
        headers::prepare_response(response.headers_mut(), Some(protocol));
        let abort = self.abort.clone();
        self.tasks.spawn(async move {
            abort.run_until_cancelled(tunnel::run(client, upstream, lease)).await;
        });
        response.map(|_| body::empty())
    }
}

/// The request as the upstream gets it: HTTP/1.1, origin form, headers of the next hop, the body as it comes in.
fn prepare(
    request: Request<Incoming>,
    authority: &str,
    connection: &Connection,
    progress: Progress,
) -> Request<Body> {
    let (mut parts, incoming) = request.into_parts();
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::from(path);
    parts.extensions = http::Extensions::new();
    if parts.version == Version::HTTP_2 {
        parts.headers.remove(UPGRADE);
    }
    parts.version = Version::HTTP_11;
    let hop = FirstHop { peer: connection.peer.ip(), scheme: connection.scheme(), authority };
    headers::prepare_request(&mut parts.headers, hop);
    Request::from_parts(parts, bodies::incoming(incoming, progress))
}
