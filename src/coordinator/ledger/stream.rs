//! One viewer's netmap as a stream of messages.

use std::sync::Arc;
use std::time::Instant;

use crate::coordinator::core::map_session::{MapSession, Reason};
use crate::coordinator::core::relay_map::Origin;
use crate::wire::control::{MapResponse, NodeId};

use super::WallClock;
use super::hub::{Hub, Mail, Mailbox};

/// A session of a node. Dropping it ends the session.
pub struct MapStream {
    hub: Arc<Hub>,
    mailbox: Arc<Mailbox>,
    session: Box<MapSession>,
    wall: WallClock,
}

impl MapStream {
    /// `None` when there is no such node.
    pub(super) fn open(
        hub: &Arc<Hub>,
        viewer: NodeId,
        origin: Option<Origin>,
        wall: WallClock,
        jitter: u32,
    ) -> Option<Self> {
        let (mailbox, snapshot) = hub.attach(viewer)?;
        let session = Box::new(MapSession::new(viewer, origin, snapshot, Instant::now(), jitter));
        Some(Self { hub: Arc::clone(hub), mailbox, session, wall })
    }

    /// First the full map, then deltas and keep-alives; `None` when the node is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<MapResponse> {
        loop {
            let now = Instant::now();
            match self.mailbox.take() {
                Mail::End => return None,
                Mail::News(batch) => self.session.handle_batch(batch, now),
                Mail::None => {}
            }
            let (at, reason) = self.session.poll_timeout(now);
            if reason == Reason::KeepAlive && at <= now {
                self.hub.refresh(&mut self.session, &self.mailbox);
            }
            if let Some(message) = self.session.poll_message(now, (self.wall)()) {
                return Some(message);
            }
            let deadline = self.session.poll_timeout(now).0;
            tokio::select! {
                () = self.mailbox.arrival.notified() => {}
                () = tokio::time::sleep_until(deadline.into()) => {}
            }
        }
    }
}

impl Drop for MapStream {
    fn drop(&mut self) {
        self.hub.detach(self.session.viewer(), &self.mailbox, Instant::now());
    }
}
