//! Both sides of the handshake: two messages, four Diffie-Hellman results.

use super::NoiseError;
use super::message::{INITIATION_LEN, Initiation, RESPONSE_LEN, Response};
use super::record::Transport;
use super::symmetric::Symmetric;
use crate::base::rng::SeededRng;
use crate::wire::key::{MachinePrivate, MachinePublic};

/// A client's side between its first message and the answer.
pub struct Initiator {
    symmetric: Symmetric,
    ephemeral: MachinePrivate,
    own: MachinePrivate,
}

impl Initiator {
    /// Begins a handshake with the responder whose static key is `server`; gives the first message to send.
    ///
    /// # Errors
    /// [`NoiseError::WeakKey`] when `server` is no proper public key.
    pub fn start(
        capability: u16,
        own: MachinePrivate,
        server: MachinePublic,
        rng: &mut SeededRng,
    ) -> Result<(Self, [u8; INITIATION_LEN]), NoiseError> {
        let mut symmetric = Symmetric::new(&prologue(capability), server.as_bytes());
        let ephemeral = MachinePrivate::generate(rng);
        let ephemeral_public = *ephemeral.public().as_bytes();
        symmetric.mix_hash(&ephemeral_public);
        let key = symmetric.mix_key(ephemeral.diffie_hellman(server.as_bytes()))?;
        let sealed_static = symmetric.seal_static(key, own.public().as_bytes());
        let key = symmetric.mix_key(own.diffie_hellman(server.as_bytes()))?;
        let tag = symmetric.seal_nothing(key);
        let message = Initiation { capability, ephemeral: ephemeral_public, sealed_static, tag }.encode();
        Ok((Self { symmetric, ephemeral, own }, message))
    }

    /// Takes the responder's message.
    ///
    /// # Errors
    /// The message is malformed, or not from the holder of the static key named in [`Initiator::start`].
    pub fn finish(self, response: &[u8]) -> Result<Transport, NoiseError> {
        let Self { mut symmetric, ephemeral, own } = self;
        let response = Response::decode(response)?;
        symmetric.mix_hash(&response.ephemeral);
        symmetric.mix_key(ephemeral.diffie_hellman(&response.ephemeral))?;
        let key = symmetric.mix_key(own.diffie_hellman(&response.ephemeral))?;
        symmetric.open_nothing(key, &response.tag)?;
        let (forth, back) = symmetric.split();
        Ok(Transport::new(forth, back))
    }
}

/// A responder's side, complete after one message.
pub struct Accepted {
    /// The initiator's static key: its identity for the whole connection, proven to be its own but not to be known.
    pub peer: MachinePublic,
    pub response: [u8; RESPONSE_LEN],
    pub transport: Transport,
}

/// Answers an initiation as the holder of `own`.
///
/// # Errors
/// [`NoiseError::Decrypt`] when the initiation was made for another static key or altered on its way,
/// [`NoiseError::WeakKey`] when it holds a key of small order.
pub fn respond(
    own: &MachinePrivate,
    initiation: &Initiation,
    rng: &mut SeededRng,
) -> Result<Accepted, NoiseError> {
    let mut symmetric = Symmetric::new(&prologue(initiation.capability), own.public().as_bytes());
    symmetric.mix_hash(&initiation.ephemeral);
    let key = symmetric.mix_key(own.diffie_hellman(&initiation.ephemeral))?;
    let peer = symmetric.open_static(key, &initiation.sealed_static)?;
    let key = symmetric.mix_key(own.diffie_hellman(&peer))?;
    symmetric.open_nothing(key, &initiation.tag)?;

    let ephemeral = MachinePrivate::generate(rng);
    let ephemeral_public = *ephemeral.public().as_bytes();
    symmetric.mix_hash(&ephemeral_public);
    symmetric.mix_key(ephemeral.diffie_hellman(&initiation.ephemeral))?;
    let key = symmetric.mix_key(ephemeral.diffie_hellman(&peer))?;
    let tag = symmetric.seal_nothing(key);
    let (forth, back) = symmetric.split();
    Ok(Accepted {
        peer: MachinePublic::from_bytes(peer),
        response: Response { ephemeral: ephemeral_public, tag }.encode(),
        transport: Transport::new(back, forth),
    })
}

