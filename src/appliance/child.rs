//! Running a program to its end while PID 1 has nothing else to do but feed the watchdog.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How often the watchdog is fed meanwhile.
const PULSE: Duration = Duration::from_secs(1);
/// What is kept of the output: its end.
const OUTPUT_MAX: usize = 4096;

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The end of what it printed.
    pub text: String,
}

/// Runs `command` for at most `limit` and calls `pulse` about once a second. Errors: it could not be started, or ran too
/// long and was ended.
pub fn run(command: &mut Command, limit: Duration, pulse: &mut dyn FnMut()) -> io::Result<Ended> {
    let deadline = Instant::now() + limit;
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The command holds the pipe's writing ends, and with them its end of file.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut output = File::from(OwnedFd::from(reader));
    let mut tail = Vec::new();
    let is_whole = collect(&mut output, &mut tail, deadline, pulse)?;
    if !is_whole {
        child.kill()?;
    }
    let status = child.wait()?;
    if !is_whole || status.signal() == Some(nix::libc::SIGKILL) {
        return Err(io::Error::from(io::ErrorKind::TimedOut));
    }
    Ok(Ended {
        code: status.code(),
        signal: status.signal(),
        text: String::from_utf8_lossy(&tail).into_owned(),
    })
}

/// Reads to the end of file; false when `deadline` came first.
fn collect(
    output: &mut File,
    tail: &mut Vec<u8>,
    deadline: Instant,
    pulse: &mut dyn FnMut(),
) -> io::Result<bool> {
    let mut buffer = [0; OUTPUT_MAX];
    let mut last_pulse = Instant::now();
    while Instant::now() < deadline {
        let mut waiting = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(PULSE).expect("a second is in range");
        let ready = match poll(&mut waiting, timeout) {
            Err(nix::errno::Errno::EINTR) => 0,
            other => other?,
        };
        if last_pulse.elapsed() >= PULSE {
            last_pulse = Instant::now();
            pulse();
        }
        if ready == 0 {
            continue;
        }
        match output.read(&mut buffer)? {
            0 => return Ok(true),
            count => tail.extend_from_slice(&buffer[..count]),
        }
        tail.drain(..tail.len().saturating_sub(OUTPUT_MAX));
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str, limit: Duration) -> io::Result<Ended> {
        let mut pulses = 0;
        run(Command::new("sh").args(["-c", line]), limit, &mut || pulses += 1)
    }

    #[test]
    fn the_end_of_the_output_and_the_code_are_kept() {
        let ended = shell("seq 1 5000; echo last >&2; exit 3", Duration::from_secs(20)).expect("it runs");
        assert_eq!(ended.code, Some(3));
        assert!(ended.text.len() <= OUTPUT_MAX && ended.text.ends_with("5000\nlast\n"));
    }

    #[test]
    fn what_runs_too_long_is_ended() {
        let error = shell("exec sleep 60", Duration::from_millis(200)).expect_err("it is too slow");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
