//! The control channel's encryption: `Noise_IK_25519_ChaChaPoly_BLAKE2s` (the Noise Protocol Framework, revision 34)
//! in Tailscale's framing.
//!
//! ```text
//! initiator                                   responder
//!   Initiator::start --- initiation, 101 ---> respond
//!   finish           <--- response, 51 ------ Accepted { peer, capability, transport }
//!   Transport        <--- records, <=4096 --> Transport
//!                    <--- early payload ----- (the first plaintext of the responder)
//! ```
//!
//! Every message begins with its type; all lengths are big-endian. The transport departs from the framework in one
//! point: the record counter in its nonce is big-endian.
//!
//! Finishing the handshake proves that the peer holds *a* machine key, not that the key is known.

pub mod early_payload;
mod handshake;
mod message;
mod record;
mod symmetric;

pub use handshake::{Accepted, Initiator, respond};
pub use message::{INITIATION_LEN, Initiation, RESPONSE_LEN, encode_error};
pub use record::{MAX_PLAINTEXT, MAX_RECORD, Opener, RECORD_HEADER, Sealer, Transport, record_len};

/// Why the channel cannot go on. All but the last two are the peer's fault; all are final for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    #[error("a handshake message has the wrong length")]
    MessageLength,
    #[error("a message of type {0:#04x} is not expected here")]
    MessageType(u8),
    #[error("a record's length is outside 16..=4093")]
    RecordLength,
    #[error("the peer sent a key that gives an all-zero shared secret")]
    WeakKey,
    /// In a first message this usually means that the initiator knows another static key of the responder.
    #[error("a message does not decrypt")]
    Decrypt,
    #[error("an early payload is longer than accepted, or not what it should be")]
    EarlyPayload,
    #[error("the plaintext does not fit one record")]
    PlaintextLength,
    #[error("the record counter is exhausted")]
    Exhausted,
}
