//! Whether a connection has requests under way, so that one without any can be closed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::sync::watch;

use crate::edge::body::{Body, BodyError};

/// Counts the requests of one connection.
#[derive(Debug, Clone)]
pub struct Activity(Arc<watch::Sender<Counts>>);

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    open: usize,
    has_begun: bool,
}

/// A request under way until dropped.
#[derive(Debug)]
pub struct Busy(Activity);

impl Activity {
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::default()))
    }

    pub fn begin(&self) -> Busy {
        self.0.send_modify(|counts| *counts = Counts { open: counts.open + 1, has_begun: true });
        Busy(self.clone())
    }

    /// Returns when no request has come for `first`, or after the first one, none has been under way for `limit`.
    pub async fn idle_for(&self, first: Duration, limit: Duration) {
        let mut counts = self.0.subscribe();
        loop {
            // The sender lives in `self`, so neither wait can fail.
            let has_begun =
                counts.wait_for(|counts| counts.open == 0).await.is_ok_and(|counts| counts.has_begun);
            let limit = if has_begun { limit } else { first };
            if tokio::time::timeout(limit, counts.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Busy {
    /// A body that keeps the request under way until it has been sent or given up.
    pub fn until_sent(self, body: Body) -> Body {
        if body.is_end_stream() { body } else { BusyBody { body, _busy: self }.boxed() }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.send_modify(|counts| counts.open = counts.open.saturating_sub(1));
    }
}

struct BusyBody {
    body: Body,
    _busy: Busy,
}

impl hyper::body::Body for BusyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::edge::body::full;

    const FIRST: Duration = Duration::from_secs(40);
    const LIMIT: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_body_in_transfer_keeps_the_connection() {
        let activity = Activity::new();
        let body = activity.begin().until_sent(full("bytes"));
        let begun = Instant::now();
        tokio::spawn(async move {
            tokio::time::sleep(LIMIT * 5).await;
            drop(body);
        });
        activity.idle_for(FIRST, LIMIT).await;
        assert_eq!(begun.elapsed(), LIMIT * 6);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_request_is_waited_for_less() {
        let begun = Instant::now();
        Activity::new().idle_for(FIRST, LIMIT).await;
        assert_eq!(begun.elapsed(), FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_starts_the_wait_anew() {
        let activity = Activity::new();
        let begun = Instant::now();
        let visitor = activity.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LIMIT / 2).await;
            drop(visitor.begin());
        });
        activity.idle_for(FIRST, LIMIT).await;
        assert_eq!(begun.elapsed(), LIMIT / 2 + LIMIT);
    }
}
