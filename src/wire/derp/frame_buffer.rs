//! A byte stream cut into frames, never holding more than one frame's limit plus what one read brought.

use bytes::{Buf, BytesMut};

use super::{FrameError, HEADER, KEY, MAX_INFO, MAX_PACKET, MAX_SMALL, MAX_UNKNOWN, NONCE, kind};

/// Space offered to one read, in bytes: a dozen tunnelled packets, and what an idle connection costs.
const READ_SPACE: usize = 16 << 10;

/// Memory that held a longer frame than this is given back: such are only introductions, which come once.
const KEEP: usize = 128 << 10;

/// One frame, its body not yet looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawFrame<'a> {
    pub kind: u8,
    pub body: &'a [u8],
}

/// Incremental reader of one direction. Feed it by [`FrameBuffer::space`] or [`FrameBuffer::push`], then poll until `None`.
#[derive(Debug)]
pub struct FrameBuffer {
    bytes: BytesMut,
    /// Bytes of the frame handed out last, still in front.
    handed_out: usize,
    /// Bytes of an unknown frame that have yet to arrive, only to be thrown away.
    skipping: usize,
    limit: fn(u8) -> Option<usize>,
}

impl FrameBuffer {
    /// For what a client writes.
    #[must_use]
    pub fn of_client() -> Self {
        Self::new(client_limit)
    }

    /// For what a relay writes.
    #[must_use]
    pub fn of_server() -> Self {
        Self::new(server_limit)
    }

    fn new(limit: fn(u8) -> Option<usize>) -> Self {
        Self { bytes: BytesMut::new(), handed_out: 0, skipping: 0, limit }
    }

    /// Where the next read appends; has room for several packets.
    pub fn space(&mut self) -> &mut BytesMut {
        self.drop_handed_out();
        if self.bytes.capacity() - self.bytes.len() < READ_SPACE / 4 {
            self.bytes.reserve(READ_SPACE);
        }
        &mut self.bytes
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.drop_handed_out();
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame of a known type; unknown types are skipped. `None`: more bytes are needed.
    pub fn poll_frame(&mut self) -> Result<Option<RawFrame<'_>>, FrameError> {
        self.drop_handed_out();
        loop {
            self.drop_skipped();
            let Some((kind, length)) = self.header() else { return Ok(None) };
            let too_long = FrameError::TooLong { kind, length };
            let length = usize::try_from(length).map_err(|_| too_long)?;
            match (self.limit)(kind) {
                Some(limit) if length > limit => return Err(too_long),
                None if length > MAX_UNKNOWN => return Err(too_long),
                Some(_) if self.bytes.len() < HEADER + length => return Ok(None),
                Some(_) => {
                    self.handed_out = HEADER + length;
                    return Ok(Some(RawFrame { kind, body: &self.bytes[HEADER..HEADER + length] }));
                }
                None => self.skipping = HEADER + length,
            }
        }
    }

    fn header(&self) -> Option<(u8, u32)> {
        let (kind, rest) = self.bytes.split_first()?;
        let length = rest.first_chunk()?;
        Some((*kind, u32::from_be_bytes(*length)))
    }

    fn drop_handed_out(&mut self) {
        let length = std::mem::take(&mut self.handed_out);
        self.bytes.advance(length);
        if length > KEEP {
            self.bytes = BytesMut::from(&*self.bytes);
        }
    }

    fn drop_skipped(&mut self) {
        let arrived = self.skipping.min(self.bytes.len());
        self.bytes.advance(arrived);
        self.skipping -= arrived;
    }
}

fn client_limit(kind: u8) -> Option<usize> {
    match kind {
        kind::CLIENT_INFO => Some(MAX_INFO),
        kind::SEND_PACKET => Some(KEY + MAX_PACKET),
        kind::NOTE_PREFERRED | kind::PING | kind::PONG => Some(MAX_SMALL),
        _ => None,
    }
}

fn server_limit(kind: u8) -> Option<usize> {
    match kind {
        kind::SERVER_INFO => Some(NONCE + MAX_SMALL),
        kind::RECV_PACKET => Some(KEY + MAX_PACKET),
        kind::SERVER_KEY
        | kind::KEEP_ALIVE
        | kind::PEER_GONE
        | kind::PING
        | kind::PONG
        | kind::HEALTH
        | kind::RESTARTING => Some(MAX_SMALL),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{ClientFrame, ServerFrame, put_frame};
    use super::*;

    fn drain(buffer: &mut FrameBuffer) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        while let Some(frame) = buffer.poll_frame().expect("well-formed frames") {
            frames.push((frame.kind, frame.body.to_vec()));
        }
        frames
    }

    #[test]
    fn an_unknown_frame_is_skipped_without_being_held() {
        let mut buffer = FrameBuffer::of_client();
        buffer.push(&[0x77, 0, 0, 0xff, 0]);
        assert_eq!(buffer.poll_frame(), Ok(None));
        for _ in 0..0xff {
            buffer.push(&[0; 0x100]);
            assert_eq!(buffer.poll_frame(), Ok(None));
            assert!(buffer.bytes.is_empty());
        }
        buffer.push(&[kind::NOTE_PREFERRED, 0, 0, 0, 1, 1]);
        assert_eq!(drain(&mut buffer), [(kind::NOTE_PREFERRED, vec![1])]);
    }

    #[test]
    fn a_length_above_the_limit_is_refused_from_the_header_alone() {
        for (kind, limit) in
            [(kind::SEND_PACKET, KEY + MAX_PACKET), (kind::CLIENT_INFO, MAX_INFO), (0x77, MAX_UNKNOWN)]
        {
            let length = u32::try_from(limit + 1).expect("small");
            let mut buffer = FrameBuffer::of_client();
            buffer.push(&[kind]);
            buffer.push(&length.to_be_bytes());
            assert_eq!(buffer.poll_frame(), Err(FrameError::TooLong { kind, length }));
        }
    }

    #[test]
    fn idle_memory_is_one_read() {
        let mut buffer = FrameBuffer::of_client();
        for _ in 0..1000 {
            let space = buffer.space();
            space.extend_from_slice(&[kind::PING, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
            assert_eq!(drain(&mut buffer).len(), 1);
        }
        assert!(buffer.bytes.capacity() <= 2 * READ_SPACE);
        let mut introduction = Vec::new();
        put_frame(&mut introduction, kind::CLIENT_INFO, &[&vec![0; MAX_INFO]]);
        buffer.push(&introduction);
        assert_eq!(drain(&mut buffer).len(), 1);
        assert!(buffer.space().capacity() <= 2 * READ_SPACE);
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_does_not_matter(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 32..200), 0..8), cut in 1_usize..50) {
            let mut stream = Vec::new();
            for body in &bodies {
                put_frame(&mut stream, kind::SEND_PACKET, &[body]);
            }
            let mut buffer = FrameBuffer::of_client();
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                buffer.push(piece);
                seen.extend(drain(&mut buffer).into_iter().map(|(_, body)| body));
            }
            prop_assert_eq!(seen, bodies);
        }

        #[test]
        fn random_bytes_never_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..16)) {
            let mut buffer = FrameBuffer::of_server();
            for piece in pieces {
                buffer.push(&piece);
                while let Ok(Some(frame)) = buffer.poll_frame() {
                    let _ = ServerFrame::parse(frame);
                    let _ = ClientFrame::parse(frame);
                }
            }
        }
    }
}
