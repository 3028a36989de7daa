//! What the edge asks of the rest of the program.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use http::{Request, Response};
use hyper::body::Incoming;

use super::Body;

/// The answer of a [`Resident`], when it comes.
pub type ResponseFuture = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// An HTTP service inside this process that shares the edge's ports: the coordinator.
pub trait Resident: Send + Sync + 'static {
    /// Its public host name, lower case: the SNI and Host that are its own. `None` on a box without one.
    fn name(&self) -> Option<&str>;

    /// Whether it answers this path.
    fn claims(&self, path: &str) -> bool;

    /// Answers one request. `peer` and `local` are the ends of the connection, IPv4 never as mapped IPv6. An upgrade of
    /// the connection goes by `hyper::upgrade::on`; on TLS it needs a client that did not choose HTTP/2.
    fn handle(&self, request: Request<Incoming>, peer: SocketAddr, local: SocketAddr) -> ResponseFuture;
}

/// Why a [`CertificateStore`] could not do its work.
pub type StoreFailure = Box<dyn std::error::Error + Send + Sync>;

/// Where accounts, certificates and keys are kept: small blobs by name, durable once `save` has returned.
pub trait CertificateStore: Send + Sync + 'static {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StoreFailure>;
    fn save(&self, name: &str, value: &[u8]) -> Result<(), StoreFailure>;
    fn delete(&self, name: &str) -> Result<(), StoreFailure>;
}
