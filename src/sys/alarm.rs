//! A clock that a loop waits for beside its sockets.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

/// Rings at the time it was last set to, or before: each setting of the runtime's timers takes a lock and a place in a table, so an
/// alarm that is to ring later than it was set to rings in vain first. Whoever waits looks whether something is due, and asks again.
pub struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// Inside a tokio runtime.
    #[must_use]
    pub fn new(due: Instant) -> Self {
        Self(Box::pin(tokio::time::sleep_until(due.into())))
    }

    /// Ready at `due` at the latest.
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
    async fn it_rings_when_due_or_in_vain_before_and_again() {
        let now = tokio::time::Instant::now().into_std();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut alarm = Alarm::new(after(10));
        let waited = [(4, 4), (8, 4), (20, 12), (1, 0)];
        for (due, passes) in waited {
            assert_eq!(rings(&mut alarm, after(due)).await, Duration::from_secs(passes), "due at {due}");
        }
        let mut alarm = Alarm::new(after(21));
        assert_eq!(rings(&mut alarm, after(30)).await, Duration::from_secs(1), "in vain");
        assert_eq!(rings(&mut alarm, after(30)).await, Duration::from_secs(9));
    }
}
