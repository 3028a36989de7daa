//! Disco packets sealed on one side and opened on the other.

use std::net::SocketAddr;

use genkan::base::rng::SeededRng;
use genkan::wire::disco::{DiscoBox, DiscoError, Message, TxId, is_disco, sender};
use genkan::wire::key::{DiscoPrivate, DiscoPublic, NodePublic};
use ts_disco_protocol::{CallMeMaybe, Packet, Ping, Plaintext, Pong, is_disco_message};
use ts_keys::{DiscoPrivateKey, DiscoPublicKey, Export, NodePublicKey};

const TX: [u8; 12] = [7; 12];
const NODE: [u8; 32] = [8; 32];
const ENDPOINTS: [&str; 2] = ["192.0.2.7:41641", "[2001:db8::7]:1234"];

/// Our key pair and theirs, each as the other's type too.
struct Pair {
    ours: DiscoPrivate,
    theirs: DiscoPrivateKey,
}

impl Pair {
    fn new() -> Self {
        Self {
            ours: DiscoPrivate::from_bytes([0x11; 32]),
            theirs: Export::<DiscoPrivateKey>::from_bytes([0x22; 32]).import(),
        }
    }

    fn our_public(&self) -> DiscoPublicKey {
        DiscoPublicKey::from_bytes(*self.ours.public().as_bytes())
    }

    fn their_public(&self) -> DiscoPublic {
        DiscoPublic::from_bytes(self.theirs.public_key().to_x25519_dalek().to_bytes())
    }

    fn our_box(&self) -> DiscoBox {
        DiscoBox::new(&self.ours, &self.their_public()).expect("a proper key")
    }

    /// Seals with ours, opens with theirs.
    fn to_them(&self, message: &Message, check: impl FnOnce(&Packet<Plaintext>)) {
        let mut packet = self.our_box().seal(message, &mut SeededRng::new([1; 32]));
        assert!(is_disco_message(&packet));
        let sealed = Packet::from_encrypted_bytes_mut(&mut packet).expect("their header");
        assert_eq!(*sealed.sender_pubkey(), self.our_public());
        check(sealed.decrypt_in_place(&self.theirs).expect("their box"));
    }

    /// Opens with ours what `fill` made with theirs.
    fn to_us(&self, length: usize, fill: impl FnOnce(&mut [u8])) -> Result<Option<Message>, DiscoError> {
        let mut packet = Packet::vec_for_message(length);
        fill(&mut packet);
        assert!(is_disco(&packet));
        assert_eq!(sender(&packet), Some(self.their_public()));
        self.our_box().open(&packet)
    }
}

fn addresses() -> Vec<SocketAddr> {
    ENDPOINTS.iter().map(|text| text.parse().expect("an address")).collect()
}

#[test]
fn pings_agree_with_and_without_padding() {
    let pair = Pair::new();
    let ping = Message::Ping { tx_id: TxId(TX), node: Some(NodePublic::from_bytes(NODE)) };
    pair.to_them(&ping, |packet| {
        let seen = packet.as_msg::<Ping>().expect("a ping");
        assert_eq!((seen.tx_id, seen.node_key, seen.padding.len()), (TX, NodePublicKey::from_bytes(NODE), 0));
    });
    for padding in [0, 1, 1200] {
        let opened = pair.to_us(Ping::size_with_padding(padding), |bytes| {
            let packet = Packet::init_from_bytes::<Ping>(bytes, |ping| {
                ping.tx_id = TX;
                ping.node_key = NodePublicKey::from_bytes(NODE);
            });
            packet
                .expect("fits")
                .encrypt_in_place(&pair.theirs, &pair.our_public(), [9; 24])
                .expect("sealed");
        });
        assert_eq!(opened, Ok(Some(ping.clone())), "{padding} bytes of padding");
    }
}

#[test]
fn pongs_agree_on_both_address_families() {
    let pair = Pair::new();
    for seen_from in addresses() {
        let pong = Message::Pong { tx_id: TxId(TX), seen_from };
        pair.to_them(&pong, |packet| {
            let seen = packet.as_msg::<Pong>().expect("a pong");
            assert_eq!((seen.tx_id, seen.src.socket_addr()), (TX, seen_from));
        });
        let opened = pair.to_us(Pong::size(), |bytes| {
            let packet = Packet::init_from_bytes::<Pong>(bytes, |pong| {
                *pong = Pong { tx_id: TX, src: seen_from.into() };
            });
            packet
                .expect("fits")
                .encrypt_in_place(&pair.theirs, &pair.our_public(), [9; 24])
                .expect("sealed");
        });
        assert_eq!(opened, Ok(Some(pong)));
    }
}

#[test]
fn calls_list_the_same_endpoints() {
    let pair = Pair::new();
    let call = Message::CallMeMaybe(addresses());
    pair.to_them(&call, |packet| {
        let seen = packet.as_msg::<CallMeMaybe>().expect("a call");
        let seen: Vec<_> = seen.endpoints.iter().map(|endpoint| endpoint.socket_addr()).collect();
        assert_eq!(seen, addresses());
    });
    let opened = pair.to_us(CallMeMaybe::size_for_endpoint_count(ENDPOINTS.len()), |bytes| {
        let packet = Packet::init_from_bytes::<CallMeMaybe>(bytes, |call| {
            for (place, address) in call.endpoints.iter_mut().zip(addresses()) {
                *place = address.into();
            }
        });
        packet.expect("fits").encrypt_in_place(&pair.theirs, &pair.our_public(), [9; 24]).expect("sealed");
    });
    assert_eq!(opened, Ok(Some(call)));
}
