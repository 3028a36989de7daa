//! The box's network and clock, as PID 1 drives them.
//!
//! ```text
//! let mut network = Network::start(settings, Instant::now())?;
//! // The loop waits on network.descriptor() (one descriptor for all, the same for life) and until network.poll_timeout().
//! network.handle_ready(Instant::now());        // the descriptor is readable
//! network.handle_timeout(Instant::now());      // the time has come; harmless when it has not
//! network.child_ended(process, Instant::now()) // waitpid() gave this one; true: it was the network's
//! network.conditions(now)  network.status()  network.clock_known()   // cheap; they change with time too
//! network.save_clock();                        // before the data partition goes
//! ```
//!
//! Nothing here waits longer than the kernel takes to answer, and nothing here reads a stranger's bytes: DHCP, DNS and SNTP are
//! read in two children without privileges ([`super::lease_child`], [`super::time_child`]), which are this program again.
//! `[lan]` of `genkan.toml` is not looked at: it tells the worker which of the box's addresses is the house's, where it has
//! several; this module gives the box its address in the first place.

mod address;
mod links;
mod timekeeper;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::Pid;

use super::core::network_plan::{self, Choice, Standing, resolver_file};
use super::core::settings::{Addressing, NetworkSettings, TimeSettings};
use super::core::time_sync::Source;
use crate::base::condition::Condition;
use crate::base::wall_time::UnixTime;
use address::AddressKeeper;
use links::Links;
use timekeeper::Timekeeper;

/// The file below the run directory that the worker's resolver reads, by way of `/etc/resolv.conf`.
pub const RESOLVER_FILE: &str = "resolv.conf";
/// The directory below the run directory that the children live in.
const EMPTY_DIRECTORY: &str = "empty";

const LINKS: u64 = 1;
const LEASE: u64 = 2;
const TIME: u64 = 3;

/// What the network is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    pub network: NetworkSettings,
    pub time: TimeSettings,
    /// No true time is below: [`super::core::time_sync::floor`] of when the program was built, [`super::clock::load`] and the
    /// newest certificate of the box's own.
    pub floor: UnixTime,
    /// For files that do not outlive the machine: `/run/genkan`.
    pub run: PathBuf,
    /// For the last lease and the clock, if there is such a place: `/data/box`.
    pub data: Option<PathBuf>,
    /// This program: `/proc/self/exe`.
    pub program: PathBuf,
    /// Whether the clocks are set, or only measured.
    pub sets_clock: bool,
}

/// How network and clock are, for the status page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// As `eth0 192.168.1.10/24`.
    pub addresses: Vec<String>,
    /// The cable leads somewhere.
    pub link: bool,
    /// `unknown`, or where the time came from.
    pub clock: String,
}

/// What children are started with.
struct Places {
    program: PathBuf,
    empty: PathBuf,
}

/// The network and the clock of the box.
pub struct Network {
    settings: Settings,
    places: Places,
    epoll: Epoll,
    links: Links,
    address: AddressKeeper,
    time: Timekeeper,
    /// Since when there is a link and yet no address.
    waiting: Option<Instant>,
    resolver: String,
    trouble: Option<String>,
}

impl Network {
    /// Switches the interfaces on and begins to ask; sets the system's clock from the board's or to the floor. Returns without
    /// waiting for either. Errors: netlink, epoll or the run directory cannot be had.
    pub fn start(settings: Settings, now: Instant) -> io::Result<Self> {
        let places = Places { program: settings.program.clone(), empty: settings.run.join(EMPTY_DIRECTORY) };
        std::fs::create_dir_all(&places.empty)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let links = Links::open()?;
        epoll.add(links.monitor(), EpollEvent::new(EpollFlags::EPOLLIN, LINKS))?;
        let address = AddressKeeper::new(&settings.network.host_name, settings.data.as_deref());
        let time = Timekeeper::start(&settings, now);
        let mut network = Self {
            settings,
            places,
            epoll,
            links,
            address,
            time,
            waiting: None,
            resolver: String::new(),
            trouble: None,
        };
        network.settle(now);
        network.handle_timeout(now);
        Ok(network)
    }

    /// Readable when [`Network::handle_ready`] has something to do. It is one epoll instance for all sources, which come and
    /// go behind it: add it to the loop once.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// Does what can be done without waiting.
    pub fn handle_ready(&mut self, now: Instant) {
        let mut events = [EpollEvent::empty(); 4];
        let count = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or_default();
        let mut is_stale = false;
        for event in &events[..count] {
            match event.data() {
                LINKS => is_stale |= self.links.drain(),
                // A lease child that ended is started again by the same way.
                LEASE => is_stale |= self.address.handle_ready(now) || self.address.channel().is_none(),
                TIME => self.time.handle_ready(now),
                _ => {}
            }
        }
        if is_stale {
            self.settle(now);
        }
        self.handle_timeout(now);
    }