fn prologue(capability: u16) -> Vec<u8> {
    format!("Tailscale Control Protocol v{capability}").into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(seed: u8) -> (MachinePrivate, MachinePrivate, SeededRng) {
        let mut rng = SeededRng::new([seed; 32]);
        (MachinePrivate::generate(&mut rng), MachinePrivate::generate(&mut rng), rng)
    }

    fn shake(seed: u8) -> (Transport, Transport) {
        let (client, server, mut rng) = keys(seed);
        let (initiator, first) =
            Initiator::start(142, client.clone(), server.public(), &mut rng).expect("good key");
        let initiation = Initiation::decode(&first).expect("own encoding");
        let accepted = respond(&server, &initiation, &mut rng).expect("made for this server");
        assert_eq!(accepted.peer, client.public());
        (initiator.finish(&accepted.response).expect("from this server"), accepted.transport)
    }

    /// An initiation for another static key, another version or with any bit changed is refused.
    #[test]
    fn only_the_exact_message_for_this_server_is_accepted() {
        let (client, server, mut rng) = keys(3);
        let (_, first) = Initiator::start(142, client, server.public(), &mut rng).expect("good key");
        let other = MachinePrivate::generate(&mut rng);
        let initiation = Initiation::decode(&first).expect("own encoding");
        assert_eq!(respond(&other, &initiation, &mut rng).err(), Some(NoiseError::Decrypt));
        for index in [0, 1, 5, 37, 84, 85, 100] {
            let mut altered = first;
            altered[index] ^= 1;
            let initiation = Initiation::decode(&altered).expect("header intact");
            assert_eq!(
                respond(&server, &initiation, &mut rng).err(),
                Some(NoiseError::Decrypt),
                "byte {index}"
            );
        }
    }

    #[test]
    fn keys_of_small_order_are_refused_on_both_sides() {
        let (client, server, mut rng) = keys(4);
        let zero = MachinePublic::from_bytes([0; 32]);
        assert_eq!(Initiator::start(142, client.clone(), zero, &mut rng).err(), Some(NoiseError::WeakKey));
        let initiation =
            Initiation { capability: 142, ephemeral: [0; 32], sealed_static: [0; 48], tag: [0; 16] };
        assert_eq!(respond(&server, &initiation, &mut rng).err(), Some(NoiseError::WeakKey));
        let (initiator, _) = Initiator::start(142, client, server.public(), &mut rng).expect("good key");
        let response = Response { ephemeral: [0; 32], tag: [0; 16] }.encode();
        assert_eq!(initiator.finish(&response).err(), Some(NoiseError::WeakKey));
    }

    #[test]
    fn a_response_from_another_server_is_refused() {
        let (client, server, mut rng) = keys(5);
        let (initiator, first) = Initiator::start(142, client, server.public(), &mut rng).expect("good key");
        let accepted =
            respond(&server, &Initiation::decode(&first).expect("own encoding"), &mut rng).expect("fits");
        let mut altered = accepted.response;
        altered[50] ^= 0x80;
        assert_eq!(initiator.finish(&altered).err(), Some(NoiseError::Decrypt));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn records_round_trip_both_ways(seed: u8, messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4078), 1..6)) {
            let (mut client, mut server) = shake(seed);
            for message in &messages {
                for (from, to) in [(&mut client.sealer, &mut server.opener), (&mut server.sealer, &mut client.opener)] {
                    let mut record = Vec::new();
                    from.seal(message, &mut record).expect("fits");
                    let header = *record.first_chunk().expect("has a header");
                    prop_assert_eq!(super::super::record_len(header), Ok(record.len()));
                    prop_assert_eq!(&*to.open(&mut record[3..]).expect("in order"), &message[..]);
                }
            }
        }

        #[test]
        fn random_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..160), well_formed: bool) {
            let (client, server, mut rng) = keys(6);
            let mut bytes = bytes;
            if well_formed {
                bytes.resize(INITIATION_LEN, 7);
                bytes[2..5].copy_from_slice(&[1, 0, 96]);
            }
            if let Ok(initiation) = Initiation::decode(&bytes) {
                prop_assert!(respond(&server, &initiation, &mut rng).is_err());
            }
            let (initiator, _) = Initiator::start(142, client, server.public(), &mut rng).expect("good key");
            bytes.truncate(RESPONSE_LEN);
            prop_assert!(initiator.finish(&bytes).is_err());
        }
    }
}
