//! Layer 4 TCP: bytes of a connection go on to an upstream as they are.
//!
//! ```text
//! accept -> ceilings -> order of upstreams -> dial, next on failure -> header, if any -> bytes both ways -> each end closes on its own
//! ```
//!
//! [`choose`] gives the `io_uring` loop ([`UringRelay`]) where the kernel has it, else the same behaviour on tokio ([`CopyRelay`]).
//! What one connection does next is decided by `core::relay_flow`; what the connections of a route share is in `route`.

mod bulk;
mod connection;
mod copy;
mod handle;
mod header;
mod pipe;
mod reactor;
mod route;
mod socket;
mod types;
mod uring;

use std::sync::Arc;

use crate::base::rng::SeededRng;
use crate::base::roll_call::RollCall;
use crate::edge::metrics::RelayMetrics;
use crate::sys::packet_thread::PacketThread;

pub use copy::CopyRelay;
pub use handle::RelayHandle;
pub use types::{RelayError, RelayLimits, RelayRoute};
pub use uring::UringRelay;

/// Something that can serve layer 4 TCP routes until their handles are stopped or dropped.
pub trait Relay: Send + Sync {
    /// Listens at `route.listen` and relays from now on. Called inside a tokio runtime, which resolves upstream names.
    ///
    /// # Errors
    /// [`RelayError`]: the address cannot be bound, or the route makes no sense.
    fn start(&self, route: RelayRoute) -> Result<RelayHandle, RelayError>;
}

/// The `io_uring` relay with a loop in each thread, or the one on tokio where the kernel refuses `io_uring`. The log says which.
/// The loops show in `loops` that they turn.
#[must_use]
pub fn choose(
    threads: &[PacketThread],
    metrics: RelayMetrics,
    seed: [u8; 32],
    loops: &RollCall,
) -> Arc<dyn Relay> {
    let rng = SeededRng::new(seed);
    match UringRelay::new(threads, &metrics, rng.clone(), loops) {
        Ok(relay) => {
            tracing::info!(engine = "io_uring", threads = threads.len(), "layer 4 relay is ready");
            Arc::new(relay)
        }
        Err(error) => {
            tracing::warn!(engine = "epoll", %error, "the kernel refuses io_uring; layer 4 relay is ready without it");
            Arc::new(CopyRelay::new(metrics, rng))
        }
    }
}

#[cfg(test)]
mod header_tests;
#[cfg(test)]
mod reload_tests;
#[cfg(test)]
mod tests;
