//! Map messages as a client reads them: length (4 bytes, little-endian), then JSON, zstd-compressed when it asked so.

use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use zstd::bulk::Compressor;

use crate::wire::control::{MapRequest, MapResponse};

const LENGTH: usize = 4;

/// The fastest: a map is read once, and a full one of a large tailnet is compressed on a small box.
const LEVEL: i32 = 1;

/// Compressors kept for reuse, some hundred KiB each; more are made when more threads compress at once.
const COMPRESSORS_KEPT: usize = 4;

/// How one client wants its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Plain,
    Zstd,
}

impl Coding {
    /// `None`: a compression nobody has heard of.
    pub fn of(request: &MapRequest) -> Option<Self> {
        match request.compress.as_str() {
            "" => Some(Self::Plain),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Encodes messages for all streams of the process.
pub struct MapEncoder {
    compressors: Mutex<Vec<Compressor<'static>>>,
    /// Made once: clients recognise the very bytes and skip decoding them.
    keep_alive: Mutex<Option<Bytes>>,
}

impl MapEncoder {
    pub fn new() -> Self {
        Self { compressors: Mutex::default(), keep_alive: Mutex::default() }
    }

    /// One message as the bytes to send.
    pub fn frame(&self, coding: Coding, message: &MapResponse) -> io::Result<Bytes> {
        match coding {
            Coding::Plain => plain(message).map(Bytes::from),
            Coding::Zstd if message.keep_alive => self.keep_alive(message),
            Coding::Zstd => self.compressed(message),
        }
    }

    fn keep_alive(&self, message: &MapResponse) -> io::Result<Bytes> {
        let mut kept = self.keep_alive.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frame) = &*kept {
            return Ok(frame.clone());
        }
        let frame = self.compressed(message)?;
        *kept = Some(frame.clone());
        Ok(frame)
    }

    fn compressed(&self, message: &MapResponse) -> io::Result<Bytes> {
        let json = serde_json::to_vec(message)?;
        let mut frame = vec![0; LENGTH + zstd::zstd_safe::compress_bound(json.len())];
        let length =
            self.with_compressor(|compressor| compressor.compress_to_buffer(&json, &mut frame[LENGTH..]))?;
        frame.truncate(LENGTH + length);
        set_length(&mut frame)?;
        frame.shrink_to_fit();
        Ok(frame.into())
    }

    fn with_compressor<T>(
        &self,
        work: impl FnOnce(&mut Compressor<'static>) -> io::Result<T>,
    ) -> io::Result<T> {
        let kept = self.compressors.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut compressor = kept.map_or_else(|| Compressor::new(LEVEL), Ok)?;
        let result = work(&mut compressor);
        let mut idle = self.compressors.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < COMPRESSORS_KEPT {
            idle.push(compressor);
        }
        result
    }
}

fn plain(message: &MapResponse) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; LENGTH];
    serde_json::to_writer(&mut frame, message)?;
    set_length(&mut frame)?;
    Ok(frame)
}

fn set_length(frame: &mut [u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len() - LENGTH).map_err(io::Error::other)?;
    frame[..LENGTH].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep_alive() -> MapResponse {
        MapResponse { keep_alive: true, ..MapResponse::default() }
    }

    #[test]
    fn a_plain_frame_is_length_and_json() {
        let frame = MapEncoder::new().frame(Coding::Plain, &keep_alive()).expect("encodes");
        assert_eq!(&frame[..], b"\x12\0\0\0{\"KeepAlive\":true}");
    }

    #[test]
    fn a_compressed_frame_holds_one_zstd_frame() {
        let message = MapResponse { domain: "example.net".repeat(100), ..MapResponse::default() };
        let frame = MapEncoder::new().frame(Coding::Zstd, &message).expect("encodes");
        let (length, body) = frame.split_first_chunk::<4>().expect("has a length");
        assert_eq!(usize::try_from(u32::from_le_bytes(*length)), Ok(body.len()));
        let json = zstd::bulk::decompress(body, 10_000).expect("one zstd frame");
        assert_eq!(serde_json::from_slice::<MapResponse>(&json).expect("decodes"), message);
        assert!(body.len() < 200);
    }

    #[test]
    fn keep_alives_share_one_buffer() {
        let encoder = MapEncoder::new();
        let first = encoder.frame(Coding::Zstd, &keep_alive()).expect("encodes");
        let second = encoder.frame(Coding::Zstd, &keep_alive()).expect("encodes");
        assert_eq!(first.as_ptr(), second.as_ptr());
    }
}
