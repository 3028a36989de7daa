//! A child of PID 1 that is sent on an errand: this program again, under a hidden command, with a channel as its standard input.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::errand::{BadLine, Lines, encode};

/// Bytes read at a time, and at most so often before others have a turn.
const READ_BYTES: usize = 4096;
const READS_MAX: usize = 16;

/// The child is gone, or has nothing more to say that would be believed.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("it has ended")]
    Closed,
    #[error(transparent)]
    BadLine(#[from] BadLine),
    #[error("its channel failed: {0}")]
    Channel(#[from] io::Error),
}

/// The parent's hold on a child. Dropping it ends the child.
#[derive(Debug)]
pub struct Errand {
    process: Pid,
    is_over: bool,
    channel: UnixStream,
    lines: Lines,
}

impl Errand {
    /// Starts `program command --root root`. The child gets one end of a channel as standard input, `gift` (nothing, if
    /// `None`) as standard output, this process's standard error, and no environment.
    pub fn start(program: &Path, command: &str, root: &Path, gift: Option<OwnedFd>) -> io::Result<Self> {
        let (channel, theirs) = UnixStream::pair()?;
        channel.set_nonblocking(true)?;
        let child = Command::new(program)
            .arg(command)
            .arg("--root")
            .arg(root)
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(gift.map_or_else(Stdio::null, Stdio::from))
            .spawn()?;
        let process = i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)?;
        Ok(Self { process, is_over: false, channel, lines: Lines::default() })
    }

    /// Sends one line. A child that does not listen has ended as far as its parent is concerned.
    pub fn send<T: Serialize>(&mut self, order: &T) -> io::Result<()> {
        let line = encode(order).ok_or(ErrorKind::InvalidInput)?;
        self.channel.write_all(&line)
    }

    /// What it has said since the last time. Whatever a child said before it ended is given first, and the end next time.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Vec<T>, Ended> {
        let mut messages = Vec::new();
        let mut buffer = [0; READ_BYTES];
        for _ in 0..READS_MAX {
            match self.channel.read(&mut buffer) {
                Ok(0) if messages.is_empty() => return Err(Ended::Closed),
                Ok(0) => break,
                Ok(count) => messages.extend(self.lines.take(&buffer[..count])?),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(messages)
    }

    /// The child's process.
    #[must_use]
    pub fn process(&self) -> Pid {
        self.process
    }

    /// The child was reaped; its number may belong to another process by now.
    pub fn over(&mut self) {
        self.is_over = true;
    }
}

impl AsFd for Errand {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Drop for Errand {
    /// It stays a zombie until it is reaped, and its number its own until then.
    fn drop(&mut self) {
        if !self.is_over
            && let Err(error) = kill(self.process, Signal::SIGKILL)
        {
            tracing::debug!(%error, process = self.process.as_raw(), "the child was gone already");
        }
    }
}
