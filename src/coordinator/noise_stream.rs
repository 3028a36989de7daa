//! The Noise transport as a byte stream: plaintext on this side, records on the other.
//!
//! Both directions have one bounded buffer. A record that does not decrypt ends the stream for good.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::noise::{
    MAX_PLAINTEXT, MAX_RECORD, NoiseError, Opener, RECORD_HEADER, Sealer, Transport, record_len,
};

/// Ciphertext waiting to be opened: one record being assembled and one behind it, so that a full-sized
/// record never needs two reads.
const INBOUND: usize = 2 * MAX_RECORD;

/// Ciphertext waiting to be written: four records, one write of common socket buffers.
const OUTBOUND: usize = 4 * MAX_RECORD;

/// A connection after its handshake.
pub struct NoiseStream<S> {
    io: S,
    inbound: Inbound,
    outbound: Outbound,
}

impl<S: AsyncRead + AsyncWrite + Unpin> NoiseStream<S> {
    pub fn new(io: S, transport: Transport) -> Self {
        let inbound = Inbound {
            opener: transport.opener,
            buffer: vec![0; INBOUND].into(),
            plain: 0..0,
            sealed: 0..0,
            failed: None,
        };
        let outbound = Outbound { sealer: transport.sealer, records: Vec::new(), written: 0 };
        Self { io, inbound, outbound }
    }

    /// Waits until plaintext can be read, or the peer has closed.
    ///
    /// # Errors
    /// Those of the connection; `InvalidData` when a record does not decrypt.
    pub async fn readable(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.inbound.poll_fill(cx, &mut self.io)).await
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for NoiseStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { io, inbound, .. } = self.get_mut();
        ready!(inbound.poll_fill(cx, io))?;
        inbound.take(into);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for NoiseStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let Self { io, outbound, .. } = self.get_mut();
        if !outbound.has_room() {
            ready!(outbound.poll_drain(cx, io))?;
        }
        Poll::Ready(outbound.seal(data))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, outbound, .. } = self.get_mut();
        ready!(outbound.poll_drain(cx, io))?;
        Pin::new(io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, outbound, .. } = self.get_mut();
        ready!(outbound.poll_drain(cx, io))?;
        Pin::new(io).poll_shutdown(cx)
    }
}

/// `buffer` holds the plaintext of the last record, then what follows it on the wire.
struct Inbound {
    opener: Opener,
    buffer: Box<[u8]>,
    plain: std::ops::Range<usize>,
    sealed: std::ops::Range<usize>,
    failed: Option<NoiseError>,
}

