//! A clock that a loop waits for beside its sockets.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

/// Each setting of the runtime's timers takes a lock and a place in a table. So one that is to ring later than it was set to is left
/// as it is: it then wakes the loop once in vain, and is set anew.
pub struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// Inside a tokio runtime.
    #[must_use]
    pub fn new(due: Instant) -> Self {
        Self(Box::pin(tokio::time::sleep_until(due.into())))
    }

    /// Ready at `due`.
    pub fn poll(&mut self, due: Instant, context: &mut Context<'_>) -> Poll<()> {
        if self.0.is_elapsed() || due < self.0.deadline().into_std() {
            self.0.as_mut().reset(due.into());
        }
        self.0.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    async fn rings(alarm: &mut Alarm, due: Instant) -> Duration {
        let begun = tokio::time::Instant::now();
        poll_fn(|context| alarm.poll(due, context)).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn it_rings_when_due_whatever_it_was_set_to_before() {
        let now = tokio::time::Instant::now().into_std();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut alarm = Alarm::new(after(10));
        for (due, passes) in [(4, 4), (8, 4), (20, 12), (1, 0)] {
            assert_eq!(rings(&mut alarm, after(due)).await, Duration::from_secs(passes), "due at {due}");
        }
        let mut alarm = Alarm::new(after(21));
        assert_eq!(rings(&mut alarm, after(30)).await, Duration::from_secs(10));
    }
}
