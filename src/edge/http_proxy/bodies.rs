//! Bodies on their way through: a client's that must keep coming, an upstream's that gives its connection back at the end.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::pool::Lease;
use crate::edge::body::{self, Body, BodyError};

/// How long a client may keep an upstream waiting for the next piece of its request.
const READ_STALL: Duration = Duration::from_mins(1);

/// When a request last moved on towards its upstream; clones share it.
#[derive(Debug, Clone)]
pub struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    pub fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// A client's body, which notes each piece; one that stops coming is an error.
pub fn incoming(incoming: Incoming, progress: Progress) -> Body {
    if incoming.is_end_stream() {
        return body::empty();
    }
    Stalling::new(incoming.map_err(BodyError::from).boxed(), progress).boxed()
}

/// An upstream's body. The connection is given back when all of it has been read, and closed when it is dropped before.
pub fn returning(incoming: Incoming, lease: Lease) -> Body {
    if incoming.is_end_stream() {
        lease.give_back();
        return body::empty();
    }
    Returning { incoming, lease: Some(lease) }.boxed()
}

struct Stalling {
    body: Body,
    progress: Progress,
    stall: Pin<Box<Sleep>>,
    is_waiting: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the client stopped sending its request")]
struct Stalled;

impl Stalling {
    fn new(body: Body, progress: Progress) -> Self {
        Self { body, progress, stall: Box::pin(tokio::time::sleep(READ_STALL)), is_waiting: false }
    }
}

impl hyper::body::Body for Stalling {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.is_waiting = false;
            self.progress.note();
            return Poll::Ready(frame);
        }
        if !self.is_waiting {
            self.is_waiting = true;
            self.stall.as_mut().reset(Instant::now() + READ_STALL);
        }
        ready!(self.stall.as_mut().poll(cx));
        Poll::Ready(Some(Err(Box::new(Stalled))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct Returning {
    incoming: Incoming,
    lease: Option<Lease>,
}

impl hyper::body::Body for Returning {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        if (frame.is_none() || self.incoming.is_end_stream())
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_sending_is_an_error_and_a_slow_one_is_not() {
        let (sender, receiver) = mpsc::channel(1);
        let mut body = Stalling::new(channel_body(receiver), Progress::new());
        for _ in 0..3 {
            let sender = sender.clone();
            tokio::spawn(async move {
                tokio::time::sleep(READ_STALL / 2).await;
                sender.send(Bytes::from_static(b"x")).await.expect("the body reads");
            });
            assert!(body.frame().await.expect("a frame").is_ok());
        }
        let error = body.frame().await.expect("a frame").expect_err("nothing comes any more");
        assert_eq!(error.to_string(), Stalled.to_string());
    }

    fn channel_body(receiver: mpsc::Receiver<Bytes>) -> Body {
        ChannelBody(receiver).boxed()
    }

    struct ChannelBody(mpsc::Receiver<Bytes>);

    impl hyper::body::Body for ChannelBody {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
        }
    }
}
