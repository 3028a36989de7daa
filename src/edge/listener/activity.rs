//! Whether a connection has requests under way, so that one without any can be closed.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::time::Instant;

use crate::edge::body::{Body, BodyError};

/// Counts the requests of one connection. A request wakes nobody: whoever waits looks again when it might be over.
#[derive(Debug, Clone)]
pub struct Activity(Arc<Mutex<Counts>>);

#[derive(Debug)]
struct Counts {
    open: usize,
    has_begun: bool,
    /// When the last request ended, or none had come yet.
    rests_since: Instant,
}

/// A request under way until dropped.
#[derive(Debug)]
pub struct Busy(Activity);

impl Activity {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Counts { open: 0, has_begun: false, rests_since: Instant::now() })))
    }

    pub fn begin(&self) -> Busy {
        let mut counts = self.counts();
        (counts.open, counts.has_begun) = (counts.open + 1, true);
        drop(counts);
        Busy(self.clone())
    }

    /// Returns when no request has come for `first`, or after the first one, none has been under way for `limit`.
    pub async fn idle_for(&self, first: Duration, limit: Duration) {
        while let Some(again) = self.next_look(first, limit) {
            tokio::time::sleep_until(again).await;
        }
    }

    /// When it may have been idle for so long; `None` when it has.
    fn next_look(&self, first: Duration, limit: Duration) -> Option<Instant> {
        let (counts, now) = (self.counts(), Instant::now());
        let allowed = if counts.has_begun { limit } else { first };
        let over = if counts.open > 0 { now } else { counts.rests_since } + allowed;
        // A first request that is short may be over long before.
        (over > now).then(|| over.min(now + limit))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut counts = self.0.counts();
        counts.open = counts.open.saturating_sub(1);
        if counts.open == 0 {
            counts.rests_since = Instant::now();
        }
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
    async fn a_short_first_request_is_not_waited_for_longer_than_any_other() {
        let activity = Activity::new();
        drop(activity.begin());
        let begun = Instant::now();
        activity.idle_for(LIMIT * 3, LIMIT).await;
        assert_eq!(begun.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_one_after_the_other_keep_the_connection() {
        let activity = Activity::new();
        let begun = Instant::now();
        let visitor = activity.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                let busy = visitor.begin();
                tokio::time::sleep(LIMIT / 3).await;
                drop(busy);
                tokio::time::sleep(LIMIT / 3).await;
            }
        });
        activity.idle_for(FIRST, LIMIT).await;
        assert_eq!(begun.elapsed(), LIMIT / 3 * 19 + LIMIT);
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
