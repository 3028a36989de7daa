//! `genkan slot-write` as PID 1 sees it: a pipe with lines of progress.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Settings;
use crate::appliance::core::slot::Slot;
use crate::wire::update::Progress;

/// A worn card stalls for seconds; a percent of the largest image takes less than one.
const STALL: Duration = Duration::from_mins(2);

/// Longest line that can be progress, in bytes.
const LINE_MAX: usize = 4096;

#[derive(Debug)]
pub struct Child {
    process: process::Child,
    out: process::ChildStdout,
    line: Vec<u8>,
    deadline: Instant,
    file: PathBuf,
}

impl Child {
    /// Its environment is empty; what it says on standard error goes where PID 1's does.
    pub fn start(settings: &Settings, file: &Path, slot: Slot, now: Instant) -> Result<Self, String> {
        let device = &settings.slots[usize::from(slot == Slot::B)];
        let mut command = Command::new(&settings.program);
        command.arg("slot-write").args(["--slot", &slot.to_string(), "--board", &settings.board]);
        for (option, path) in
            [("--file", file), ("--device", device), ("--keys", &settings.keys), ("--build", &settings.build)]
        {
            command.arg(option).arg(path);
        }
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command
            .spawn()
            .map_err(|error| format!("the program that writes the slot does not start: {error}"))?;
        let out = process.stdout.take().expect("standard output is a pipe");
        Ok(Self { process, out, line: Vec::new(), deadline: now + STALL, file: file.to_owned() })
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.out.as_fd()
    }

    /// When it counts as stalled.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Without waiting: what it said, and whether it may say more.
    pub fn read(&mut self, now: Instant) -> (Vec<Progress>, bool) {
        let mut ready = [PollFd::new(self.out.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::ZERO) != Ok(1) {
            return (Vec::new(), true);
        }
        let mut buffer = [0; LINE_MAX];
        let count = match self.out.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return (Vec::new(), true),
            Err(_) => 0,
        };
        self.deadline = now + STALL;
        self.line.extend(&buffer[..count]);
        let mut said = Vec::new();
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            said.extend(std::str::from_utf8(&line).ok().and_then(|line| Progress::decode(line.trim_end())));
        }
        (said, count > 0 && self.line.len() <= LINE_MAX)
    }

    /// Ends it at once; a slot half written is one that nobody starts.
    pub fn stop(mut self) {
        self.process.kill().ok();
    }
}

/// The update has done its work, or will never: the room on the data partition is worth more.
impl Drop for Child {
    fn drop(&mut self) {
        fs::remove_file(&self.file).ok();
        // PID 1 reaps every child; who is not PID 1 has its zombie taken here when it has ended already.
        self.process.try_wait().ok();
    }
}
