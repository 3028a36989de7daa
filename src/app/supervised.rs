//! The worker's end of its conversation with PID 1 (`wire/supervision.rs`). Without PID 1 there is none, and nothing else changes.
//!
//! Out go a beat a second, what changed of conditions and summary, and what others have to tell. In comes what PID 1 knows, for whoever watches
//! it. Whatever the far end does, the worker goes on.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::pulse::Pulse;
use crate::base::condition::Condition;
use crate::sys::inherited;
use crate::wire::admin::UpdateProgress;
use crate::wire::supervision::{BoxStatus, DESCRIPTOR, FromInit, FromWorker, LINE_MAX};

const BEAT: Duration = Duration::from_secs(1);
/// Messages on their way to PID 1, without those of which only the newest counts. One more is refused.
const OUTBOX: usize = 16;

/// What the worker has to say of itself; each the whole of it, every time.
#[derive(Debug, Clone)]
pub struct News {
    pub pulse: watch::Receiver<Pulse>,
    pub conditions: watch::Receiver<Vec<Condition>>,
    pub summary: watch::Receiver<Vec<String>>,
}

/// The conversation. Clones share it.
#[derive(Debug, Clone)]
pub struct Supervision {
    /// Whether PID 1 vouches for the system's clock.
    pub clock: watch::Receiver<bool>,
    /// The box itself; `None` until PID 1 has told.
    pub status: watch::Receiver<Option<BoxStatus>>,
    /// The update under way, or the last one; `None` when there was none.
    pub update: watch::Receiver<Option<UpdateProgress>>,
    /// Whether the owner asked for an API key by a file on the card.
    pub api_key_wanted: watch::Receiver<bool>,
    outbox: mpsc::Sender<FromWorker>,
}

/// Where what PID 1 says goes.
#[derive(Debug, Default)]
struct Inbox {
    clock: watch::Sender<bool>,
    status: watch::Sender<Option<BoxStatus>>,
    update: watch::Sender<Option<UpdateProgress>>,
    api_key_wanted: watch::Sender<bool>,
}

/// The end that the parent left open; `None` when there is no such parent. To be called before the process opens anything by itself.
///
/// # Errors
/// The environment names no open socket.
pub fn inherited() -> io::Result<Option<StdStream>> {
    let Some(number) = std::env::var_os(DESCRIPTOR) else { return Ok(None) };
    let number = number.to_str().and_then(|text| text.parse().ok()).ok_or(io::ErrorKind::InvalidInput)?;
    let stream = StdStream::from(inherited::take(number)?);
    // Fails on what is no socket.
    stream.take_error()?;
    stream.set_nonblocking(true)?;
    Ok(Some(stream))
}

impl Supervision {
    /// Speaks and listens from now on. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The runtime does not take the socket.
    pub fn begin(stream: StdStream, news: News) -> io::Result<Self> {
        let (heard, said) = UnixStream::from_std(stream)?.into_split();
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let inbox = Inbox::default();
        let supervision = Self {
            clock: inbox.clock.subscribe(),
            status: inbox.status.subscribe(),
            update: inbox.update.subscribe(),
            api_key_wanted: inbox.api_key_wanted.subscribe(),
            outbox,
        };
        tokio::spawn(listen(BufReader::new(heard), inbox));
        tokio::spawn(Speaker { said, messages, news, ticks: beats() }.run());
        Ok(supervision)
    }

    /// Every room is raised.
    pub fn ready(&self) {
        self.tell(FromWorker::Ready);
    }

    /// Gives PID 1 a message. False when too many wait already, or nobody takes them any more.
    pub fn tell(&self, message: FromWorker) -> bool {
        let is_taken = self.outbox.try_send(message).is_ok();
        if !is_taken {
            tracing::warn!("PID 1 takes no more messages");
        }
        is_taken
    }
}

