//! The log of the box: PID 1's own lines and the worker's. All of it in memory and on the console, what matters on the card.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::console::Console;
use super::core::log_line::{Level, Repeats, level};
use super::core::log_ring::LogRing;
use super::core::retention::{Keeping, KeptLog, LOG_BUDGET};

/// Bytes of the log in memory.
const RING: usize = 8 * 1024 * 1024;
/// Longest line, in bytes.
const LINE_MAX: usize = 8 * 1024;
const CURRENT: &str = "genkan.log";
const OLDER: &str = "genkan.log.1";

/// A handle to the one log.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Mutex<Books>>);

#[derive(Debug)]
struct Books {
    start: Instant,
    ring: LogRing,
    repeats: Repeats,
    console: Console,
    kept: Option<Kept>,
}

/// The log on the data partition.
#[derive(Debug)]
struct Kept {
    folder: PathBuf,
    file: File,
    plan: KeptLog,
}

/// One event of `tracing` on its way.
pub struct Entry<'a>(&'a Journal);

impl Journal {
    /// Begins a log that is shown on `console`.
    #[must_use]
    pub fn new(console: Console) -> Self {
        let books = Books {
            start: Instant::now(),
            ring: LogRing::new(RING),
            repeats: Repeats::default(),
            console,
            kept: None,
        };
        Self(Arc::new(Mutex::new(books)))
    }

    /// Takes the events of this process too. A second call changes nothing.
    pub fn start(&self) {
        let filter = EnvFilter::new("info");
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).without_time();
        drop(builder.with_writer(self.clone()).try_init());
    }

    /// Adds a line. Without a clock that can be trusted, lines carry the seconds since the start.
    pub fn line(&self, text: &str) {
        let now = Instant::now();
        let mut books = self.books();
        let text = printable(text);
        let (notice, is_shown) = books.repeats.admit(&text, now);
        if let Some(notice) = notice {
            books.put(&notice, Level::Info, now);
        }
        if is_shown {
            books.put(&text, level(&text), now);
        }
    }

    /// Shows lines on the console alone.
    pub fn show(&self, lines: &[String]) {
        let mut books = self.books();
        for line in lines {
            books.console.line(line);
        }
    }

    /// From now on keeps warnings and errors in `folder`, and all that went before and is still in memory.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn keep_in(&self, folder: &Path) -> io::Result<()> {
        let mut books = self.books();
        let file = append_to(&folder.join(CURRENT))?;
        let written = file.metadata()?.len();
        let kept = Kept { folder: folder.to_owned(), file, plan: KeptLog::new(written, LOG_BUDGET) };
        books.kept = Some(kept);
        let before: Vec<String> = books.ring.tail(usize::MAX).map(String::from).collect();
        let grave = before.iter().filter(|line| level(line) >= Level::Warn);
        grave.for_each(|line| books.keep(line, Instant::now()));
        Ok(())
    }

    /// The newest `count` lines.
    #[must_use]
    pub fn tail(&self, count: usize) -> Vec<String> {
        self.books().ring.tail(count).map(String::from).collect()
    }

    /// Writes the kept log back and lets go of the data partition.
    pub fn release(&self) {
        if let Some(kept) = self.books().kept.take() {
            drop(kept.file.sync_all());
        }
    }

    /// A panic while the log was held must not silence the log.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> MakeWriter<'a> for Journal {
    type Writer = Entry<'a>;

    fn make_writer(&'a self) -> Entry<'a> {
        Entry(self)
    }
}

impl Write for Entry<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        String::from_utf8_lossy(bytes).lines().for_each(|line| self.0.line(line));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Books {
    fn put(&mut self, text: &str, level: Level, now: Instant) {
        let line = format!("{:>9.3} {text}", now.duration_since(self.start).as_secs_f64());
        self.ring.push(&line);
        self.console.line(&line);
        if level >= Level::Warn {
            self.keep(&line, now);
        }
    }

    /// What cannot be written is in memory and on the console; a full card is told of elsewhere.
    fn keep(&mut self, line: &str, now: Instant) {
        let Some(kept) = &mut self.kept else { return };
        if let Err(error) = kept.write(line, now) {
            self.console.line(&format!("the log on the card: {error}"));
        }
    }
}

impl Kept {
    fn write(&mut self, line: &str, now: Instant) -> io::Result<()> {
        let text = match self.plan.admit(line.len() + 1, now) {
            Keeping::Drop => return Ok(()),
            Keeping::Append => format!("{line}\n"),
            Keeping::Rotate => {
                std::fs::rename(self.folder.join(CURRENT), self.folder.join(OLDER))?;
                self.file = append_to(&self.folder.join(CURRENT))?;
                format!("{line}\n")
            }
        };
        match self.plan.take_dropped() {
            0 => self.file.write_all(text.as_bytes()),
            dropped => self.file.write_all(format!("({dropped} lines were too many)\n{text}").as_bytes()),
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Terminals obey control characters: none get through.
fn printable(text: &str) -> String {
    let mut end = text.len().min(LINE_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_kept_and_the_rest_is_only_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::new(Console::default());
        journal.line(" WARN genkan: before there was a card");
        journal.keep_in(folder.path()).expect("it is writable");
        journal.line(" INFO genkan: ordinary");
        journal.line("ERROR genkan: \u{1b}[31mbroken");
        journal.release();
        let kept = std::fs::read_to_string(folder.path().join(CURRENT)).expect("it was made");
        assert_eq!(kept.lines().count(), 2, "{kept}");
        assert!(kept.contains("before there was a card") && kept.contains("?[31mbroken"), "{kept}");
        assert!(journal.tail(10).iter().any(|line| line.contains("ordinary")));
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(printable(&"ü".repeat(LINE_MAX)).len(), LINE_MAX);
        assert!(printable(&format!("a{}", "ü".repeat(LINE_MAX))).len() < LINE_MAX);
    }
}
