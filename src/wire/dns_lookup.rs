//! DNS (RFC 1035, RFC 3596): which addresses a name has. One question, and of the answer the addresses alone: the time child
//! has no resolver but this.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub const PORT: u16 = 53;

/// Longest answer that is read: what servers send to who does not ask for more (RFC 1035, section 4.2.1), and some slack.
pub const ANSWER_MAX: usize = 1232;

/// Most addresses that are taken from one answer.
pub const ADDRESSES_MAX: usize = 8;

const HEADER: usize = 12;
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;
/// More records than fit an answer's bytes are not looked for.
const RECORDS_MAX: u16 = 64;
const CLASS_INTERNET: u16 = 1;
const RESPONSE: u16 = 0x8000;
const RECURSE: u16 = 0x0100;
const TRUNCATED: u16 = 0x0200;
const RESULT: u16 = 0x000f;
const NO_SUCH_NAME: u16 = 3;

/// Which addresses are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Record {
    /// A: IPv4.
    A = 1,
    /// AAAA: IPv6.
    Aaaa = 28,
}

/// Why an answer gives no addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    #[error("not an answer to this question")]
    Stray,
    #[error("an answer that does not add up")]
    Malformed,
    #[error("there is no such name")]
    NoName,
    #[error("the server cannot answer")]
    Failed,
}

/// A question with recursion. `None` for what cannot be a host's name.
#[must_use]
pub fn encode_question(id: u16, name: &str, record: Record) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(HEADER + name.len() + 6);
    for value in [id, RECURSE, 1, 0, 0, 0] {
        out.extend_from_slice(&value.to_be_bytes());
    }
    encode_name(&mut out, name)?;
    out.extend_from_slice(&(record as u16).to_be_bytes());
    out.extend_from_slice(&CLASS_INTERNET.to_be_bytes());
    Some(out)
}

/// The addresses in the answer to `question`, which [`encode_question`] made. Aliases are followed by the server: every
/// address of the kind asked for counts, whatever name it stands under. A truncated answer counts for what it holds.
pub fn decode_answer(bytes: &[u8], question: &[u8]) -> Result<Vec<IpAddr>, LookupError> {
    let (header, mut rest) = bytes.split_first_chunk::<HEADER>().ok_or(LookupError::Stray)?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let asked = question.get(HEADER..).ok_or(LookupError::Stray)?;
    let is_ours = question.first_chunk() == Some(&[header[0], header[1]])
        && word(2) & RESPONSE != 0
        && word(4) == 1
        && rest.get(..asked.len()).is_some_and(|echo| echo.eq_ignore_ascii_case(asked));
    if bytes.len() > ANSWER_MAX || !is_ours {
        return Err(LookupError::Stray);
    }
    match word(2) & RESULT {
        0 => {}
        NO_SUCH_NAME => return Err(LookupError::NoName),
        _ => return Err(LookupError::Failed),
    }
    rest = &rest[asked.len()..];
    let record = asked.len().checked_sub(4).map(|at| u16::from_be_bytes([asked[at], asked[at + 1]]));
    let mut addresses = Vec::new();
    for _ in 0..word(6).min(RECORDS_MAX) {
        let Some((kind, value, behind)) = split_record(rest) else {
            return if word(2) & TRUNCATED != 0 { Ok(addresses) } else { Err(LookupError::Malformed) };
        };
        rest = behind;
        let address = (Some(kind) == record).then(|| address(kind, value)).flatten();
        addresses.extend(address.filter(|_| addresses.len() < ADDRESSES_MAX));
    }
    Ok(addresses)
}

fn encode_name(out: &mut Vec<u8>, name: &str) -> Option<()> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > NAME_MAX {
        return None;
    }
    for label in name.split('.') {
        let is_sound = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if label.is_empty() || label.len() > LABEL_MAX || !is_sound {
            return None;
        }
        out.push(u8::try_from(label.len()).ok()?);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    Some(())
}