fn beats() -> Interval {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Tells PID 1 what there is to tell.
struct Speaker<W> {
    said: W,
    messages: mpsc::Receiver<FromWorker>,
    news: News,
    ticks: Interval,
}

impl<W: AsyncWrite + Unpin> Speaker<W> {
    async fn run(mut self) {
        loop {
            let message = self.next().await;
            if let Err(error) = self.say(&message).await {
                return tracing::warn!(%error, "PID 1 listens no more");
            }
        }
    }

    async fn next(&mut self) -> FromWorker {
        tokio::select! {
            Some(message) = self.messages.recv() => message,
            Ok(()) = self.news.conditions.changed() => {
                FromWorker::Conditions(self.news.conditions.borrow_and_update().clone())
            }
            Ok(()) = self.news.summary.changed() => {
                FromWorker::Summary(self.news.summary.borrow_and_update().clone())
            }
            _ = self.ticks.tick() => FromWorker::Beat(self.news.pulse.borrow().beat),
        }
    }

    /// What is too long for a line is left out: it would end the conversation.
    async fn say(&mut self, message: &FromWorker) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        if line.len() > LINE_MAX {
            tracing::warn!(bytes = line.len(), "PID 1 is not told what is too long");
            return Ok(());
        }
        line.push(b'\n');
        self.said.write_all(&line).await
    }
}

async fn listen(mut lines: impl AsyncBufRead + Unpin, inbox: Inbox) {
    let mut line = Vec::new();
    loop {
        line.clear();
        // One byte more than a line may have: its end.
        let read = (&mut lines).take(LINE_MAX as u64 + 1).read_until(b'\n', &mut line).await;
        match read {
            Ok(_) if line.ends_with(b"\n") => inbox.take(&line),
            Ok(0) => return tracing::warn!("PID 1 says nothing more"),
            Ok(_) => {
                return tracing::warn!("PID 1 said a line without an end: it is not listened to any more");
            }
            Err(error) => return tracing::warn!(%error, "PID 1 says nothing more"),
        }
    }
}

