//! A file as the body of a request, read as it is sent.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::ReadBuf;

/// Bytes of one piece.
const PIECE: usize = 64 * 1024;

/// Told after each piece how many bytes were handed to the connection so far, and of how many.
pub type Sent = Box<dyn Fn(u64, u64) + Send + Sync>;

pub struct Upload {
    file: File,
    length: u64,
    left: u64,
    sent: Sent,
}

impl Upload {
    /// # Errors
    /// The file cannot be opened.
    pub async fn open(path: &Path, sent: Sent) -> io::Result<Self> {
        let file = File::open(path).await?;
        let length = file.metadata().await?.len();
        Ok(Self { file, length, left: length, sent })
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let want = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        if want == 0 {
            return Poll::Ready(None);
        }
        let mut piece = BytesMut::zeroed(want);
        let mut buffer = ReadBuf::new(&mut piece);
        std::task::ready!(tokio::io::AsyncRead::poll_read(Pin::new(&mut self.file), cx, &mut buffer))?;
        let count = buffer.filled().len();
        if count == 0 {
            return Poll::Ready(Some(Err(io::Error::other("the file became shorter while it was sent"))));
        }
        piece.truncate(count);
        self.left -= u64::try_from(count).unwrap_or(self.left);
        (self.sent)(self.length - self.left, self.length);
        Poll::Ready(Some(Ok(Frame::data(piece.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
