//! The kernel's network over netlink (rtnetlink(7)), without a runtime: PID 1 asks, waits for the answer and goes on.

mod findings;
mod orders;

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::core::network_plan::{Present, Step};

/// The kernel answers in microseconds; a request that takes this long has gone wrong.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest piece of an answer (the kernel's own limit for a dump is 32 KiB).
const ANSWER_MAX: usize = 64 * 1024;
/// Most messages that are kept of an answer: a box has a handful of interfaces, addresses and routes.
const MESSAGES_MAX: usize = 4096;

/// Multicast group of link changes (`RTNLGRP_LINK`).
const LINK_GROUP: u32 = 1;

/// What the kernel did not do.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {source}")]
pub struct NetlinkError {
    /// What was tried, as the rest of "cannot".
    pub step: String,
    #[source]
    pub source: io::Error,
}

/// Asks and orders.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// Hears of links that come, go and change.
pub struct LinkMonitor {
    socket: Socket,
}

impl Netlink {
    /// Opens the socket in the network namespace of the calling thread. Errors: those of the socket calls.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let patience = TimeVal::milliseconds(i64::try_from(PATIENCE.as_millis()).unwrap_or(i64::MAX));
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Interfaces, IPv4 addresses and routes as they are.
    pub fn present(&mut self) -> Result<Present, NetlinkError> {
        let because = |step: &str| {
            let step = step.to_owned();
            move |source| NetlinkError { step, source }
        };
        let links = self.request(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP);
        let addresses = self.request(RouteNetlinkMessage::GetAddress(orders::of_ipv4()), NLM_F_DUMP);
        let mut routes = RouteMessage::default();
        routes.header.address_family = AddressFamily::Inet;
        let routes = self.request(RouteNetlinkMessage::GetRoute(routes), NLM_F_DUMP);
        Ok(Present {
            interfaces: links
                .map_err(because("list interfaces"))?
                .iter()
                .filter_map(findings::interface)
                .collect(),
            addresses: addresses
                .map_err(because("list addresses"))?
                .iter()
                .filter_map(findings::address)
                .collect(),
            ways: routes.map_err(because("list routes"))?.iter().filter_map(findings::way).collect(),
        })
    }

    /// Does one step. A thing that is so already, or gone already, is done.
    pub fn perform(&mut self, step: &Step) -> Result<(), NetlinkError> {
        let result = match step {
            Step::Ipv6 { name, on } => orders::set_ipv6(name, *on),
            Step::Up { index } => self.order(orders::up(*index), 0),
            Step::Mtu { index, mtu } => self.order(orders::with_mtu(*index, *mtu), 0),
            Step::CreateVlan { parent, id, name } => {
                self.order(orders::new_vlan(*parent, *id, name), NLM_F_CREATE | NLM_F_EXCL)
            }
            Step::RemoveWay(way) => self.order(RouteNetlinkMessage::DelRoute(orders::route(way)), 0),
            Step::AddWay(way) => {
                self.order(RouteNetlinkMessage::NewRoute(orders::route(way)), NLM_F_CREATE | NLM_F_REPLACE)
            }
            Step::RemoveAddress { index, address } => {
                self.order(RouteNetlinkMessage::DelAddress(orders::address_message(*index, *address)), 0)
            }
            Step::AddAddress { index, address } => {
                orders::announce_itself(*index);
                let message = RouteNetlinkMessage::NewAddress(orders::address_message(*index, *address));
                self.order(message, NLM_F_CREATE | NLM_F_REPLACE)
            }
        };
        match result {
            Err(source) if !orders::is_so_already(step, &source) => {
                Err(NetlinkError { step: orders::describe(step), source })
            }
            _ => Ok(()),
        }
    }

    fn order(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.request(message, NLM_F_ACK | flags).map(|_| ())
    }

    /// Sends one request and collects the messages of its answer. The kernel answers in order: what belongs to an earlier
    /// request that ran out of time is passed over.
    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut found = Vec::new();
        loop {
            let mut answer = Vec::with_capacity(ANSWER_MAX);
            self.socket.recv(&mut answer, 0)?;
            if self.take(&answer, &mut found)? {
                return Ok(found);
            }
        }
    }

    /// Whether the answer ends within `bytes`.
    fn take(&self, mut bytes: &[u8], found: &mut Vec<RouteNetlinkMessage>) -> io::Result<bool> {
        while !bytes.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes)
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))?;
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
            bytes = bytes.get(length.next_multiple_of(4).max(4)..).unwrap_or_default();
            if message.header.sequence_number != self.sequence {
                continue;
            }
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(true),
                NetlinkPayload::Error(error) => {
                    return if error.code.is_none() { Ok(true) } else { Err(error.to_io()) };
                }
                NetlinkPayload::InnerMessage(inner) if found.len() < MESSAGES_MAX => found.push(inner),
                _ => {}
            }
        }
        Ok(false)
    }
}

impl LinkMonitor {
    /// Opens the socket in the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.add_membership(LINK_GROUP)?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket })
    }

    /// Takes everything that has been heard; whether that was anything. What changed is read anew: messages may be lost.
    pub fn drain(&self) -> bool {
        let mut heard = false;
        loop {
            let mut message = Vec::with_capacity(ANSWER_MAX);
            match self.socket.recv(&mut message, 0) {
                Ok(_) => heard = true,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => heard = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return heard,
            }
        }
    }
}

impl AsFd for LinkMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
