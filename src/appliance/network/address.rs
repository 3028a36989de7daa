//! Keeps the lease child: starts it when there is an interface, tells it of the link, believes its leases as far as they are
//! sound, and takes an address away when its time is over, whatever the child says.

use std::fs::File;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use super::Places;
use crate::appliance::core::lease::terms;
use crate::appliance::core::network_plan::Interface;
use crate::appliance::errand::Errand;
use crate::sys::packet::{self, PacketSocket};
use crate::wire::dhcp::{CLIENT_PORT, Hardware};
use crate::wire::errand::{Lease, LeaseOrder, LeaseReport};

/// The file below the box's own directory that keeps the last lease.
const SAVED_FILE: &str = "lease";
const SAVED_MAX: u64 = 8 * 1024;
/// Before a child that ended is started again: doubled each time, up to the last.
const RESTART_FIRST: Duration = Duration::from_secs(1);
const RESTART_MAX: Duration = Duration::from_mins(1);

/// A lease, and whose it was: another interface must not claim it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    hardware: Hardware,
    lease: Lease,
}

#[derive(Debug)]
struct Child {
    errand: Errand,
    hardware: Hardware,
    link: bool,
    /// Holds the client's port, where nobody listens: the kernel would tell the router that nobody is there.
    _port: Socket,
}

/// The keeper of the address.
#[derive(Debug)]
pub struct AddressKeeper {
    host_name: String,
    saved: Option<PathBuf>,
    child: Option<Child>,
    /// The interface that the lease is for, and the child asks on.
    interface: Option<u32>,
    lease: Option<Lease>,
    /// `None` for a lease without end.
    expires: Option<Instant>,
    remembered: Option<Remembered>,
    /// When a child may be started again.
    restart: Option<Instant>,
    failures: u32,
}

impl AddressKeeper {
    /// Nothing is asked yet. `directory` is where the last lease is kept.
    #[must_use]
    pub fn new(host_name: &str, directory: Option<&Path>) -> Self {
        let saved = directory.map(|directory| directory.join(SAVED_FILE));
        let remembered = saved.as_deref().and_then(load);
        Self {
            host_name: host_name.to_owned(),
            saved,
            child: None,
            interface: None,
            lease: None,
            expires: None,
            remembered,
            restart: None,
            failures: 0,
        }
    }

    /// The lease that may be used now.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// The lease that may be used now on the interface `index`.
    #[must_use]
    pub fn lease_on(&self, index: u32) -> Option<&Lease> {
        self.lease().filter(|_| self.interface == Some(index))
    }

