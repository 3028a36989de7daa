use ipnet::Ipv4Net;
use proptest::prelude::*;

use super::*;

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a prefix")
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

fn ack() -> Message {
    let options = Options {
        mask: Some(ip("255.255.255.0")),
        routers: vec![ip("192.168.1.1")],
        dns: vec![ip("192.168.1.1"), ip("9.9.9.9")],
        host_name: Some("genkan".into()),
        domain: Some("home.arpa".into()),
        mtu: Some(1492),
        broadcast: Some(ip("192.168.1.255")),
        time_servers: vec![ip("192.168.1.1")],
        requested: Some(ip("192.168.1.10")),
        lease: Some(86_400),
        server: Some(ip("192.168.1.1")),
        wanted: vec![1, 3, 6],
        explanation: Some("no".into()),
        size_max: Some(1472),
        renewal: Some(43_200),
        rebinding: Some(75_600),
        vendor_class: Some("genkan".into()),
        client_id: Some(vec![1, 2, 0, 0, 0, 0, 1]),
        routes: Some(vec![
            Route { prefix: net("10.0.0.0/8"), via: ip("192.168.1.2") },
            Route { prefix: net("0.0.0.0/0"), via: ip("192.168.1.1") },
            Route { prefix: net("172.16.128.0/17"), via: ip("0.0.0.0") },
        ]),
    };
    Message {
        is_reply: true,
        kind: Kind::Ack,
        transaction: 0xdead_beef,
        seconds: 3,
        wants_broadcast: true,
        client: ip("192.168.1.10"),
        given: ip("192.168.1.10"),
        hardware: [2, 0, 0, 0, 0, 1],
        options,
    }
}

#[test]
fn every_field_survives_the_wire() {
    let message = ack();
    assert_eq!(Message::decode(&message.encode()), Ok(message));
}

#[test]
fn a_discover_is_laid_out_as_the_rfc_draws_it() {
    let message = Message {
        is_reply: false,
        kind: Kind::Discover,
        wants_broadcast: false,
        client: Ipv4Addr::UNSPECIFIED,
        given: Ipv4Addr::UNSPECIFIED,
        options: Options { wanted: vec![1, 3], ..Options::default() },
        ..ack()
    };
    let bytes = message.encode();
    assert_eq!(bytes.len(), 300);
    assert_eq!(bytes[..12], [1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 0, 3, 0, 0]);
    assert_eq!(bytes[28..34], [2, 0, 0, 0, 0, 1]);
    assert_eq!(bytes[236..248], [99, 130, 83, 99, 53, 1, 1, 55, 2, 1, 3, 255]);
}

/// `options` behind a header that is sound, with `file` and `server_name` in their places.
fn message_bytes(options: &[u8], file: &[u8], server_name: &[u8]) -> Vec<u8> {
    let mut bytes = ack().encode();
    bytes.truncate(240);
    bytes[44..44 + server_name.len()].copy_from_slice(server_name);
    bytes[108..108 + file.len()].copy_from_slice(file);
    bytes.extend_from_slice(options);
    bytes
}

#[test]
fn options_are_read_from_the_fields_of_bootp_too() {
    let bytes = message_bytes(
        &[53, 1, 5, 52, 1, 3, 3, 4, 10, 0, 0, 1, 255],
        &[6, 4, 10, 0, 0, 2, 255],
        &[15, 3, b'l', b'a', b'n', 255],
    );
    let options = Message::decode(&bytes).expect("sound").options;
    assert_eq!(options.routers, [ip("10.0.0.1")]);
    assert_eq!(options.dns, [ip("10.0.0.2")]);
    assert_eq!(options.domain.as_deref(), Some("lan"));
}

#[test]
fn an_option_in_pieces_is_one() {
    let bytes = message_bytes(&[53, 1, 5, 6, 2, 10, 0, 6, 2, 0, 2, 255], &[], &[]);
    assert_eq!(Message::decode(&bytes).expect("sound").options.dns, [ip("10.0.0.2")]);
}

