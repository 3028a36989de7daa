//! The coordinator as the edge's resident, and the store as its certificate store.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;

use crate::coordinator::core::relay_map::Origin;
use crate::coordinator::server::Server;
use crate::coordinator::store::Store;
use crate::edge::{CertificateStore, Resident, ResponseFuture, StoreFailure};

/// The coordinator's HTTP surface under its public name.
pub struct Coordinator {
    pub name: Option<String>,
    pub server: Server,
}

impl Resident for Coordinator {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn claims(&self, path: &str) -> bool {
        Server::claims(path)
    }

    fn handle(&self, request: Request<Incoming>, peer: SocketAddr, local: SocketAddr) -> ResponseFuture {
        let server = self.server.clone();
        Box::pin(async move { server.handle(request, Origin { peer, local }).await })
    }
}

/// Certificates beside the tailnet's state, in one database.
pub struct Certificates(pub Arc<Store>);

impl CertificateStore for Certificates {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StoreFailure> {
        Ok(self.0.blob(name)?)
    }

    fn save(&self, name: &str, value: &[u8]) -> Result<(), StoreFailure> {
        Ok(self.0.put_blob(name, value)?)
    }

    fn delete(&self, name: &str) -> Result<(), StoreFailure> {
        Ok(self.0.delete_blob(name)?)
    }
}
