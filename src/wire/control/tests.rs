//! What any stranger may send inside Noise: it is decoded or refused, and never more.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Every message that is decoded from bytes of somebody else; whether each was accepted.
fn decode(bytes: &[u8]) -> [bool; 4] {
    [
        serde_json::from_slice::<MapRequest>(bytes).is_ok(),
        serde_json::from_slice::<RegisterRequest>(bytes).is_ok(),
        serde_json::from_slice::<Hostinfo>(bytes).is_ok(),
        serde_json::from_slice::<MapResponse>(bytes).is_ok(),
    ]
}

/// Every member that a request has, each with a sound value.
fn sound() -> Value {
    let key = |kind: &str| format!("{kind}:{}", "01".repeat(32));
    json!({
        "Version": 142, "NodeKey": key("nodekey"), "OldNodeKey": key("nodekey"), "DiscoKey": key("discokey"),
        "Auth": {"AuthKey": "secret"}, "Expiry": "2030-01-02T03:04:05.678Z", "Followup": "https://a/b", "Ephemeral": true,
        "Stream": true, "OmitPeers": false, "ReadOnly": false, "KeepAlive": true, "Compress": "zstd",
        "MapSessionHandle": "h", "MapSessionSeq": 7,
        "Endpoints": ["192.0.2.1:41641", "[2001:db8::1]:1"], "EndpointTypes": [1, 2],
        "Hostinfo": {
            "Hostname": "machine", "OS": "linux", "IPNVersion": "1.90", "RoutableIPs": ["10.0.0.0/8", "::/0"],
            "RequestTags": ["tag:a"], "Services": [{"Proto": "tcp", "Port": 22, "Description": "ssh"}],
            "NetInfo": {"PreferredDERP": 900, "WorkingUDP": true, "DERPLatency": {"900-v4": 0.01}, "X": null},
            "sshHostKeys": ["ssh-ed25519 AAAA"], "Unknown": {"deep": [1, 2]},
        },
    })
}

/// Values of every kind, texts that nearly are keys, addresses, prefixes or times, and numbers at the edges.
fn strange() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        "nodekey:[0-9a-fA-F]{60,68}",
        "[0-9.:\\[\\]/]{0,40}",
        "[-+0-9]{1,12}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,20}(Z|[+-][0-9]{2}:[0-9]{2})",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The places of every value inside, as JSON pointers (RFC 6901); no key of ours needs an escape.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, inner)| places(inner, &format!("{at}/{key}"), found));
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, inner)| places(inner, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

#[test]
fn the_sound_request_is_accepted() {
    let [map, register, ..] = decode(sound().to_string().as_bytes());
    assert!(map && register);
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>) {
        decode(&bytes);
    }

    #[test]
    fn a_bent_request_is_decoded_or_refused(cut: prop::sample::Index, at: prop::sample::Index, byte: u8) {
        let mut bytes = sound().to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        decode(&bytes);
        decode(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn any_value_anywhere_is_decoded_or_refused(place: prop::sample::Index, value in strange()) {
        let mut request = sound();
        let mut all = Vec::new();
        places(&request, "", &mut all);
        *request.pointer_mut(&all[place.index(all.len())]).expect("a place of it") = value;
        decode(request.to_string().as_bytes());
    }
}
