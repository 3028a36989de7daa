//! A file as the body of a request, with a percentage for who watches.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Bytes in one piece.
const PIECE: usize = 64 * 1024;

/// Reads the file while it is sent: from a disk, on the thread of a command that has nothing else to do.
pub struct Upload {
    file: File,
    left: u64,
    meter: Meter,
}

impl Upload {
    /// The next `length` bytes of `file`.
    pub fn new(file: File, length: u64) -> Self {
        Self { file, left: length, meter: Meter::new("uploading", Some(length)) }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = vec![0; usize::try_from(self.left).unwrap_or(PIECE).min(PIECE)];
        if let Err(error) = self.file.read_exact(&mut piece) {
            self.left = 0;
            return Poll::Ready(Some(Err(error)));
        }
        self.left -= piece.len() as u64;
        self.meter.add(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Says on a terminal how far something is, and nothing where nobody looks.
pub struct Meter {
    what: &'static str,
    done: u64,
    total: Option<u64>,
    said: Option<u64>,
    shown: bool,
}

impl Meter {
    pub fn new(what: &'static str, total: Option<u64>) -> Self {
        Self { what, done: 0, total, said: None, shown: io::stderr().is_terminal() }
    }

    pub fn add(&mut self, bytes: u64) {
        self.done += bytes;
        let (number, unit) = match self.total {
            Some(total) => (self.done * 100 / total.max(1), "%"),
            None => (self.done >> 20, "MiB"),
        };
        if self.shown && self.said != Some(number) {
            self.said = Some(number);
            eprint!("\r{} {number} {unit} ", self.what);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.said.is_some() {
            eprintln!();
        }
    }
}
