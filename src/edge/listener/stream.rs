//! A client's socket with what goes along as long as it is open, also when the connection has been upgraded to something else: its
//! place inside the ceilings, and a limit on how long it may refuse to take bytes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::permit::Permit;

/// How long a peer may take nothing of what waits for it. A reader this slow holds buffers here and upstream.
const WRITE_STALL: Duration = Duration::from_mins(1);

/// See the module.
pub struct Stream<T = TcpStream> {
    inner: T,
    _permit: Permit,
    /// Runs while a write waits.
    stall: Pin<Box<Sleep>>,
    is_stalled: bool,
}

impl<T> Stream<T> {
    pub fn new(inner: T, permit: Permit) -> Self {
        Self { inner, _permit: permit, stall: Box::pin(tokio::time::sleep(WRITE_STALL)), is_stalled: false }
    }

    pub fn inner(&self) -> &T {
        &self.inner
    }

    /// Lets a finished write through and bounds an unfinished one.
    fn bound<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.is_stalled = false;
            return written;
        }
        if !self.is_stalled {
            self.is_stalled = true;
            self.stall.as_mut().reset(Instant::now() + WRITE_STALL);
        }
        self.stall
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "peer takes no bytes")))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Stream<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Stream<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.bound(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.bound(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        this.bound(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.bound(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::permit::Admission;
    use super::*;
    use crate::base::ceilings::{Ceilings, Denied};

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up_and_its_place_is_free_again() {
        let admission = Admission::new(Ceilings { total: 1, per_source: 1 });
        let source = [192, 0, 2, 1].into();
        let (near, mut far) = tokio::io::duplex(8);
        let mut stream = Stream::new(near, admission.admit(source).expect("room for one"));
        assert_eq!(admission.admit(source).expect_err("no room for two"), Denied::Full);

        let begun = Instant::now();
        let error = stream.write_all(&[0; 100]).await.expect_err("nobody reads");
        assert_eq!((error.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, WRITE_STALL));
        drop(stream);
        admission.admit(source).expect("room again");
        far.read_u8().await.expect("what had been written");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_is_waited_for_as_long_as_it_takes_something() {
        let admission = Admission::new(Ceilings { total: 1, per_source: 1 });
        let (near, mut far) = tokio::io::duplex(1);
        let mut stream = Stream::new(near, admission.admit([192, 0, 2, 1].into()).expect("room"));
        let reader = tokio::spawn(async move {
            for _ in 0..5 {
                tokio::time::sleep(WRITE_STALL / 2).await;
                far.read_u8().await.expect("a byte");
            }
        });
        stream.write_all(&[0; 5]).await.expect("all taken");
        reader.await.expect("read all");
    }
}
