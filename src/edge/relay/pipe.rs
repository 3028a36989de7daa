//! Pipes that bytes pass through from socket to socket without leaving the kernel, and the pool they come from.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

/// Pipes of one loop. A pipe is lent while it holds bytes, so this many receivers can be slow before others are copied for.
const PIPES: usize = 32;

/// Asked of the kernel for each: 128 pieces. What a network card joins comes in pieces of one segment each, so this is more than
/// a whole super-packet; all pipes together stay below the kernel's soft limit of 64 MiB per user.
const CAPACITY: i32 = 512 * 1024;

/// Bytes asked for at once: all that fits.
const MOST: usize = 1 << 20;

/// Nothing in it when it is not lent.
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

#[derive(Default)]
pub struct Pipes {
    free: Vec<Pipe>,
    lent: usize,
}

impl Pipes {
    /// An empty pipe, if there is one.
    pub fn lend(&mut self) -> Option<Pipe> {
        if self.lent == PIPES {
            return None;
        }
        let pipe = match self.free.pop() {
            Some(pipe) => pipe,
            None => Pipe::new().inspect_err(|error| tracing::debug!(%error, "no pipe for now")).ok()?,
        };
        self.lent += 1;
        Some(pipe)
    }

    /// Takes back an empty pipe.
    pub fn give_back(&mut self, pipe: Pipe) {
        self.lent -= 1;
        self.free.push(pipe);
    }

    /// Closes a pipe with bytes in it that nobody wants any more.
    pub fn discard(&mut self, pipe: Pipe) {
        self.lent -= 1;
        drop(pipe);
    }
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        if let Err(error) = fcntl(&write, FcntlArg::F_SETPIPE_SZ(CAPACITY)) {
            tracing::debug!(%error, "a pipe stays small");
        }
        Ok(Self { read, write })
    }

    /// Moves what the non-blocking socket `from` has received into the pipe, as much as fits; 0 at the end of the stream. The
    /// pipe must be empty for `WouldBlock` to mean that nothing was received.
    pub fn fill(&self, from: &impl AsFd) -> io::Result<usize> {
        Ok(splice(from, None, &self.write, None, MOST, flags())?)
    }

    /// Moves `bytes` of the pipe out to the non-blocking socket `to`, or as much as it takes.
    pub fn drain(&self, to: &impl AsFd, bytes: usize) -> io::Result<usize> {
        Ok(splice(&self.read, None, to, None, bytes, flags())?)
    }
}

fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_used_again_and_bounded() {
        let mut pipes = Pipes::default();
        let lent: Vec<_> = std::iter::from_fn(|| pipes.lend()).collect();
        assert_eq!(lent.len(), PIPES);
        for pipe in lent {
            pipes.give_back(pipe);
        }
        let pipe = pipes.lend().expect("they came back");
        assert_eq!(pipes.free.len(), PIPES - 1);
        pipes.discard(pipe);
        assert_eq!((pipes.free.len(), pipes.lent), (PIPES - 1, 0));
    }
}