    /// The child's channel, to wait on.
    #[must_use]
    pub fn channel(&self) -> Option<BorrowedFd<'_>> {
        self.child.as_ref().map(|child| child.errand.as_fd())
    }

    /// The child's process.
    #[must_use]
    pub fn process(&self) -> Option<Pid> {
        self.child.as_ref().map(|child| child.errand.process())
    }

    /// The interface that is to have the address, as it is now; starts, tells or ends the child. Gives whether a child was
    /// started, whose channel is to be waited on.
    pub fn follow(&mut self, carrier: Option<&Interface>, places: &Places, now: Instant) -> io::Result<bool> {
        let Some(carrier) = carrier.filter(|carrier| carrier.is_up) else {
            // Nothing is due until there is an interface again, and that is told by another way.
            (self.child, self.restart) = (None, None);
            return Ok(false);
        };
        if self.interface != Some(carrier.index) {
            self.interface = Some(carrier.index);
            (self.child, self.lease, self.expires) = (None, None, None);
        }
        if let Some(child) = &mut self.child {
            if child.link != carrier.has_link {
                child.link = carrier.has_link;
                child.errand.send(&LeaseOrder::Link { up: carrier.has_link })?;
            }
            return Ok(false);
        }
        if self.restart.is_some_and(|at| at > now) {
            return Ok(false);
        }
        self.fail(now);
        self.start(carrier, places)?;
        Ok(true)
    }

    /// The child has said something. Whether the lease is another than before.
    pub fn handle_ready(&mut self, now: Instant) -> bool {
        let Some(child) = &mut self.child else { return false };
        match child.errand.receive::<LeaseReport>() {
            Ok(reports) => {
                let mut changed = false;
                for report in reports {
                    changed |= self.take(report, now);
                }
                changed
            }
            Err(end) => {
                tracing::warn!(%end, "the lease child is started again");
                self.child = None;
                false
            }
        }
    }

    /// The process `process` was reaped; whether it was this keeper's.
    pub fn child_ended(&mut self, process: Pid) -> bool {
        let is_ours = self.process() == Some(process);
        if let Some(mut child) = self.child.take_if(|_| is_ours) {
            child.errand.over();
        }
        is_ours
    }

    /// Whether the lease has ended.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_over = self.expires.is_some_and(|at| at <= now);
        if is_over {
            self.lease = None;
            self.expires = None;
        }
        is_over
    }

    /// When the lease ends, or the child may be started again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let restart = self.restart.filter(|_| self.child.is_none());
        [self.expires, restart].into_iter().flatten().min()
    }

    fn start(&mut self, carrier: &Interface, places: &Places) -> io::Result<()> {
        let packets = PacketSocket::open(carrier.index, CLIENT_PORT)?;
        let port = hold_port(&carrier.name)?;
        let errand = Errand::start(&places.program, "lease-child", &places.empty, Some(packets.into()))?;
        let hardware = carrier.hardware;
        let remembered = self.remembered.as_ref().filter(|kept| kept.hardware == hardware);
        let order = LeaseOrder::Start {
            hardware,
            host_name: self.host_name.clone(),
            remembered: remembered.map(|kept| kept.lease.clone()),
            seed: super::seed()?,
            link: carrier.has_link,
        };
        let link = carrier.has_link;
        let mut child = Child { errand, hardware, link, _port: port };
        child.errand.send(&order)?;
        self.child = Some(child);
        Ok(())
    }

    /// Counts an attempt; one that leads to a lease is forgiven.
    fn fail(&mut self, now: Instant) {
        let wait = RESTART_FIRST.saturating_mul(1 << self.failures.min(8)).min(RESTART_MAX);
        self.failures = self.failures.saturating_add(1);
        self.restart = Some(now + wait);
    }

    fn take(&mut self, report: LeaseReport, now: Instant) -> bool {
        let before = self.lease.take();
        match report {
            LeaseReport::Lost(end) => {
                tracing::info!(?end, "the address may not be used any longer");
                self.expires = None;
            }
            LeaseReport::Bound(lease) => {
                let Some(lease) = terms::check(lease) else {
                    tracing::warn!("the lease child reported a lease that cannot be");
                    return before.is_some();
                };
                let seconds = Duration::from_secs(lease.seconds.into());
                self.expires = if lease.seconds == terms::FOREVER { None } else { now.checked_add(seconds) };
                self.failures = 0;
                self.remember(&lease);
                self.lease = Some(lease);
            }
        }
        self.lease != before
    }

    /// Writes only what is new: renewals come every few hours, and the card wears.
    fn remember(&mut self, lease: &Lease) {
        let Some(child) = &self.child else { return };
        let fresh = Remembered { hardware: child.hardware, lease: lease.clone() };
        if self.remembered.as_ref() == Some(&fresh) {
            return;
        }
        if let Some(path) = &self.saved
            && let Err(error) = save(path, &fresh)
        {
            tracing::warn!(%error, path = %path.display(), "the lease is not kept for the next start");
        }
        self.remembered = Some(fresh);
    }
}

fn hold_port(interface: &str) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    packet::deafen(&socket)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    let any = std::net::SocketAddr::from((Ipv4Addr::UNSPECIFIED, CLIENT_PORT));
    socket.bind(&any.into())?;
    Ok(socket)
}

fn load(path: &Path) -> Option<Remembered> {
    let mut text = String::new();
    File::open(path).ok()?.take(SAVED_MAX).read_to_string(&mut text).ok()?;
    let kept: Remembered = serde_json::from_str(&text).ok()?;
    let lease = terms::check(kept.lease)?;
    Some(Remembered { lease, ..kept })
}

fn save(path: &Path, kept: &Remembered) -> io::Result<()> {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, serde_json::to_vec(kept)?)?;
    std::fs::rename(fresh, path)
}
