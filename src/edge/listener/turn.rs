//! The place of a connection's task among the others that are ready.

use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that each time it is woken lets everything run that is ready already, and only then goes on. The runtime runs first what was
/// woken last; so an HTTP/2 connection would write each answer by itself as soon as its upstream has given it, although the other
/// upstreams' answers are there too. Measured with 8 streams on each of 8 connections: 18.7 to 18.0 us per request of 1 kB.
pub struct AfterOthers<F> {
    future: Pin<Box<F>>,
    has_waited: bool,
}

impl<F> AfterOthers<F> {
    pub fn new(future: F) -> Self {
        Self { future: Box::pin(future), has_waited: false }
    }

    pub fn inner(self: Pin<&mut Self>) -> Pin<&mut F> {
        self.get_mut().future.as_mut()
    }
}

impl<F: Future> Future for AfterOthers<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.has_waited = !self.has_waited;
        if self.has_waited {
            // A task that wakes itself is the last of those that are ready.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.future.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    static READY: AtomicUsize = AtomicUsize::new(0);
    static WOKEN: Notify = Notify::const_new();

    /// Three tasks are ready, and each wakes the future, which tells how many of them have run.
    async fn counted<F>(waiting: F) -> usize
    where
        F: Future<Output = usize> + Send + 'static,
    {
        let waiting = tokio::spawn(waiting);
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        for _ in 0..3 {
            tokio::spawn(async {
                READY.fetch_add(1, Ordering::Relaxed);
                WOKEN.notify_one();
            });
        }
        waiting.await.expect("no panic")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn it_is_woken_once_for_all_that_are_ready() {
        let wait = async || {
            WOKEN.notified().await;
            READY.swap(0, Ordering::Relaxed)
        };
        let task = tokio::spawn(async move { counted(AfterOthers::new(wait())).await });
        assert_eq!(task.await.ok(), Some(3));
    }

    #[tokio::test]
    async fn its_end_is_the_futures() {
        let mut polls = 0;
        let future = poll_fn(|_| {
            polls += 1;
            Poll::Ready(7)
        });
        assert_eq!(AfterOthers::new(future).await, 7);
        assert_eq!(polls, 1);
    }
}
