//! Their relay client against our relay.

use std::sync::Arc;

use genkan::coordinator::relay_server::{RelayMetrics, RelayServer};
use genkan::wire::key::{NodePrivate, NodePublic};
use prometheus_client::registry::Registry;
use tokio::io::{DuplexStream, duplex};
use ts_derp::Client;
use ts_keys::{NodeKeyPair, NodePublicKey};

/// A full packet of the tunnel, and the protocol's limit less the key.
const SIZES: [usize; 4] = [0, 1, 1420, (64 << 10) - 32];

fn relay(admit: impl Fn(NodePublic) -> bool + Send + Sync + 'static) -> RelayServer {
    let metrics = RelayMetrics::new(&mut Registry::default());
    RelayServer::new(NodePrivate::from_bytes([3; 32]), Arc::new(admit), metrics)
}

async fn join(relay: &RelayServer, keys: &NodeKeyPair) -> Result<Client<DuplexStream>, ts_derp::Error> {
    let (near, far) = duplex(256 << 10);
    let relay = relay.clone();
    tokio::spawn(async move { relay.serve(far, "192.0.2.1:5000".parse().expect("an address")).await });
    Client::handshake(near, keys).await
}

fn ours(key: NodePublicKey) -> NodePublic {
    NodePublic::from_bytes(key.to_x25519_dalek().to_bytes())
}

#[tokio::test]
async fn two_of_their_clients_exchange_packets() {
    let relay = relay(|_| true);
    let (anna, ben) = (NodeKeyPair::random(), NodeKeyPair::random());
    let at_anna = join(&relay, &anna).await.expect("admitted");
    let at_ben = join(&relay, &ben).await.expect("admitted");
    for size in SIZES {
        let packet = vec![0xa5; size];
        at_anna.send_one(ben.public, &packet).await.expect("sent");
        let (from, received) = at_ben.recv_one().await.expect("relayed");
        assert_eq!(from, anna.public);
        assert!(received.as_ref() == packet, "{size} bytes");
    }
}

#[tokio::test]
async fn a_node_of_this_process_exchanges_packets_with_their_client() {
    let relay = relay(|_| true);
    let own = NodePrivate::from_bytes([4; 32]).public();
    let mut port = relay.attach(own);
    let keys = NodeKeyPair::random();
    let client = join(&relay, &keys).await.expect("admitted");

    client.send_one(NodePublicKey::from_bytes(*own.as_bytes()), b"in").await.expect("sent");
    let (from, packet) = port.inbound.recv().await.expect("relayed");
    assert_eq!((from, &packet[..]), (ours(keys.public), &b"in"[..]));

    port.outbound.send((ours(keys.public), b"out".as_slice().into())).await.expect("open");
    let (from, packet) = client.recv_one().await.expect("relayed");
    assert_eq!((ours(from), packet.as_ref()), (own, &b"out"[..]));
}

#[tokio::test]
async fn a_node_that_is_not_admitted_gets_no_greeting() {
    let keys = NodeKeyPair::random();
    let stranger = ours(keys.public);
    let relay = relay(move |node| node != stranger);
    assert!(join(&relay, &keys).await.is_err());
    assert!(join(&relay, &NodeKeyPair::random()).await.is_ok());
}
