//! Requests as their client writes them, read by us.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use genkan::base::wall_time::UnixTime;
use genkan::wire::control::{Hostinfo, MapRequest, RegisterRequest};
use genkan::wire::key::{DiscoPublic, NodePublic};
use serde_json::to_string;
use ts_capabilityversion::CapabilityVersion;
use ts_control_serde as theirs;
use ts_keys::{DiscoPublicKey, NodePublicKey};

fn host_info() -> theirs::HostInfo<'static> {
    theirs::HostInfo {
        hostname: Some("machine-a"),
        os: "linux",
        ipn_version: "1.92.0",
        device_model: "Pi",
        routable_ips: Some(vec!["192.168.7.0/24".parse().expect("a prefix")]),
        request_tags: Some(vec!["tag:server"]),
        ssh_host_keys: Some(vec!["ssh-ed25519 AAAA"]),
        services: Some(vec![theirs::Service {
            proto: theirs::ServiceProto::PeerApi4,
            port: 4000,
            description: "",
        }]),
        net_info: Some(theirs::NetInfo {
            preferred_derp: NonZeroU32::new(999).map(theirs::DerpRegionId::from),
            working_udp: Some(true),
            ..theirs::NetInfo::default()
        }),
        ..theirs::HostInfo::default()
    }
}

fn check_hostinfo(ours: &Hostinfo) {
    assert_eq!(ours.hostname, "machine-a");
    assert_eq!(ours.os, "linux");
    assert_eq!(ours.ipn_version, "1.92.0");
    assert_eq!(ours.routable_ips, ["192.168.7.0/24".parse().expect("a prefix")]);
    assert_eq!(ours.request_tags, ["tag:server"]);
    assert_eq!(ours.ssh_host_keys, ["ssh-ed25519 AAAA"]);
    assert_eq!((ours.services[0].proto.as_str(), ours.services[0].port), ("peerapi4", 4000));
    let net_info = ours.net_info.as_ref().expect("was given");
    assert_eq!(net_info.preferred_derp, 999);
    assert!(ours.rest.contains_key("DeviceModel"), "what is not read is kept");
}

#[test]
fn a_registration_means_the_same() {
    let json = to_string(&theirs::RegisterRequest {
        version: CapabilityVersion::V130,
        node_key: NodePublicKey::from_bytes([1; 32]),
        old_node_key: Some(NodePublicKey::from_bytes([2; 32])),
        auth: Some("a-secret".into()),
        expiry: Some("2030-01-02T03:04:05Z".parse().expect("a time")),
        followup: Some("https://door.example/register/1".parse().expect("a URL")),
        hostinfo: host_info(),
        ephemeral: true,
        ..theirs::RegisterRequest::default()
    })
    .expect("their encoding");
    let ours: RegisterRequest = serde_json::from_str(&json).expect("our decoding");
    assert_eq!(ours.version, 130);
    assert_eq!(ours.node_key, NodePublic::from_bytes([1; 32]));
    assert_eq!(ours.old_node_key, NodePublic::from_bytes([2; 32]));
    let auth_key = ours.auth.and_then(|auth| auth.auth_key).expect("was given");
    assert_eq!(auth_key.expose(), "a-secret");
    assert_eq!(ours.expiry, Some("2030-01-02T03:04:05Z".parse::<UnixTime>().expect("a time")));
    assert_eq!(ours.followup, "https://door.example/register/1");
    assert!(ours.ephemeral);
    check_hostinfo(&ours.hostinfo.expect("was given"));
}

#[test]
fn the_barest_registration_is_understood() {
    let json = to_string(&theirs::RegisterRequest::default()).expect("their encoding");
    let ours: RegisterRequest = serde_json::from_str(&json).expect("our decoding");
    assert!(ours.old_node_key.is_zero() && ours.auth.is_none() && ours.expiry.is_none() && !ours.ephemeral);
}

#[test]
fn a_map_request_means_the_same() {
    let endpoint: SocketAddr = "192.0.2.7:41641".parse().expect("an address");
    let json = to_string(&theirs::MapRequest {
        version: CapabilityVersion::V130,
        compress: "zstd",
        keep_alive: true,
        node_key: NodePublicKey::from_bytes([1; 32]),
        disco_key: DiscoPublicKey::from_bytes([3; 32]),
        stream: true,
        host_info: Some(host_info()),
        endpoints: vec![theirs::Endpoint { endpoint, ty: theirs::EndpointType::Stun }],
        omit_peers: true,
        ..theirs::MapRequest::default()
    })
    .expect("their encoding");
    let ours: MapRequest = serde_json::from_str(&json).expect("our decoding");
    assert_eq!((ours.version, ours.compress.as_str()), (130, "zstd"));
    assert_eq!(ours.node_key, NodePublic::from_bytes([1; 32]));
    assert_eq!(ours.disco_key, DiscoPublic::from_bytes([3; 32]));
    assert!(ours.keep_alive && ours.stream && ours.omit_peers);
    assert_eq!(ours.endpoints, vec![endpoint]);
    check_hostinfo(&ours.hostinfo.expect("was given"));
}

#[test]
fn the_barest_map_request_is_understood() {
    let json = to_string(&theirs::MapRequest::default()).expect("their encoding");
    let ours: MapRequest = serde_json::from_str(&json).expect("our decoding");
    assert!(!ours.stream && ours.endpoints.is_empty() && ours.hostinfo.is_none() && ours.compress.is_empty());
}
