//! A node of this process as a client of the relay, by channels instead of a socket.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::Seat;
use crate::coordinator::core::relay::Transmit;
use crate::wire::derp::MAX_PACKET;
use crate::wire::key::NodePublic;

/// Packets a channel holds: one wake-up's worth on either side. Behind it the relay's own queues displace the oldest.
const CHANNEL: usize = 64;

/// Drop it to leave the relay.
#[derive(Debug)]
pub struct RelayPort {
    /// Destination and packet. Packets above the protocol's 64 KiB are dropped.
    pub outbound: mpsc::Sender<(NodePublic, Bytes)>,
    /// Source and packet.
    pub inbound: mpsc::Receiver<(NodePublic, Bytes)>,
}

pub(super) fn open(seat: Seat) -> RelayPort {
    let (outbound, from_node) = mpsc::channel(CHANNEL);
    let (to_node, inbound) = mpsc::channel(CHANNEL);
    tokio::spawn(shuttle(seat, from_node, to_node));
    RelayPort { outbound, inbound }
}

/// Each direction waits for itself only: a node that is busy receiving can still send.
async fn shuttle(
    seat: Seat,
    mut from_node: mpsc::Receiver<(NodePublic, Bytes)>,
    to_node: mpsc::Sender<(NodePublic, Bytes)>,
) {
    let sending = async {
        while let Some((destination, packet)) = from_node.recv().await {
            if packet.len() <= MAX_PACKET {
                seat.send(destination, packet);
            }
        }
    };
    tokio::select! {
        () = sending => {}
        () = deliver(&seat, &to_node) => {}
    }
}

async fn deliver(seat: &Seat, to_node: &mpsc::Sender<(NodePublic, Bytes)>) {
    loop {
        let mut due = None;
        seat.take_transmits(|transmit| {
            due = Some(transmit);
            false
        });
        match due {
            None => seat.wake.notified().await,
            Some(Transmit::Packet { source, packet }) => {
                seat.shared().metrics.sent.count(packet.len());
                if to_node.send((source, packet)).await.is_err() {
                    return;
                }
            }
            // For clients that keep a table of who is behind which relay.
            Some(Transmit::PeerGone { .. } | Transmit::Pong(_)) => {}
            Some(Transmit::Close) => return,
        }
    }
}
