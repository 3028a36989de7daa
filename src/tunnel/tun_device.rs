//! The TUN interface: how packets of this machine's kernel come here and go back.
//!
//! The interface lives as long as the process. What stays is an unreachable route for the tailnet's ranges, of the last
//! priority: while the tunnel is down, packets for the tailnet go nowhere instead of out to the LAN.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::task::{Context, Poll};

use ipnet::{Ipv4Net, Ipv6Net};
use rtnetlink::packet_route::link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute};
use rtnetlink::packet_route::route::{RouteMessage, RouteScope, RouteType};
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::core::offload::coalesce::{Joins, MAX_JOINED};
use super::core::offload::segment::{LocalPacket, take_local};
use super::core::offload::vnet_header::{VNET_HEADER_LENGTH, VnetHeader};
use super::core::outbox::{LocalWrite, MAX_SEGMENTS, MAX_TRANSMIT_BYTES};
use super::core::wireguard::SEAL_OVERHEAD;
use crate::sys::tun;

/// All addresses of a tailnet.
pub const TAILNET_IPV4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10);
pub const TAILNET_IPV6: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, 0), 48);

const DEVICE: &str = "/dev/net/tun";

/// Of the routes that remain without the tunnel: any other route to the same prefix wins.
const LAST_PRIORITY: u32 = u32::MAX;

/// The environment's fault, with its cure.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    #[error(
        "{DEVICE} does not exist: load the kernel module (modprobe tun), or give the container the device"
    )]
    NoDevice,
    #[error("no permission to make a network interface: run as root or with CAP_NET_ADMIN")]
    NotPermitted,
    #[error("{0:?} cannot be the name of an interface: use 1 to 15 letters and digits")]
    Name(String),
    #[error("the interface {0} belongs to another process: stop it, or choose another name")]
    Busy(String),
    #[error("opening {DEVICE} failed")]
    Open(#[source] io::Error),
    #[error("netlink: cannot {step}: {reason}")]
    Netlink { step: &'static str, reason: String },
}

/// An interface that is up, and not read yet.
pub struct RaisedTun {
    file: File,
    offload: Option<Joins>,
}

pub struct TunDevice {
    file: AsyncFd<File>,
    /// What may be written joined; `None` where there is no header before packets.
    offload: Option<Joins>,
}

/// Longest read: a super-packet and what stands before it.
pub const READ_ROOM: usize = VNET_HEADER_LENGTH + (1 << 16);

/// What the interface is given.
#[derive(Debug, Clone)]
pub struct TunSettings {
    pub name: String,
    pub mtu: u16,
    pub ipv4: Ipv4Addr,
    pub ipv6: Ipv6Addr,
    /// Whether the kernel may give and take super-packets, where it can.
    pub offload: bool,
}

impl RaisedTun {
    /// Creates the interface, gives it addresses and routes, and brings it up. Without IPv6 in the kernel it has IPv4 only.
    pub async fn create(settings: &TunSettings) -> Result<Self, TunError> {
        let file = open()?;
        tun::attach(&file, &settings.name, settings.offload)
            .map_err(|error| attach_error(&error, &settings.name))?;
        let offload = settings.offload.then(|| offer(&file));
        configure(settings).await?;
        Ok(Self { file, offload })
    }

    /// Lets the current runtime wait for packets.
    pub fn watch(self) -> Result<TunDevice, TunError> {
        let file = tun::watch(self.file).map_err(TunError::Open)?;
        Ok(TunDevice { file, offload: self.offload })
    }
}

impl TunDevice {
    /// Ready when [`TunDevice::receive`] may have a packet. One task asks.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.file.poll_read_ready(context).map_ok(drop)
    }

    /// Which packets may be written joined.
    #[must_use]
    pub fn joins(&self) -> Joins {
        self.offload.unwrap_or_default()
    }

    /// Reads what the kernel sends, into at most [`READ_ROOM`] bytes; `WouldBlock` when there is nothing. `InvalidData`: this
    /// packet makes no sense.
    pub fn receive<'a>(&self, room: &'a mut [u8]) -> io::Result<LocalPacket<'a>> {
        let length = self.file.try_io(Interest::READABLE, |mut file| file.read(room))?;
        let bytes = &mut room[..length];
        if self.offload.is_none() {
            return Ok(LocalPacket::Single(bytes));
        }
        let (header, packet) = bytes.split_first_chunk_mut().ok_or(io::ErrorKind::InvalidData)?;
        let header = VnetHeader::decode(header).map_err(|_| io::ErrorKind::InvalidData)?;
        take_local(&header, packet).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Gives the kernel one packet or super-packet.
    pub fn send(&self, packet: &LocalWrite<'_>) -> io::Result<()> {
        let header = packet.header.encode();
        let mut parts = [IoSlice::new(&[]); 1 + MAX_JOINED];
        let mut count = 0;
        if self.offload.is_some() {
            parts[0] = IoSlice::new(&header);
            count = 1;
        }
        for (place, part) in parts[count..].iter_mut().zip(packet.parts()) {
            *place = IoSlice::new(part);
            count += 1;
        }
        self.file.get_ref().write_vectored(&parts[..count]).map(|_| ())
    }
}

/// Offers the kernel to do what a network card would, as much as it understands; what may be given to it in return.
fn offer(file: &File) -> Joins {
    let offers = [
        (
            tun::CHECKSUM | tun::TCP_SEGMENTATION | tun::UDP_SEGMENTATION,
            Joins { tcp: true, udp: true, ..Joins::default() },
        ),
        (tun::CHECKSUM | tun::TCP_SEGMENTATION, Joins { tcp: true, ..Joins::default() }),
    ];
    let taken = offers.into_iter().find(|(offloads, _)| tun::set_offloads(file, *offloads).is_ok());
    let joins = taken.map_or_else(Joins::default, |(_, joins)| joins);
    tracing::info!(tcp = joins.tcp, udp = joins.udp, "the tunnel's interface takes super-packets");
    joins
}