#[test]
fn what_does_not_add_up_counts_as_absent() {
    for (options, why) in [
        (&[53, 1, 5, 1, 3, 255, 255, 255][..], "mask of three octets"),
        (&[53, 1, 5, 51, 1, 9], "lease of one octet"),
        (&[53, 1, 5, 121, 5, 33, 10, 0, 0, 1], "prefix of 33 bits"),
        (&[53, 1, 5, 121, 4, 24, 10, 0, 0], "route that ends early"),
        (&[53, 1, 5, 15, 2, 0xc3, 0x28], "text that is not ASCII"),
        (&[53, 1, 5, 15, 2, 0, 0], "text of zeros"),
        (&[53, 1, 5, 3, 200, 1], "value that ends early"),
        (&[53, 1, 5, 3], "code without length"),
    ] {
        let message = Message::decode(&message_bytes(options, &[], &[])).expect(why);
        assert_eq!(message.options, Options::default(), "{why}");
    }
}

#[test]
fn lists_end_at_their_limit() {
    let mut options = vec![53, 1, 5, 6, 80];
    options.extend([10; 80]);
    options.extend([121, 250]);
    options.extend([0, 10, 0, 0, 1].repeat(50));
    let options = Message::decode(&message_bytes(&options, &[], &[])).expect("sound").options;
    assert_eq!((options.dns.len(), options.routes.map(|routes| routes.len())), (LIST_MAX, Some(ROUTES_MAX)));
}

#[test]
fn what_is_no_message_is_told_apart() {
    let sound = ack().encode();
    let with = |at: usize, byte: u8| {
        let mut bytes = sound.clone();
        bytes[at] = byte;
        Message::decode(&bytes)
    };
    assert_eq!(with(0, 3), Err(NotDhcp::Header));
    assert_eq!(with(1, 6), Err(NotDhcp::Header), "a token ring");
    assert_eq!(with(236, 0), Err(NotDhcp::Cookie));
    assert_eq!(with(242, 9), Err(NotDhcp::Kind));
    assert_eq!(Message::decode(&sound[..239]), Err(NotDhcp::Length));
    assert_eq!(Message::decode(&vec![0; MESSAGE_MAX + 1]), Err(NotDhcp::Length));
}

#[test]
fn a_packet_is_read_only_from_a_server_to_a_client() {
    let mut packet = encode_packet(ip("192.168.1.1"), ip("255.255.255.255"), &ack());
    assert_eq!(decode_packet(&packet), Err(NotDhcp::Packet), "from a client to a server");
    packet[20..24].copy_from_slice(&[0, 67, 0, 68]);
    assert_eq!(decode_packet(&packet), Ok(ack()));
    packet.extend([0; 40]);
    assert_eq!(decode_packet(&packet), Ok(ack()), "padding of the frame");
    packet[24..26].copy_from_slice(&7_u16.to_be_bytes());
    assert_eq!(decode_packet(&packet), Err(NotDhcp::Length));
    packet[9] = 6;
    assert_eq!(decode_packet(&packet), Err(NotDhcp::Packet), "TCP");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        let _ = Message::decode(&bytes);
        let _ = decode_packet(&bytes);
    }

    #[test]
    fn no_options_panic_and_what_is_read_can_be_written(
        options in prop::collection::vec(any::<u8>(), 0..400),
        file in prop::collection::vec(any::<u8>(), 0..128),
        server_name in prop::collection::vec(any::<u8>(), 0..64),
        overload in 0_u8..5,
    ) {
        let mut all = vec![53, 1, 5, 52, 1, overload];
        all.extend(options);
        if let Ok(message) = Message::decode(&message_bytes(&all, &file, &server_name)) {
            let mut again = message.encode();
            again.truncate(MESSAGE_MAX);
            let _ = Message::decode(&again);
        }
    }

    #[test]
    fn a_changed_byte_never_panics(at in 0_usize..400, byte in any::<u8>()) {
        let mut bytes = ack().encode();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = Message::decode(&bytes);
    }
}
