//! Administration: HTTP/1.1 with JSON, in the shape of Headscale's REST API v1, over a Unix socket in the state directory and
//! over TLS for the house.
//!
//! Who may open the socket may do everything: it is for root and the group of the user genkan runs as. Over TLS every
//! request shows an API key, which may do everything too; the key tells its bearer which certificate to expect.
//!
//! ```text
//! genkan nodes list               -> genkan.sock ------> route -> Ledger's admin methods -> shape -> JSON
//! genkan --address .. nodes list  -> remote -> gate --^
//! ```

mod answer;
mod certificate;
mod gate;
mod policy;
mod remote;
mod route;
mod shape;
mod socket;
mod update;

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

pub use certificate::{Certificate, CertificateError};
pub use policy::{ParsePolicy, PolicyFile, PolicySource, stored_policy};
pub use remote::serve as serve_tls;
pub use socket::{BindError, bind};
pub use update::{UpdateDesk, UpdateSeam};

use crate::coordinator::ledger::Ledger;
use crate::coordinator::store::Store;
use crate::wire::api_key::Pin;
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
    pin: Pin,
    updates: UpdateDesk,
}

impl AdminApi {
    /// `pin` is that of the certificate that [`serve_tls`] answers with: it becomes a part of every key made here.
    pub fn new(
        ledger: Ledger,
        store: Arc<Store>,
        source: PolicySource,
        pin: Pin,
        updates: UpdateDesk,
    ) -> Self {
        let policy = Arc::new(PolicyDesk::new(ledger.clone(), store.clone(), source));
        Self { ledger, store, policy, pin, updates }
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
