//! SNTP (RFC 4330; packets of RFC 5905): one question to a time server, and its answer.
//!
//! The question's transmit timestamp is random: the server must echo it, and it says nothing of a clock that may stand in 1970.
//! What the answer means is worked out from the time the question took, by a clock that only runs forward.

use std::time::Duration;

pub const PORT: u16 = 123;

/// Bytes of a question, and of an answer without extensions.
pub const LENGTH: usize = 48;

/// Longest answer that is looked at: extensions and authenticators are not understood.
pub const ANSWER_MAX: usize = 1024;

/// Seconds from 1900-01-01 (era 0 of NTP) to 1970-01-01.
const TO_UNIX: i64 = 2_208_988_800;
/// Seconds of an era: the timestamps of a packet begin anew in 2036.
const ERA: i64 = 1 << 32;

const VERSION: u8 = 4;
const CLIENT: u8 = 3;
const SERVER: u8 = 4;
const NOT_SYNCHRONISED: u8 = 3;
const STRATUM_MAX: u8 = 15;
/// A server this far from its reference knows no time worth having (RFC 5905, MAXDISP).
const DISPERSION_MAX: Duration = Duration::from_secs(16);

/// Chosen at random for each question; comes back in the answer.
pub type Nonce = [u8; 8];

/// Nanoseconds since 1970-01-01T00:00:00Z, which reach from 1677 to 2262.
pub type UnixNanos = i64;

/// What a server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// When the question arrived there.
    pub received: Stamp,
    /// When the answer left.
    pub sent: Stamp,
    /// Bound of the server's own error: half the way to its reference and its dispersion.
    pub error: Duration,
    /// Servers between it and a reference clock, itself counted.
    pub stratum: u8,
}

/// A timestamp of a packet: seconds within an era that it does not name, and a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub seconds: u32,
    pub fraction: u32,
}

/// Why an answer gives no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no answer of a time server")]
    Malformed,
    #[error("an answer to another question")]
    Nonce,
    /// A kiss-o'-death (RFC 4330, section 8): "RATE" asks for patience, "DENY" and "RSTR" for none of our packets.
    #[error("the server refuses: {}", kiss_text(*.0))]
    Kiss([u8; 4]),
    #[error("the server does not know the time itself")]
    NotSynchronised,
}

impl Refusal {
    /// The server answered, and wants to be asked no more, or less often.
    #[must_use]
    pub fn is_kiss(self) -> bool {
        matches!(self, Self::Kiss(_))
    }
}

/// A client's question.
#[must_use]
pub fn encode_question(nonce: Nonce) -> [u8; LENGTH] {
    let mut out = [0; LENGTH];
    out[0] = (VERSION << 3) | CLIENT;
    out[40..48].copy_from_slice(&nonce);
    out
}

/// Reads what came back to the question that carried `nonce`. Extensions behind the first 48 bytes are not looked at.
pub fn decode_answer(bytes: &[u8], nonce: Nonce) -> Result<Answer, Refusal> {
    if bytes.len() > ANSWER_MAX {
        return Err(Refusal::Malformed);
    }
    let packet = bytes.first_chunk::<LENGTH>().ok_or(Refusal::Malformed)?;
    let (leap, version, mode) = (packet[0] >> 6, (packet[0] >> 3) & 7, packet[0] & 7);
    if mode != SERVER || !(3..=VERSION).contains(&version) {
        return Err(Refusal::Malformed);
    }
    if field::<8>(packet, 24) != nonce {
        return Err(Refusal::Nonce);
    }
    let stratum = packet[1];
    if stratum == 0 {
        return Err(Refusal::Kiss(field(packet, 12)));
    }
    let error = short(field(packet, 4)) / 2 + short(field(packet, 8));
    let sent = Stamp::decode(field(packet, 40));
    let is_blank = sent.seconds == 0 && sent.fraction == 0;
    if leap == NOT_SYNCHRONISED || stratum > STRATUM_MAX || is_blank || error > DISPERSION_MAX {
        return Err(Refusal::NotSynchronised);
    }
    Ok(Answer { received: Stamp::decode(field(packet, 32)), sent, error, stratum })
}

