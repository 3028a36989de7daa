//! What an upgraded connection becomes: bytes both ways until both ends are done.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tracing::debug;

use super::pool::Lease;

/// Per direction: a WebSocket's messages are small, and a bulk upgrade is rare.
const BUFFER: usize = 16 * 1024;

/// Joins the two ends. `lease` keeps the upstream's connection counted.
pub async fn run(client: OnUpgrade, upstream: OnUpgrade, lease: Lease) {
    let (client, upstream) = match tokio::try_join!(client, upstream) {
        Ok(both) => both,
        Err(error) => return debug!(%error, "upgrade failed"),
    };
    let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
    let ended = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await;
    if let Err(error) = ended {
        debug!(%error, "tunnel ended");
    }
    drop(lease);
}
