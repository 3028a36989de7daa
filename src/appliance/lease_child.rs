//! `genkan lease-child`: asks the router for an address. The only process of the box that reads DHCP; it has no privileges.
//!
//! Standard input is the channel to PID 1, standard output the packet socket that PID 1 opened.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::confinement::confine;
use super::core::lease::{Client, Destination, LeaseClient, Transmit};
use crate::base::rng::SeededRng;
use crate::sys::packet::{BROADCAST, PACKET_MAX, PacketSocket};
use crate::wire::dhcp::{decode_packet, encode_packet};
use crate::wire::errand::{LeaseOrder, Lines, encode};

/// Packets read before time and orders have their turn.
const PACKETS_MAX: usize = 32;
const READ_BYTES: usize = 4096;

/// Runs until PID 1 closes the channel. `root` is an empty directory to live in.
pub fn run(root: &Path) -> io::Result<()> {
    let channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let socket = PacketSocket::from_descriptor(io::stdout().as_fd().try_clone_to_owned()?)?;
    confine(root).map_err(io::Error::other)?;
    Child { channel, socket, lines: Lines::default(), client: None }.serve()
}

struct Child {
    channel: UnixStream,
    socket: PacketSocket,
    lines: Lines,
    client: Option<LeaseClient>,
}

impl Child {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            let [has_order, has_packet] = self.wait()?;
            let now = Instant::now();
            if has_order && !self.take_orders(now)? {
                return Ok(());
            }
            if has_packet {
                self.take_packets(now);
            }
            self.proceed(now)?;
        }
    }

    /// Waits for an order, a packet, or the next deadline.
    fn wait(&self) -> io::Result<[bool; 2]> {
        let due = self.client.as_ref().and_then(LeaseClient::poll_timeout);
        let timeout = due.map_or(PollTimeout::NONE, |(at, _)| {
            // A millisecond more: a deadline that is not quite reached would be polled for again and again.
            let left = at.saturating_duration_since(Instant::now()).as_millis() + 1;
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let mut sources = [
            PollFd::new(self.channel.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut sources, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok([0, 1].map(|index| sources[index].any().unwrap_or(false)))
    }

    /// `false` when PID 1 has closed the channel.
    fn take_orders(&mut self, now: Instant) -> io::Result<bool> {
        let mut buffer = [0; READ_BYTES];
        let count = self.channel.read(&mut buffer)?;
        for order in self.lines.take(&buffer[..count]).map_err(io::Error::other)? {
            self.obey(order, now);
        }
        Ok(count > 0)
    }

    fn obey(&mut self, order: LeaseOrder, now: Instant) {
        match order {
            LeaseOrder::Start { hardware, host_name, remembered, seed, link } => {
                let client = Client { hardware, host_name };
                let mut client = LeaseClient::new(client, remembered, SeededRng::new(seed), now);
                client.handle_link(link, now);
                self.client = Some(client);
            }
            LeaseOrder::Link { up } => {
                if let Some(client) = &mut self.client {
                    client.handle_link(up, now);
                }
            }
        }
    }

    fn take_packets(&mut self, now: Instant) {
        let mut buffer = [0; PACKET_MAX];
        for _ in 0..PACKETS_MAX {
            let (length, from) = match self.socket.receive(&mut buffer) {
                Ok(received) => received,
                // An interface that went down says so once, and the socket works again when it is up.
                Err(error) if error.kind() == ErrorKind::NetworkDown => continue,
                Err(_) => return,
            };
            if let (Some(client), Ok(message)) = (&mut self.client, decode_packet(&buffer[..length])) {
                client.handle_message(&message, from, now);
            }
        }
    }

    /// Sends and reports what is due.
    fn proceed(&mut self, now: Instant) -> io::Result<()> {
        let Some(client) = &mut self.client else { return Ok(()) };
        client.handle_timeout(now);
        if let Some(transmit) = client.poll_transmit()
            && send(&self.socket, &transmit).is_err()
        {
            client.handle_unsent(now);
        }
        while let Some(report) = client.poll_report() {
            let line = encode(&report).ok_or(ErrorKind::InvalidData)?;
            self.channel.write_all(&line)?;
        }
        Ok(())
    }
}

fn send(socket: &PacketSocket, transmit: &Transmit) -> io::Result<()> {
    let (destination, hardware) = match transmit.destination {
        Destination::Everybody => (Ipv4Addr::BROADCAST, BROADCAST),
        Destination::Server { address, hardware } => (address, hardware),
    };
    socket.send(&encode_packet(transmit.source, destination, &transmit.message), hardware)
}