/// A server's answer, for tests and for whoever plays a server.
#[must_use]
pub fn encode_answer(answer: &Answer, nonce: Nonce) -> [u8; LENGTH] {
    let mut out = [0; LENGTH];
    out[0] = (VERSION << 3) | SERVER;
    out[1] = answer.stratum;
    let dispersion = u32::try_from((answer.error.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX);
    out[8..12].copy_from_slice(&dispersion.to_be_bytes());
    out[24..32].copy_from_slice(&nonce);
    out[32..40].copy_from_slice(&answer.received.encode());
    out[40..48].copy_from_slice(&answer.sent.encode());
    out
}

impl Answer {
    /// True time at the moment the answer came, and how far it may be off: the question took `took`, and how that was
    /// shared by the two ways is not known (RFC 4330, section 5). `near` tells the era. `None` when the server claims to
    /// have thought longer than the question took.
    #[must_use]
    pub fn time(&self, took: Duration, near: UnixNanos) -> Option<(UnixNanos, Duration)> {
        /// A server's clock may tick differently while it thinks, by this much.
        const TICK: i64 = 1_000_000;
        let thought = self.sent.unix(near).checked_sub(self.received.unix(near))?;
        let travelled = i64::try_from(took.as_nanos()).ok()?.checked_sub(thought)?;
        if thought < -TICK || travelled < -TICK {
            return None;
        }
        let half = travelled.max(0) / 2;
        let error = self.error.checked_add(Duration::from_nanos(half.unsigned_abs()))?;
        Some((self.sent.unix(near).checked_add(half)?, error))
    }
}

impl Stamp {
    fn decode(bytes: [u8; 8]) -> Self {
        let number = u64::from_be_bytes(bytes);
        let half = |number: u64| u32::try_from(number & u64::from(u32::MAX)).expect("32 bits");
        Self { seconds: half(number >> 32), fraction: half(number) }
    }

    fn encode(self) -> [u8; 8] {
        ((u64::from(self.seconds) << 32) | u64::from(self.fraction)).to_be_bytes()
    }

    /// The stamp of a point in time, in whichever era that is.
    #[must_use]
    pub fn at(time: UnixNanos) -> Self {
        let seconds = (time.div_euclid(NANOS) + TO_UNIX).rem_euclid(ERA);
        let fraction = (time.rem_euclid(NANOS) << 32) / NANOS;
        let cut = |number: i64| u32::try_from(number).expect("less than 2^32");
        Self { seconds: cut(seconds), fraction: cut(fraction) }
    }

    /// The point in time that is within half an era (68 years) of `near`.
    #[must_use]
    pub fn unix(self, near: UnixNanos) -> UnixNanos {
        let near_seconds = near.div_euclid(NANOS);
        let in_first_era = i64::from(self.seconds) - TO_UNIX;
        let ahead = (in_first_era - near_seconds + ERA / 2).rem_euclid(ERA) - ERA / 2;
        let fraction = (i64::from(self.fraction) * NANOS) >> 32;
        near_seconds.saturating_add(ahead).saturating_mul(NANOS).saturating_add(fraction)
    }
}

const NANOS: i64 = 1_000_000_000;

/// Seconds with 16 bits of fraction (RFC 5905, "short format").
fn short(bytes: [u8; 4]) -> Duration {
    Duration::from_nanos((u64::from(u32::from_be_bytes(bytes)) * NANOS.unsigned_abs()) >> 16)
}

fn field<const N: usize>(packet: &[u8; LENGTH], at: usize) -> [u8; N] {
    *packet[at..].first_chunk().expect("every field lies within the packet")
}

fn kiss_text(code: [u8; 4]) -> String {
    code.iter().filter(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NONCE: Nonce = [1, 2, 3, 4, 5, 6, 7, 8];
    /// 2026-11-22T12:00:00Z.
    const NOW: UnixNanos = 1_795_348_800 * NANOS;

    fn answer() -> Answer {
        let error = Duration::from_millis(250);
        Answer { received: Stamp::at(NOW), sent: Stamp::at(NOW + NANOS / 50), error, stratum: 2 }
    }

    #[test]
    fn an_answer_gives_the_time_and_its_bound() {
        let read = decode_answer(&encode_answer(&answer(), NONCE), NONCE).expect("sound");
        assert_eq!(read, answer());
        let (time, error) = read.time(Duration::from_millis(60), NOW).expect("a time");
        assert!((time - NOW - 40_000_000).abs() < 10, "{}", time - NOW);
        assert!(error.abs_diff(Duration::from_millis(270)) < Duration::from_micros(1), "{error:?}");
        assert_eq!(read.time(Duration::ZERO, NOW), None, "thought longer than it was away");
    }

    #[test]
    fn a_question_shows_no_clock() {
        let question = encode_question(NONCE);
        assert_eq!((question[0], &question[40..]), (0x23, &NONCE[..]));
        assert!(question[1..40].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn answers_without_worth_are_refused() {
        let with = |at: usize, byte: u8| {
            let mut packet = encode_answer(&answer(), NONCE);
            packet[at] = byte;
            decode_answer(&packet, NONCE)
        };
        assert_eq!(with(0, 0x23), Err(Refusal::Malformed), "a question");
        assert_eq!(with(0, 0x0c), Err(Refusal::Malformed), "version 1");
        assert_eq!(with(0, 0xe4), Err(Refusal::NotSynchronised), "leap 3");
        assert_eq!(with(1, 16), Err(Refusal::NotSynchronised), "stratum 16");
        assert_eq!(with(8, 1), Err(Refusal::NotSynchronised), "256 s of dispersion");
        assert_eq!(with(24, 9), Err(Refusal::Nonce));
        let mut kiss = encode_answer(&answer(), NONCE);
        kiss[1] = 0;
        kiss[12..16].copy_from_slice(b"RATE");
        let refusal = decode_answer(&kiss, NONCE).expect_err("a kiss");
        assert_eq!(
            (refusal, refusal.to_string().as_str()),
            (Refusal::Kiss(*b"RATE"), "the server refuses: RATE")
        );
        assert_eq!(decode_answer(&kiss[..47], NONCE), Err(Refusal::Malformed));
        let mut blank = encode_answer(&answer(), NONCE);
        blank[40..48].fill(0);
        assert_eq!(decode_answer(&blank, NONCE), Err(Refusal::NotSynchronised));
    }

    #[test]
    fn the_era_rolls_over_in_2036() {
        // 2036-02-07T06:28:16Z, the first second of era 1.
        let turn = (ERA - TO_UNIX) * NANOS;
        assert_eq!(Stamp::at(turn), Stamp { seconds: 0, fraction: 0 });
        for time in [turn - NANOS, turn, turn + NANOS, NOW, NOW + 60 * 365 * 86_400 * NANOS] {
            assert_eq!(Stamp::at(time).unix(NOW), time);
        }
        assert_eq!(Stamp::at(0).unix(NOW), 0, "1970 is seen as 1970");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), took in any::<u64>(), near in any::<i64>()) {
            let mut bytes = bytes;
            if bytes.len() >= LENGTH {
                bytes[0] = 0x24;
                bytes[24..32].copy_from_slice(&NONCE);
            }
            if let Ok(answer) = decode_answer(&bytes, NONCE) {
                let _ = answer.time(Duration::from_nanos(took), near);
            }
        }

        #[test]
        fn every_time_of_a_century_survives(seconds in 0_i64..60 * 365 * 86_400, nanos in 0..NANOS) {
            let time = NOW + seconds * NANOS + nanos;
            prop_assert!((Stamp::at(time).unix(NOW) - time).abs() <= 1);
        }
    }
}
