use proptest::prelude::*;

use super::*;

const TRANSACTION: TransactionId = *b"twelve bytes";

fn request() -> Vec<u8> {
    encode_request(&TRANSACTION, b"tailnode")
}

#[test]
fn crc_matches_the_published_check_value() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

#[test]
fn the_request_of_a_tailscale_client_is_understood() {
    let bytes = request();
    assert_eq!(bytes.len(), 40);
    assert_eq!(bytes[..8], [0, 1, 0, 20, 0x21, 0x12, 0xa4, 0x42]);
    assert_eq!(BindingRequest::parse(&bytes), Some(BindingRequest { transaction: TRANSACTION, length: 40 }));
}

/// RFC 5769 section 2.2 gives 192.0.2.1:32853 as `a147 e112a643`.
#[test]
fn ipv4_is_masked_as_in_the_test_vectors() {
    let request = BindingRequest { transaction: TRANSACTION, length: 40 };
    let answer = request.answer("192.0.2.1:32853".parse().expect("an address")).expect("short enough");
    assert_eq!(answer.len(), 32);
    assert_eq!(answer[20..], [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
}

#[test]
fn answers_do_not_outgrow_requests() {
    let v4 = "203.0.113.9:1".parse().expect("an address");
    let v6 = "[2001:db8::1]:1".parse().expect("an address");
    let bare = BindingRequest { transaction: TRANSACTION, length: HEADER };
    assert_eq!(bare.answer(v4), None);
    let tailscale = BindingRequest { transaction: TRANSACTION, length: 40 };
    assert_eq!(tailscale.answer(v6).map(|answer| answer.len()), Some(MAX_ANSWER));
    assert_eq!(BindingRequest { length: 39, ..tailscale }.answer(v6), None);
}

#[test]
fn silence_for_everything_else() {
    let mut wrong_crc = request();
    wrong_crc[39] ^= 1;
    let mut wrong_cookie = request();
    wrong_cookie[4] ^= 1;
    let mut an_answer = request();
    an_answer[0] = 1;
    let mut longer = request();
    longer.push(0);
    let mut demanding = Vec::new();
    put_header(&mut demanding, BINDING_REQUEST, 8, &TRANSACTION);
    put_attribute(&mut demanding, 0x0003, &[0, 0, 0, 6]);
    let mut overlong_attribute = Vec::new();
    put_header(&mut overlong_attribute, BINDING_REQUEST, 4, &TRANSACTION);
    overlong_attribute.extend_from_slice(&[0x80, 0x22, 0xff, 0xff]);
    for bytes in [wrong_crc, wrong_cookie, an_answer, longer, demanding, overlong_attribute, vec![]] {
        assert_eq!(BindingRequest::parse(&bytes), None, "{bytes:02x?}");
    }
}

proptest! {
    #[test]
    fn the_asker_learns_its_address(v4: [u8; 4], v6: [u8; 16], port: u16, transaction: TransactionId) {
        for ip in [IpAddr::from(v4), IpAddr::from(v6)] {
            let source = SocketAddr::new(ip, port);
            let request = BindingRequest::parse(&encode_request(&transaction, b"tailnode")).expect("our own request");
            let answer = request.answer(source).expect("short enough");
            prop_assert_eq!(parse_answer(&answer), Some((transaction, source)));
        }
    }

    #[test]
    fn random_bytes_never_panic(mut bytes: Vec<u8>, well_formed: bool) {
        let _ = BindingRequest::parse(&bytes);
        if well_formed && bytes.len() >= HEADER {
            let length = u16::try_from(bytes.len() - HEADER).unwrap_or(0);
            bytes[..2].copy_from_slice(&BINDING_REQUEST.to_be_bytes());
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[4..8].copy_from_slice(&MAGIC_COOKIE);
            let _ = BindingRequest::parse(&bytes);
            bytes[0] = 1;
            let _ = parse_answer(&bytes);
        }
    }
}
