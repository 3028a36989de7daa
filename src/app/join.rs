//! What flows between rooms: each function carries one kind of news from one room to another.

use std::net::SocketAddr;

use tokio::sync::{mpsc, watch};

use super::lan::Lan;
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

/// How clients reach the relay goes to the coordinator, which tells them: by the edge's word whether they pin its certificate, by the
/// network's at which address it is in the house.
pub async fn pass_relay(
    mut pin: watch::Receiver<Option<[u8; 32]>>,
    mut lan: watch::Receiver<Option<Lan>>,
    ledger: Ledger,
    settings: impl Fn(Option<Lan>) -> RelaySettings,
) {
    loop {
        let certificate_pin = *pin.borrow_and_update();
        let lan_now = *lan.borrow_and_update();
        ledger.set_relay(RelaySettings { certificate_pin, ..settings(lan_now) });
        let changed = tokio::select! {
            changed = pin.changed() => changed,
            changed = lan.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}
