//! `genkan time-child`: asks servers for the time, once, and ends. The only process of the box that reads SNTP and the DNS
//! answers on the way to it; it has no privileges.
//!
//! Standard input is the channel to PID 1.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::clock::monotonic;
use super::confinement::confine;
use super::core::time_poll::{Question, QuestionId, TimePoll};
use crate::wire::dns_lookup::ANSWER_MAX;
use crate::wire::errand::{Lines, TimeOrder, TimeReport, encode};

const READ_BYTES: usize = 4096;

/// Runs one round, or until PID 1 closes the channel. `root` is an empty directory to live in.
pub fn run(root: &Path) -> io::Result<()> {
    let mut channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    confine(root).map_err(io::Error::other)?;
    let Some(order) = read_order(&mut channel)? else { return Ok(()) };
    let poll = TimePoll::new(order, Instant::now());
    Round { channel, poll, sockets: Vec::new() }.serve()
}

fn read_order(channel: &mut UnixStream) -> io::Result<Option<TimeOrder>> {
    let mut lines = Lines::default();
    let mut buffer = [0; READ_BYTES];
    loop {
        let count = channel.read(&mut buffer)?;
        let mut orders = lines.take(&buffer[..count]).map_err(io::Error::other)?;
        if count == 0 || !orders.is_empty() {
            return Ok(orders.pop());
        }
    }
}

struct Round {
    channel: UnixStream,
    poll: TimePoll,
    /// One for each question on its way, so that an answer must guess a port as well.
    sockets: Vec<(QuestionId, UdpSocket)>,
}

impl Round {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            self.send_questions();
            if self.report()? {
                return Ok(());
            }
            let ready = self.wait()?;
            if ready.first() == Some(&true) {
                return Ok(());
            }
            self.take_answers(&ready[1..]);
            self.poll.handle_timeout(Instant::now());
            let poll = &self.poll;
            self.sockets.retain(|(id, _)| poll.is_pending(*id));
        }
    }

    fn send_questions(&mut self) {
        while let Some(question) = self.poll.poll_question() {
            match ask(&question) {
                Ok(socket) => self.sockets.push((question.id, socket)),
                // No route, as IPv6 where there is none.
                Err(_) => self.poll.handle_unreachable(question.id, Instant::now()),
            }
        }
    }

    /// Whether the round is over.
    fn report(&mut self) -> io::Result<bool> {
        while let Some(report) = self.poll.poll_report() {
            let line = encode(&report).ok_or(ErrorKind::InvalidData)?;
            self.channel.write_all(&line)?;
            if matches!(report, TimeReport::Done { .. }) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Which of channel and sockets have something; PID 1 says nothing more on the channel, but may close it.
    fn wait(&self) -> io::Result<Vec<bool>> {
        let timeout = self.poll.poll_timeout().map_or(PollTimeout::NONE, |at| {
            let left = at.saturating_duration_since(Instant::now()).as_millis() + 1;
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let sockets = self.sockets.iter().map(|(_, socket)| socket.as_fd());
        let sources = [self.channel.as_fd()].into_iter().chain(sockets);
        let mut sources: Vec<PollFd<'_>> =
            sources.map(|source| PollFd::new(source, PollFlags::POLLIN)).collect();
        match poll(&mut sources, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(sources.iter().map(|source| source.any().unwrap_or(false)).collect())
    }

    fn take_answers(&mut self, ready: &[bool]) {
        let mut buffer = [0; ANSWER_MAX + 1];
        for ((id, socket), _) in self.sockets.iter().zip(ready).filter(|(_, is_ready)| **is_ready) {
            match socket.recv(&mut buffer) {
                Ok(length) => self.poll.handle_answer(*id, &buffer[..length], Instant::now(), monotonic()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.poll.handle_unreachable(*id, Instant::now()),
            }
        }
    }
}

/// Sends a question from a port of its own, where only its server is heard.
fn ask(question: &Question) -> io::Result<UdpSocket> {
    let any: SocketAddr = match question.to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(question.to)?;
    socket.send(&question.datagram)?;
    Ok(socket)
}