impl Inbox {
    fn take(&self, line: &[u8]) {
        match serde_json::from_slice(line) {
            Ok(FromInit::Clock { known }) => drop(self.clock.send_replace(known)),
            Ok(FromInit::Box(status)) => drop(self.status.send_replace(Some(status))),
            Ok(FromInit::WantApiKey) => drop(self.api_key_wanted.send_replace(true)),
            Ok(FromInit::Update { text, done, failed }) => {
                self.update.send_replace(Some(UpdateProgress { text, done, failed }));
            }
            Err(error) => tracing::warn!(%error, "PID 1 said what this version does not understand"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};

    use proptest::prelude::*;

    use super::*;
    use crate::base::condition::Severity;
    use crate::wire::supervision::Beat;

    struct Worker {
        supervision: Supervision,
        pulse: watch::Sender<Pulse>,
        conditions: watch::Sender<Vec<Condition>>,
        summary: watch::Sender<Vec<String>>,
    }

    /// A worker, and PID 1's end.
    fn pair() -> (Worker, StdStream) {
        let (ours, theirs) = StdStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("a socket");
        let (pulse, conditions, summary) = Default::default();
        let worker = |pulse: watch::Sender<_>, conditions: watch::Sender<_>, summary: watch::Sender<_>| {
            let news = News {
                pulse: pulse.subscribe(),
                conditions: conditions.subscribe(),
                summary: summary.subscribe(),
            };
            let supervision = Supervision::begin(ours, news).expect("inside a runtime");
            Worker { supervision, pulse, conditions, summary }
        };
        (worker(pulse, conditions, summary), theirs)
    }

    /// The next `count` messages, read on a thread that may block.
    async fn hear(theirs: &StdStream, count: usize) -> Vec<FromWorker> {
        let theirs = theirs.try_clone().expect("a descriptor");
        theirs.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        let lines = move || {
            let lines = BufReader::new(theirs).lines().take(count);
            lines.map(|line| serde_json::from_str(&line.expect("in time")).expect("a message")).collect()
        };
        tokio::task::spawn_blocking(lines).await.expect("no panic")
    }

    fn say(mut theirs: &StdStream, message: &FromInit) {
        let line = serde_json::to_string(message).expect("JSON") + "\n";
        theirs.write_all(line.as_bytes()).expect("said");
    }

    async fn until<T>(channel: &mut watch::Receiver<T>, what: impl FnMut(&T) -> bool) {
        let found = tokio::time::timeout(Duration::from_secs(20), channel.wait_for(what)).await;
        found.expect("it comes to that").expect("somebody listens");
    }

    #[tokio::test]
    async fn a_beat_comes_every_second_and_shows_what_is_stuck() {
        let (worker, theirs) = pair();
        let begun = std::time::Instant::now();
        assert_eq!(hear(&theirs, 1).await, [FromWorker::Beat(Beat::default())]);
        let beat = Beat { coordinator: true, tunnel: false, edge: true, store: true };
        worker.pulse.send_replace(Pulse { beat, stuck: vec!["tunnel".into()] });
        assert_eq!(hear(&theirs, 2).await, [FromWorker::Beat(beat), FromWorker::Beat(beat)]);
        assert!(begun.elapsed() >= Duration::from_millis(1900));
    }

    #[tokio::test]
    async fn news_go_out_once_and_what_is_too_long_does_not() {
        let (worker, theirs) = pair();
        hear(&theirs, 1).await;
        worker.supervision.ready();
        assert_eq!(hear(&theirs, 1).await, [FromWorker::Ready]);
        let condition = Condition::new("JOIN-01", Severity::Progress, "nobody yet");
        worker.conditions.send_replace(vec![condition.clone()]);
        assert_eq!(hear(&theirs, 1).await, [FromWorker::Conditions(vec![condition])]);
        worker.summary.send_replace(vec!["x".repeat(LINE_MAX)]);
        tokio::task::yield_now().await;
        worker.supervision.tell(FromWorker::JoinSheet("tailscale up".into()));
        let next = hear(&theirs, 1).await;
        assert!(matches!(next[0], FromWorker::JoinSheet(_) | FromWorker::Beat(_)), "{next:?}");
    }

    #[tokio::test]
    async fn what_pid_1_knows_reaches_who_watches_and_nonsense_does_not_end_it() {
        let (mut worker, mut theirs) = pair();
        assert!(!*worker.supervision.clock.borrow());
        theirs.write_all(b"\n{}\n{\"clock\":3}\n\xff\xfe\n{\"from_next_year\":{}}\n").expect("said");
        say(&theirs, &FromInit::Clock { known: true });
        until(&mut worker.supervision.clock, |known| *known).await;
        let status = BoxStatus { slot: "a".into(), ..BoxStatus::default() };
        say(&theirs, &FromInit::Box(status.clone()));
        until(&mut worker.supervision.status, |now| now.as_ref() == Some(&status)).await;
        say(&theirs, &FromInit::Update { text: "refused".into(), done: true, failed: true });
        until(&mut worker.supervision.update, |now| now.as_ref().is_some_and(|now| now.failed)).await;
    }

    #[tokio::test]
    async fn a_line_without_end_is_not_kept_and_the_worker_speaks_on() {
        let (worker, theirs) = pair();
        let mut far = theirs.try_clone().expect("a descriptor");
        let flood = std::thread::spawn(move || far.write_all(&vec![b' '; LINE_MAX + 2]).is_ok());
        hear(&theirs, 3).await;
        flood.join().expect("no panic");
        worker.supervision.ready();
        let heard = hear(&theirs, 2).await;
        assert!(heard.contains(&FromWorker::Ready), "{heard:?}");
    }

    #[tokio::test]
    async fn without_pid_1_messages_are_refused_once_the_outbox_is_full_and_nothing_panics() {
        let (mut worker, theirs) = pair();
        drop(theirs);
        // The last word on the clock was "not known": it stays.
        assert!(worker.supervision.clock.changed().await.is_err());
        let refused = async {
            while worker.supervision.tell(FromWorker::Reboot) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), refused).await.expect("refused some time");
    }

    proptest! {
        #[test]
        fn no_line_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            Inbox::default().take(&line);
        }
    }
}
