//! Administration over a Unix socket in the state directory: HTTP/1.1 with JSON, in the shape of Headscale's REST API v1.
//!
//! Who may open the socket may do everything: it is for root and the group of the user genkan runs as.
//!
//! ```text
//! genkan nodes list -> genkan.sock -> route -> Ledger's admin methods -> shape -> JSON
//! ```

mod answer;
mod policy;
mod route;
mod shape;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

pub use policy::{ParsePolicy, PolicyFile, PolicySource, stored_policy};
pub use socket::{BindError, bind};

use crate::coordinator::ledger::Ledger;
use crate::coordinator::store::Store;
use policy::PolicyDesk;

/// Connections at once: a few people and their scripts.
const MAX_CONNECTIONS: usize = 32;

/// For the head of a request; the other end is a program on this machine.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);

/// Pause after `accept` failed, so that running out of descriptors does not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// The interface; clones are the same.
#[derive(Clone)]
pub struct AdminApi {
    ledger: Ledger,
    store: Arc<Store>,
    policy: Arc<PolicyDesk>,
}

impl AdminApi {
    pub fn new(ledger: Ledger, store: Arc<Store>, source: PolicySource) -> Self {
        let policy = Arc::new(PolicyDesk::new(ledger.clone(), store.clone(), source));
        Self { ledger, store, policy }
    }
}

/// Answers on the socket of [`bind`] until `stop`.
pub async fn serve(listener: UnixListener, api: AdminApi, stop: CancellationToken) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(seat) = seats.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (api, stop) = (api.clone(), stop.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = serve_connection(stream, api) => {}
                    }
                    drop(seat);
                });
            }
            Err(error) => {
                warn!(%error, "admin socket");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve_connection(stream: UnixStream, api: AdminApi) {
    let service = service_fn(|request| {
        let api = api.clone();
        async move { Ok::<_, std::convert::Infallible>(route::respond(&api, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        debug!(%error, "admin connection");
    }
}
