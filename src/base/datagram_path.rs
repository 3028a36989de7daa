//! A way for datagrams to a machine of the tailnet that does not pass the kernel: one room has it, another uses it.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;

/// Whoever can carry datagrams.
pub trait DatagramPath: Send + Sync {
    /// Carries datagrams between `local`, an address that the caller holds a socket on, and `remote`, from now on and until the
    /// flow is dropped. `None` where the way from one to the other is another: the socket is to be used.
    fn open(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        answers: Arc<dyn Answers>,
    ) -> Option<Box<dyn DatagramFlow>>;
}

/// The way out of one pair of addresses.
pub trait DatagramFlow: Send {
    /// Sends `contents`, cut every `segment_size` bytes into datagrams, the last perhaps shorter.
    ///
    /// # Errors
    /// [`Unsent`]: nothing was sent.
    fn send(&self, contents: &[u8], segment_size: usize) -> Result<(), Unsent>;
}

/// The way back of one pair of addresses. What does not come this way (fragments, for one) comes to the socket.
pub trait Answers: Send + Sync {
    /// Takes datagrams that came together: all of one length, but the last, which may be shorter.
    fn take(&self, datagrams: &[IoSlice<'_>]);
}

/// Why datagrams were not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsent {
    /// They need the kernel: too long for the tunnel, empty, or the tunnel does not run.
    Unfit,
    /// Too many wait already.
    Full,
}
