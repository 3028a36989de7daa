//! What flows between rooms: each function carries one kind of news from one room to another.

use std::net::SocketAddr;

use tokio::sync::{mpsc, watch};

use crate::coordinator::core::relay_map::RelaySettings;
use crate::coordinator::ledger::{Ledger, MapStream};
use crate::wire::control::MapResponse;

/// The gateway's netmap goes to the tunnel.
pub async fn pass_net_map(mut source: MapStream, tunnel: mpsc::Sender<MapResponse>) {
    while let Some(message) = source.next().await {
        if !message.keep_alive && tunnel.send(message).await.is_err() {
            return;
        }
    }
}

/// Where the tunnel can be reached goes to the coordinator, which tells the peers.
pub async fn pass_endpoints(mut tunnel: mpsc::Receiver<Vec<SocketAddr>>, ledger: Ledger) {
    while let Some(endpoints) = tunnel.recv().await {
        ledger.update_gateway(endpoints);
    }
}

/// Whether clients pin the relay's certificate goes from the edge to the coordinator, which tells the clients.
pub async fn pass_pin(mut pin: watch::Receiver<Option<[u8; 32]>>, ledger: Ledger, settings: RelaySettings) {
    loop {
        let certificate_pin = *pin.borrow_and_update();
        ledger.set_relay(RelaySettings { certificate_pin, ..settings.clone() });
        if pin.changed().await.is_err() {
            return;
        }
    }
}