/// Type and value of the record at the start of `bytes`, and what follows it. Its name is skipped, not read.
fn split_record(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let rest = skip_name(bytes)?;
    let (fixed, rest) = rest.split_first_chunk::<10>()?;
    let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
    let (value, behind) = rest.split_at_checked(length)?;
    let class = u16::from_be_bytes([fixed[2], fixed[3]]);
    // Of another class nothing is wanted: type 0 is none.
    let kind = if class == CLASS_INTERNET { u16::from_be_bytes([fixed[0], fixed[1]]) } else { 0 };
    Some((kind, value, behind))
}

/// A name ends with an empty label or with a pointer, which is not followed.
fn skip_name(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, rest) = bytes.split_first()?;
        match length {
            0 => return Some(rest),
            0xc0.. => return rest.get(1..),
            1..=63 => bytes = rest.get(usize::from(*length)..)?,
            64.. => return None,
        }
    }
}

fn address(kind: u16, value: &[u8]) -> Option<IpAddr> {
    if kind == Record::A as u16 {
        return Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into());
    }
    (kind == Record::Aaaa as u16).then_some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `question` answered with `records` (each after a pointer to its name) and `flags`.
    fn answer(question: &[u8], flags: u16, count: u16, records: &[u8]) -> Vec<u8> {
        let mut out = question.to_vec();
        out[2..4].copy_from_slice(&flags.to_be_bytes());
        out[6..8].copy_from_slice(&count.to_be_bytes());
        out.extend_from_slice(records);
        out
    }

    fn record(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut out = vec![0xc0, 12];
        for number in [kind, 1, 0, 60, u16::try_from(value.len()).expect("short")] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(value);
        out
    }

    #[test]
    fn a_question_is_laid_out_as_the_rfc_draws_it() {
        let question = encode_question(0x1234, "a.bc", Record::Aaaa).expect("a name");
        assert_eq!(
            question,
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x02bc\x00\x00\x1c\x00\x01"
        );
        for name in ["", ".", "a..b", "a b", &"x".repeat(64), &"x.".repeat(130), "ü.de"] {
            assert_eq!(encode_question(1, name, Record::A), None, "{name}");
        }
    }

    #[test]
    fn addresses_are_taken_and_aliases_passed_over() {
        let question = encode_question(7, "time.example.com", Record::A).expect("a name");
        let records = [record(5, &[1, b'x', 0]), record(1, &[192, 0, 2, 1]), record(28, &[0; 16])].concat();
        let read = decode_answer(&answer(&question, 0x8180, 3, &records), &question);
        assert_eq!(read, Ok(vec!["192.0.2.1".parse().expect("an address")]));
        let six = encode_question(7, "time.example.com", Record::Aaaa).expect("a name");
        let read = decode_answer(&answer(&six, 0x8180, 1, &record(28, &[1; 16])), &six);
        assert_eq!(read, Ok(vec![IpAddr::from([1; 16])]));
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        let question = encode_question(7, "a.b", Record::A).expect("a name");
        let other = encode_question(7, "a.c", Record::A).expect("a name");
        let one = record(1, &[192, 0, 2, 1]);
        assert_eq!(decode_answer(&answer(&other, 0x8180, 1, &one), &question), Err(LookupError::Stray));
        assert_eq!(decode_answer(&question, &question), Err(LookupError::Stray), "the question itself");
        assert_eq!(decode_answer(&answer(&question, 0x8183, 0, &[]), &question), Err(LookupError::NoName));
        assert_eq!(decode_answer(&answer(&question, 0x8182, 0, &[]), &question), Err(LookupError::Failed));
        assert_eq!(
            decode_answer(&answer(&question, 0x8180, 2, &one), &question),
            Err(LookupError::Malformed)
        );
        assert_eq!(
            decode_answer(&answer(&question, 0x8380, 2, &one), &question).map(|found| found.len()),
            Ok(1)
        );
        let many = one.repeat(20);
        let read = decode_answer(&answer(&question, 0x8180, 20, &many), &question);
        assert_eq!(read.map(|found| found.len()), Ok(ADDRESSES_MAX));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), count in any::<u16>(), flags in any::<u16>()) {
            let question = encode_question(7, "a.b", Record::A).expect("a name");
            let _ = decode_answer(&answer(&question, flags | 0x8000, count, &bytes), &question);
            let _ = decode_answer(&bytes, &question);
            let _ = decode_answer(&bytes, &bytes);
        }
    }
}
