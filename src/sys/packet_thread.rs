//! The thread that packets pass through: relay, tunnel and datagrams on one loop. What one of them hands to another needs no
//! wake-up of another thread, and what comes for several of them together is one wait.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::thread;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};

use crate::base::moderation::Moderation;

/// Cores from which on relay and tunnel have a thread each: more of them at once, for more work per byte.
const CORES_FOR_TWO: usize = 3;

thread_local! {
    static ARRIVED: Cell<u64> = const { Cell::new(0) };
    static MODERATION: RefCell<Moderation> = RefCell::new(Moderation::new(Instant::now()));
}

/// Datagrams, or pieces of streams, came to this thread. Where very many do, it sleeps a little after each wake-up, so that more of them are one batch.
pub fn count_arrived(datagrams: usize) {
    ARRIVED.set(ARRIVED.get().wrapping_add(datagrams as u64));
}

/// Where the forwarding path runs.
#[derive(Debug, Clone)]
pub struct PacketThreads {
    /// Of the tunnel and of layer 4 UDP.
    pub tunnel: PacketThread,
    /// Of layer 4 TCP; on few cores the same.
    pub relay: PacketThread,
}

impl PacketThreads {
    /// As many threads as pay on so many cores.
    ///
    /// # Errors
    /// As [`PacketThread::start`].
    pub fn start(cores: usize) -> io::Result<Self> {
        if cores < CORES_FOR_TWO {
            let both = PacketThread::start("genkan-packets")?;
            return Ok(Self { tunnel: both.clone(), relay: both });
        }
        let (tunnel, relay) = (PacketThread::start("genkan-tunnel")?, PacketThread::start("genkan-relay")?);
        Ok(Self { tunnel, relay })
    }
}

/// Runs tasks in one thread, which ends when all clones of this are gone and every task has ended.
#[derive(Debug, Clone)]
pub struct PacketThread {
    tasks: mpsc::UnboundedSender<Start>,
    runtime: Handle,
}

/// Made in the thread, because a task may hold what must not leave it.
type Start = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

impl PacketThread {
    /// # Errors
    /// The environment's: there can be no more threads, or no more descriptors.
    pub fn start(name: &str) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(begin_wait)
            .on_thread_unpark(end_wait)
            .build()?;
        let handle = runtime.handle().clone();
        // Not a queue: as many tasks as the house starts.
        let (tasks, mut started) = mpsc::unbounded_channel::<Start>();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let local = LocalSet::new();
            local.spawn_local(async move {
                while let Some(start) = started.recv().await {
                    spawn_local(start());
                }
            });
            runtime.block_on(local);
        })?;
        Ok(Self { tasks, runtime: handle })
    }

    /// Runs a task that stays in the thread. The receiver gets its result; an error there is a panic of the task.
    pub fn run<F>(&self, task: impl FnOnce() -> F + Send + 'static) -> oneshot::Receiver<F::Output>
    where
        F: Future<Output: Send> + 'static,
    {
        let (ended, end) = oneshot::channel();
        let start: Start = Box::new(move || {
            Box::pin(async move {
                // Nobody waits any more when the house was closed in a hurry.
                ended.send(task().await).ok();
            })
        });
        // It is received for as long as there is a sender.
        self.tasks.send(start).ok();
        end
    }

    /// For tasks and sockets that could be anywhere and are to be here.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

fn begin_wait() {
    MODERATION.with_borrow_mut(|moderation| {
        if moderation.is_busy() {
            moderation.handle_wait(Instant::now());
        }
    });
}

fn end_wait() {
    let wake = |moderation: &mut Moderation| moderation.handle_wake(ARRIVED.get(), Instant::now());
    if let Some(pause) = MODERATION.with_borrow_mut(wake) {
        thread::sleep(pause);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[tokio::test]
    async fn tasks_run_in_the_thread_and_their_end_is_told() {
        let thread = PacketThread::start("own").expect("a thread");
        let name = || thread::current().name().map(ToOwned::to_owned);
        let task = move || async move {
            let kept_here = Rc::new(name());
            tokio::task::yield_now().await;
            (*kept_here).clone()
        };
        assert_eq!(thread.run(task).await, Ok(Some("own".to_owned())));
        assert_eq!(
            thread.runtime().spawn(async move { name() }).await.ok().flatten().as_deref(),
            Some("own")
        );
        assert!(thread.run(|| async { assert!(std::env::args().count() == 0, "planted") }).await.is_err());
        assert_eq!(thread.run(|| async { 7 }).await, Ok(7), "a panic ends its task only");
    }

    #[tokio::test]
    async fn the_thread_ends_after_its_last_task() {
        let thread = PacketThread::start("own").expect("a thread");
        let (go, gone) = oneshot::channel::<()>();
        let (told, mut tell) = oneshot::channel::<()>();
        let end = thread.run(|| async move {
            let _dropped_at_the_end = told;
            gone.await
        });
        drop(thread);
        assert_eq!(tell.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        go.send(()).expect("it waits");
        assert_eq!(end.await, Ok(Ok(())));
        assert!(tell.await.is_err());
    }
}