    /// Does what is due by `now`; call it any time.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = self.address.poll_timeout().is_some_and(|at| at <= now);
        if self.address.handle_timeout(now) || is_due {
            self.settle(now);
        }
        if self.time.handle_timeout(&self.places, now)
            && let Some(channel) = self.time.channel()
        {
            self.trouble = watch(&self.epoll, channel, TIME);
        }
    }

    /// When [`Network::handle_timeout`] has something to do next; `None`: not before something happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.address.poll_timeout(), self.time.poll_timeout()].into_iter().flatten().min()
    }

    /// Tells that the process `process` was reaped. `false`: it was none of the network's children.
    pub fn child_ended(&mut self, process: Pid, now: Instant) -> bool {
        if self.time.child_ended(process, now) {
            return true;
        }
        let is_ours = self.address.child_ended(process);
        if is_ours {
            self.settle(now);
        }
        is_ours
    }

    /// The processes that belong to the network now, two at most.
    #[must_use]
    pub fn children(&self) -> Vec<Pid> {
        [self.address.process(), self.time.process()].into_iter().flatten().collect()
    }

    /// Everything the owner should know of: NET-01 to NET-07, TIME-01 to TIME-03.
    #[must_use]
    pub fn conditions(&self, now: Instant) -> Vec<Condition> {
        let standing = Standing {
            settings: &self.settings.network,
            present: self.links.present(),
            choice: self.links.choice(),
            lease: self.address.lease(),
            waiting: self.waiting.map(|since| now.saturating_duration_since(since)).unwrap_or_default(),
            refused: self.links.refused().or(self.trouble.as_deref()),
        };
        let mut found = network_plan::conditions(&standing);
        found.extend(self.time.conditions(now));
        found
    }

    /// For the status page.
    #[must_use]
    pub fn status(&self) -> Status {
        let carrier = self.links.carrier(&self.settings.network);
        let present = self.links.present();
        let own = present.addresses.iter().filter(|(index, _)| carrier.is_some_and(|it| it.index == *index));
        let name = carrier.map(|carrier| carrier.name.as_str()).unwrap_or_default();
        Status {
            addresses: own.map(|(_, address)| format!("{name} {address}")).collect(),
            link: self.links.choice().is_linked(),
            clock: clock_text(self.time.source()),
        }
    }

    /// Whether the system's clock shows a time that somebody vouched for.
    #[must_use]
    pub fn clock_known(&self) -> bool {
        self.time.source().is_some()
    }

    /// By how many nanoseconds the system's clock was found to be behind when it was last measured.
    #[must_use]
    pub fn measured_offset(&self) -> Option<i64> {
        self.time.measured()
    }

    /// Keeps the time for the next start; at an orderly stop, before the data partition goes.
    pub fn save_clock(&self) {
        self.time.save();
    }

    /// Makes the kernel's network, the lease child and the resolver's file what they are to be.
    fn settle(&mut self, now: Instant) {
        self.links.settle(&self.settings.network, |interface| self.address.lease_on(interface));
        if self.settings.network.addressing == Addressing::Dhcp {
            self.follow(now);
        }
        let is_addressed =
            self.address.lease().is_some() || self.settings.network.addressing != Addressing::Dhcp;
        let is_linked = matches!(self.links.choice(), Choice::Linked(_));
        if !is_linked || is_addressed {
            self.waiting = None;
        } else {
            self.waiting.get_or_insert(now);
        }
        self.tell_resolver();
        let lease = self.address.lease();
        let servers = lease.iter().flat_map(|lease| &lease.time_servers).map(|ip| IpAddr::V4(*ip)).collect();
        let dns = network_plan::dns(&self.settings.network, lease);
        self.time.handle_network(is_linked && is_addressed, servers, dns, now);
    }

    fn follow(&mut self, now: Instant) {
        let carrier = self.links.carrier(&self.settings.network);
        match self.address.follow(carrier, &self.places, now) {
            Ok(true) => {
                self.trouble = self.address.channel().and_then(|channel| watch(&self.epoll, channel, LEASE));
            }
            Ok(false) => {}
            Err(error) => {
                let reason = format!("cannot ask for an address: {error}");
                tracing::warn!(reason);
                self.trouble = Some(reason);
            }
        }
    }

    /// Writes the resolver's file when it changes: whole, or not at all.
    fn tell_resolver(&mut self) {
        let text = resolver_file(&self.settings.network, self.address.lease());
        if text == self.resolver {
            return;
        }
        match replace(&self.settings.run.join(RESOLVER_FILE), &text) {
            Ok(()) => self.resolver = text,
            Err(error) => tracing::warn!(%error, "the resolver's file cannot be written"),
        }
    }
}

/// What went wrong, if anything.
fn watch(epoll: &Epoll, channel: BorrowedFd<'_>, token: u64) -> Option<String> {
    let added = epoll.add(channel, EpollEvent::new(EpollFlags::EPOLLIN, token));
    added.err().map(|errno| format!("cannot listen to a child: {errno}"))
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text)?;
    std::fs::rename(fresh, path)
}

fn clock_text(source: Option<Source>) -> String {
    match source {
        None => "unknown".to_owned(),
        Some(Source::Board) => "the board's own clock".to_owned(),
        Some(Source::Server(server)) => format!("time server {server}"),
        Some(Source::Servers(count)) => format!("{count} time servers that agree"),
    }
}

/// Randomness for a child, from the kernel.
fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(seed)
}