impl Inbound {
    /// Ready when plaintext is there, or none will come.
    fn poll_fill(&mut self, cx: &mut Context<'_>, io: &mut (impl AsyncRead + Unpin)) -> Poll<io::Result<()>> {
        while self.plain.is_empty() {
            if self.open_next()? {
                continue;
            }
            self.compact();
            let mut spare = ReadBuf::new(&mut self.buffer[self.sealed.end..]);
            ready!(Pin::new(&mut *io).poll_read(cx, &mut spare))?;
            match spare.filled().len() {
                0 if self.sealed.is_empty() => return Poll::Ready(Ok(())),
                0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                count => self.sealed.end += count,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Opens the next record if it is there whole; its plaintext may be empty.
    fn open_next(&mut self) -> io::Result<bool> {
        if let Some(error) = self.failed {
            return Err(broken(error));
        }
        self.try_open_next().map_err(|error| {
            self.failed = Some(error);
            broken(error)
        })
    }

    fn try_open_next(&mut self) -> Result<bool, NoiseError> {
        let waiting = &mut self.buffer[self.sealed.clone()];
        let Some(&header) = waiting.first_chunk::<RECORD_HEADER>() else { return Ok(false) };
        let length = record_len(header)?;
        let Some(ciphertext) = waiting.get_mut(RECORD_HEADER..length) else { return Ok(false) };
        let plain = self.opener.open(ciphertext)?.len();
        let start = self.sealed.start + RECORD_HEADER;
        self.plain = start..start + plain;
        self.sealed.start += length;
        Ok(true)
    }

    /// Makes room for the rest of a record by moving its beginning to the front; called when no plaintext is left.
    fn compact(&mut self) {
        self.buffer.copy_within(self.sealed.clone(), 0);
        self.sealed = 0..self.sealed.len();
    }

    fn take(&mut self, into: &mut ReadBuf<'_>) {
        let count = self.plain.len().min(into.remaining());
        into.put_slice(&self.buffer[self.plain.start..self.plain.start + count]);
        self.plain.start += count;
    }
}

struct Outbound {
    sealer: Sealer,
    records: Vec<u8>,
    written: usize,
}

impl Outbound {
    fn has_room(&self) -> bool {
        self.records.len() + MAX_RECORD <= OUTBOUND
    }

    /// Seals as much of `data` as fits.
    fn seal(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        for chunk in data.chunks(MAX_PLAINTEXT) {
            if !self.has_room() {
                break;
            }
            self.sealer.seal(chunk, &mut self.records).map_err(broken)?;
            taken += chunk.len();
        }
        Ok(taken)
    }

    fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while self.written < self.records.len() {
            match ready!(Pin::new(&mut *io).poll_write(cx, &self.records[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.records.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

fn broken(error: NoiseError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::base::rng::SeededRng;
    use crate::wire::key::MachinePrivate;
    use crate::wire::noise::{Initiation, Initiator, respond};

    fn transports() -> (Transport, Transport) {
        let mut rng = SeededRng::new([1; 32]);
        let (client, server) = (MachinePrivate::generate(&mut rng), MachinePrivate::generate(&mut rng));
        let (initiator, first) = Initiator::start(142, client, server.public(), &mut rng).expect("good key");
        let initiation = Initiation::decode(&first).expect("own encoding");
        let accepted = respond(&server, &initiation, &mut rng).expect("made for it");
        (initiator.finish(&accepted.response).expect("its answer"), accepted.transport)
    }

    fn streams(capacity: usize) -> (NoiseStream<DuplexStream>, NoiseStream<DuplexStream>) {
        let (near, far) = duplex(capacity);
        let (client, server) = transports();
        (NoiseStream::new(near, client), NoiseStream::new(far, server))
    }

    /// Wire chunks smaller than a record's header, and larger than the buffers.
    #[tokio::test]
    async fn any_amount_passes_through_any_pipe() {
        for capacity in [2, 4096, 100_000] {
            let (mut client, mut server) = streams(capacity);
            let sent: Vec<u8> =
                (0..60_000_u32).map(|index| u8::try_from(index % 251).expect("below 251")).collect();
            let expected = sent.clone();
            let writer = tokio::spawn(async move {
                client.write_all(&sent).await.expect("written");
                client.shutdown().await.expect("closed");
            });
            let mut received = Vec::new();
            server.read_to_end(&mut received).await.expect("all records");
            writer.await.expect("no panic");
            assert!(received == expected, "pipe of {capacity} bytes");
        }
    }

    #[tokio::test]
    async fn empty_records_are_skipped() {
        let (near, mut far) = duplex(4096);
        let (client, mut server) = transports();
        let mut wire = Vec::new();
        for text in ["", "", "x"] {
            server.sealer.seal(text.as_bytes(), &mut wire).expect("fits");
        }
        far.write_all(&wire).await.expect("room");
        assert_eq!(NoiseStream::new(near, client).read_u8().await.expect("one byte"), b'x');
    }

    #[tokio::test]
    async fn a_bad_record_ends_the_stream_for_good() {
        let (near, mut far) = duplex(4096);
        let (client, mut server) = transports();
        let mut wire = Vec::new();
        server.sealer.seal(b"one", &mut wire).expect("fits");
        wire[5] ^= 1;
        let good = wire.len();
        server.sealer.seal(b"two", &mut wire).expect("fits");
        assert!(good < wire.len());
        far.write_all(&wire).await.expect("room");
        let mut stream = NoiseStream::new(near, client);
        for _ in 0..2 {
            let error = stream.read_u8().await.expect_err("altered");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[tokio::test]
    async fn an_end_inside_a_record_is_an_error() {
        let (near, mut far) = duplex(4096);
        far.write_all(&[4, 0, 20, 1]).await.expect("room");
        drop(far);
        let error = NoiseStream::new(near, transports().0).read_u8().await.expect_err("cut off");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
