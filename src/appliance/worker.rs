//! The worker as a child: how it is started, what it says, what it is told.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::core::lines::Lines;
use super::settings::{Settings, WORKER_ID};
use crate::sys::privileges::{self, NET_ADMIN, NET_BIND_SERVICE, Privileges};
use crate::wire::supervision::{DESCRIPTOR, FromInit, FromWorker, LINE_MAX, NO_AES};

/// Files and sockets that the worker may have open.
const FILES_MAX: u64 = 65_536;
/// Longest line of its log.
const LOG_LINE_MAX: usize = 8 * 1024;
/// Bytes that wait until the worker reads; more are not kept for one that does not.
const OUTBOX_MAX: usize = 2 * LINE_MAX;
/// Bytes read at a time; a worker that talks without end still lets others be heard.
const CHUNK: usize = 64 * 1024;
/// When memory is short the worker goes before PID 1, and both after everything else.
const OOM_SCORE: &str = "-500";
/// The interfaces of the tunnel are made through this node.
const TUN: &str = "/dev/net/tun";

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    pid: Pid,
    socket: UnixStream,
    said: Lines,
    outbox: Vec<u8>,
    output: File,
    log: Lines,
}

/// What the worker is started with, and `inherit` open.
pub fn privileges(inherit: Option<RawFd>) -> Privileges {
    Privileges { id: WORKER_ID, capabilities: &[NET_BIND_SERVICE, NET_ADMIN], files: FILES_MAX, inherit }
}

impl Worker {
    /// Starts the worker without root, with the state in `data`; `no_aes` as in [`Options`](super::core::options::Options).
    pub fn start(settings: &Settings, no_aes: bool) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(&settings.program);
        command.arg("serve").arg("--config").arg(&settings.config);
        command.arg("--state").arg(settings.data.join("state")).current_dir("/").env_clear();
        command.env(DESCRIPTOR, theirs.as_raw_fd().to_string());
        if no_aes {
            command.env(NO_AES, "1");
        }
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        privileges::confine(&mut command, privileges(Some(theirs.as_raw_fd())));
        let child = command.spawn()?;
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process number is positive"));
        drop(std::fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE));
        let output = OwnedFd::from(reader);
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        ours.set_nonblocking(true)?;
        let (said, log) = (Lines::new(LINE_MAX), Lines::new(LOG_LINE_MAX));
        Ok(Self { pid, socket: ours, said, outbox: Vec::new(), output: File::from(output), log })
    }

    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends it a signal; one that has ended does not mind.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid, signal).ok();
    }

    /// The end of its conversation.
    #[must_use]
    pub fn conversation(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether something waits to be sent.
    #[must_use]
    pub fn has_post(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The end of its log.
    #[must_use]
    pub fn output(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Lines of its log that have come. With `to_the_end`, also the one that it did not finish.
    pub fn read_log(&mut self, to_the_end: bool) -> Vec<String> {
        let mut chunk = vec![0; CHUNK];
        let mut lines = match self.output.read(&mut chunk) {
            Ok(count) => self.log.push(&chunk[..count]),
            Err(_) => Vec::new(),
        };
        if to_the_end {
            lines.extend(self.log.finish());
        }
        lines.into_iter().map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect()
    }

    /// What it has said.
    ///
    /// # Errors
    /// It has closed the conversation, or says what cannot be understood.
    pub fn listen(&mut self) -> io::Result<Vec<FromWorker>> {
        let mut chunk = vec![0; CHUNK];
        let count = match self.socket.read(&mut chunk) {
            Ok(0) => return Err(io::Error::from(ErrorKind::UnexpectedEof)),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Err(error) => return Err(error),
        };
        let lines = self.said.push(&chunk[..count]);
        lines
            .iter()
            .map(|line| {
                if line.is_cut {
                    return Err(io::Error::new(ErrorKind::InvalidData, "a line is too long"));
                }
                serde_json::from_slice(&line.bytes)
                    .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
            })
            .collect()
    }

    /// Tells it something, now or when it reads again.
    pub fn tell(&mut self, message: &FromInit) {
        let mut line = serde_json::to_vec(message).expect("plain data");
        line.push(b'\n');
        if self.outbox.len() + line.len() > OUTBOX_MAX {
            tracing::warn!("the worker does not read: what it is told is lost");
            return;
        }
        self.outbox.extend_from_slice(&line);
        self.send();
    }

    /// Sends what waits, as far as it goes.
    pub fn send(&mut self) {
        while !self.outbox.is_empty() {
            match self.socket.write(&self.outbox) {
                Ok(count) => drop(self.outbox.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Its end is noticed where it is read.
                Err(_) => self.outbox.clear(),
            }
        }
    }
}

/// Lets the worker make tunnel interfaces, where not everybody may already (the kernel asks for `CAP_NET_ADMIN` besides).
///
/// # Errors
/// The kernel has no TUN.
pub fn open_tun() -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let device = Path::new(TUN);
    let mode = std::fs::metadata(device)?.permissions().mode();
    if mode & 0o006 == 0o006 {
        return Ok(());
    }
    std::os::unix::fs::chown(device, None, Some(WORKER_ID))?;
    std::fs::set_permissions(device, std::fs::Permissions::from_mode(0o660))
}