fn open() -> Result<File, TunError> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
    options.open(DEVICE).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => TunError::NoDevice,
        Some(libc::EACCES | libc::EPERM) => TunError::NotPermitted,
        _ => TunError::Open(error),
    })
}

fn attach_error(error: &io::Error, name: &str) -> TunError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => TunError::NotPermitted,
        Some(libc::EBUSY | libc::EEXIST) => TunError::Busy(name.to_owned()),
        _ if error.kind() == io::ErrorKind::InvalidInput => TunError::Name(name.to_owned()),
        _ => TunError::Open(io::Error::from(error.kind())),
    }
}

async fn configure(settings: &TunSettings) -> Result<(), TunError> {
    let (connection, handle, _) = rtnetlink::new_connection()
        .map_err(|error| TunError::Netlink { step: "open a socket", reason: error.to_string() })?;
    let connection = tokio::spawn(connection);
    let result = configure_with(&handle, settings).await;
    connection.abort();
    result
}

async fn configure_with(handle: &Handle, settings: &TunSettings) -> Result<(), TunError> {
    let index = nix::net::if_::if_nametoindex(settings.name.as_str())
        .map_err(|error| TunError::Netlink { step: "find the interface", reason: error.to_string() })?;
    silence_autoconfiguration(handle, index).await;
    let link = LinkUnspec::new_with_index(index).mtu(u32::from(settings.mtu)).up().build();
    done("bring the interface up", handle.link().set(link).execute().await)?;
    if settings.offload {
        limit_super_packets(handle, index, settings.mtu).await;
    }
    add_address(handle, index, settings.ipv4.into(), 32).await?;
    add_route(handle, ipv4_route().output_interface(index).scope(RouteScope::Link).build()).await?;
    let fallback = ipv4_route().kind(RouteType::Unreachable).priority(LAST_PRIORITY);
    add_route(handle, fallback.build()).await?;
    if let Err(error) = configure_ipv6(handle, index, settings.ipv6).await {
        tracing::warn!(%error, "the tunnel has no IPv6");
    }
    Ok(())
}

/// One super-packet of the kernel is then one send to the network. A kernel that has no such limit needs two.
async fn limit_super_packets(handle: &Handle, index: u32, mtu: u16) {
    let segment = usize::from(mtu) + SEAL_OVERHEAD;
    let segments = (MAX_TRANSMIT_BYTES / segment).min(MAX_SEGMENTS);
    // By number: how many bytes they are depends on the family and the options of each connection.
    let attribute = LinkAttribute::GsoMaxSegs(u32::try_from(segments).unwrap_or(u32::MAX));
    let link = LinkUnspec::new_with_index(index).append_extra_attribute(attribute).build();
    if let Err(error) = handle.link().set(link).execute().await {
        tracing::debug!(%error, "super-packets of the tunnel are not limited");
    }
}

/// No link-local address and no router solicitations into the tunnel, where nobody would answer. Before the interface is up, which makes them.
async fn silence_autoconfiguration(handle: &Handle, index: u32) {
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    let attribute = LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]);
    let link = LinkUnspec::new_with_index(index).append_extra_attribute(attribute).build();
    if let Err(error) = handle.link().set(link).execute().await {
        tracing::debug!(%error, "link-local address of the tunnel stays on");
    }
}

async fn configure_ipv6(handle: &Handle, index: u32, address: Ipv6Addr) -> Result<(), TunError> {
    add_address(handle, index, address.into(), 128).await?;
    add_route(handle, ipv6_route().output_interface(index).build()).await?;
    let fallback = ipv6_route().kind(RouteType::Unreachable).priority(LAST_PRIORITY);
    add_route(handle, fallback.build()).await
}

fn ipv4_route() -> RouteMessageBuilder<Ipv4Addr> {
    RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(TAILNET_IPV4.addr(), TAILNET_IPV4.prefix_len())
}

fn ipv6_route() -> RouteMessageBuilder<Ipv6Addr> {
    RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(TAILNET_IPV6.addr(), TAILNET_IPV6.prefix_len())
}

async fn add_address(handle: &Handle, index: u32, address: IpAddr, length: u8) -> Result<(), TunError> {
    let request = handle.address().add(index, address, length).replace();
    done("add an address", request.execute().await)
}

/// Replaces a route of the same prefix and priority: the one that stayed from the last run.
async fn add_route(handle: &Handle, route: RouteMessage) -> Result<(), TunError> {
    done("add a route", handle.route().add(route).replace().execute().await)
}

fn done(step: &'static str, result: Result<(), rtnetlink::Error>) -> Result<(), TunError> {
    result.map_err(|error| match &error {
        rtnetlink::Error::NetlinkError(message)
            if matches!(message.raw_code().abs(), libc::EPERM | libc::EACCES) && step != "add an address" =>
        {
            TunError::NotPermitted
        }
        _ => TunError::Netlink { step, reason: error.to_string() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_cause_and_the_cure() {
        let busy = attach_error(&io::Error::from_raw_os_error(libc::EBUSY), "genkan0");
        assert!(busy.to_string().contains("genkan0"));
        let denied = attach_error(&io::Error::from_raw_os_error(libc::EPERM), "genkan0");
        assert!(denied.to_string().contains("CAP_NET_ADMIN"));
        let name = attach_error(&io::Error::from(io::ErrorKind::InvalidInput), "a/b");
        assert!(matches!(name, TunError::Name(_)));
    }
}
