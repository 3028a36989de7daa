use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConnection, HandshakeKind, ServerConnection};

use super::*;
use crate::edge::core::cipher_order::Processor;

const NAME: &str = "app.example.com";

fn both_sides(version: &'static rustls::SupportedProtocolVersion) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let key = self_signed::create(NAME).expect("made").certified_key(&provider()).expect("usable");
    let mut roots = RootCertStore::empty();
    roots.add(key.cert[0].clone()).expect("an anchor");
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_early_data = true;
    let ciphers = CipherOrder::of(Processor { has_aes: true });
    let server = server_config(Arc::new(SingleCertAndKey::from(key)), ciphers).expect("configured");
    (Arc::new(client), Arc::new(server))
}

/// One connection in memory, and whether its client was offered to send before the handshake.
fn connect(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> (Option<HandshakeKind>, bool) {
    let name = ServerName::try_from(NAME).expect("a name");
    let mut client = ClientConnection::new(client.clone(), name).expect("a client");
    let mut server = ServerConnection::new(server.clone()).expect("a server");
    let is_early = client.early_data().is_some();
    while client.wants_write() || server.wants_write() {
        let mut flight = Vec::new();
        client.write_tls(&mut flight).expect("in memory");
        server.read_tls(&mut &flight[..]).expect("in memory");
        server.process_new_packets().expect("accepted");
        flight.clear();
        while server.wants_write() {
            server.write_tls(&mut flight).expect("in memory");
        }
        client.read_tls(&mut &flight[..]).expect("in memory");
        client.process_new_packets().expect("accepted");
    }
    (server.handshake_kind(), is_early)
}

#[test]
fn a_second_connection_resumes_and_nothing_goes_before_its_handshake() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (client, server) = both_sides(version);
        assert_eq!(connect(&client, &server), (Some(HandshakeKind::Full), false), "{version:?}");
        assert_eq!(connect(&client, &server), (Some(HandshakeKind::Resumed), false), "{version:?}");
    }
}
