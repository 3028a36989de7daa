//! Keeps the clock: starts a time child for each round, and does to the clocks what the judge of its samples says.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Instant;

use nix::unistd::Pid;

use super::{Places, Settings};
use crate::appliance::clock;
use crate::appliance::core::settings::{TimeServer, TimeSettings};
use crate::appliance::core::time_sync::{Adjustment, Due, Source, TimeSync};
use crate::appliance::errand::Errand;
use crate::base::condition::Condition;
use crate::wire::errand::{TimeOrder, TimeReport};
use crate::wire::{dns_lookup, sntp};

/// The keeper of the clock.
#[derive(Debug)]
pub struct Timekeeper {
    sync: TimeSync,
    settings: TimeSettings,
    directory: Option<PathBuf>,
    sets_clock: bool,
    child: Option<Errand>,
    /// There is an address to ask from.
    is_online: bool,
    /// Of the router, and servers of names: of the network that there is now.
    router_servers: Vec<IpAddr>,
    dns: Vec<IpAddr>,
    measured: Option<i64>,
}

impl Timekeeper {
    /// Sets the system's clock from the board's, or to the floor; asks nobody yet.
    #[must_use]
    pub fn start(settings: &Settings, now: Instant) -> Self {
        let mut keeper = Self {
            sync: TimeSync::new(settings.floor, settings.time.servers.len(), now),
            settings: settings.time.clone(),
            directory: settings.data.clone(),
            sets_clock: settings.sets_clock,
            child: None,
            is_online: false,
            router_servers: Vec::new(),
            dns: Vec::new(),
            measured: None,
        };
        let first = keeper.sync.handle_board(clock::read_board(), clock::reading().system);
        if let Some(time) = first.filter(|_| keeper.sets_clock) {
            set(Adjustment::Step(time));
        }
        keeper
    }

    /// The network as it is now: without an address nobody is asked, with another one everybody anew.
    pub fn handle_network(
        &mut self,
        is_online: bool,
        router_servers: Vec<IpAddr>,
        dns: Vec<IpAddr>,
        now: Instant,
    ) {
        let is_other = router_servers != self.router_servers || dns != self.dns;
        if is_online && (is_other || !self.is_online) {
            self.sync.handle_network(now);
        }
        self.is_online = is_online;
        self.router_servers = router_servers;
        self.dns = dns;
    }

    /// The child's channel, to wait on.
    #[must_use]
    pub fn channel(&self) -> Option<BorrowedFd<'_>> {
        self.child.as_ref().map(AsFd::as_fd)
    }

    /// The child's process.
    #[must_use]
    pub fn process(&self) -> Option<Pid> {
        self.child.as_ref().map(Errand::process)
    }

    /// The child has said something.
    pub fn handle_ready(&mut self, now: Instant) {
        let Some(child) = &mut self.child else { return };
        match child.receive::<TimeReport>() {
            Ok(reports) => reports.iter().for_each(|report| self.take(report, now)),
            Err(end) => {
                tracing::warn!(%end, "the time child gave no result");
                self.end_round(now);
            }
        }
    }

    /// The process `process` was reaped; whether it was this keeper's. What it said last is heard first.
    pub fn child_ended(&mut self, process: Pid, now: Instant) -> bool {
        if self.process() != Some(process) {
            return false;
        }
        self.handle_ready(now);
        if let Some(child) = &mut self.child {
            child.over();
            self.end_round(now);
        }
        true
    }

    /// Does what is due. Gives whether a child was started, whose channel is to be waited on.
    pub fn handle_timeout(&mut self, places: &Places, now: Instant) -> bool {
        let (at, due) = self.sync.poll_timeout();
        if at > now {
            return false;
        }
        match due {
            Due::Ask if self.is_online => return self.begin_round(places, now),
            Due::Ask => {}
            Due::Decide => {
                let adjustment = self.sync.decide(clock::reading(), now);
                self.adjust(adjustment);
            }
            Due::GiveUp => self.end_round(now),
        }
        false
    }

    /// When [`Timekeeper::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (at, due) = self.sync.poll_timeout();
        (self.is_online || due != Due::Ask).then_some(at)
    }

    /// Where the time came from; `None` while it is unknown.
    #[must_use]
    pub fn source(&self) -> Option<Source> {
        self.sync.source()
    }

    /// By how many nanoseconds the system's clock was found to be behind, the last time it was measured.
    #[must_use]
    pub fn measured(&self) -> Option<i64> {
        self.measured
    }

    #[must_use]
    pub fn conditions(&self, now: Instant) -> Vec<Condition> {
        self.sync.conditions(now)
    }

    /// Keeps the time for the next start, when somebody vouched for it.
    pub fn save(&self) {
        let (Some(directory), true) = (&self.directory, self.sets_clock) else { return };
        let Some(time) = self.sync.worth_saving(clock::reading().system) else { return };
        if let Err(error) = clock::save(directory, time) {
            tracing::warn!(%error, directory = %directory.display(), "the time is not kept for the next start");
        }
    }

    fn begin_round(&mut self, places: &Places, now: Instant) -> bool {
        self.sync.handle_round(now);
        match self.send_child(places) {
            Ok(child) => self.child = Some(child),
            Err(error) => {
                tracing::warn!(%error, "nobody can be asked for the time");
                self.end_round(now);
            }
        }
        self.child.is_some()
    }

    fn send_child(&self, places: &Places) -> io::Result<Errand> {
        let order = self.order()?;
        let mut child = Errand::start(&places.program, "time-child", &places.empty, None)?;
        child.send(&order)?;
        Ok(child)
    }

    /// The owner's servers. The router's is asked too, unless the owner has chosen.
    fn order(&self) -> io::Result<TimeOrder> {
        let is_chosen = self.settings != TimeSettings::default();
        let router: &[IpAddr] = if is_chosen { &[] } else { &self.router_servers };
        let mut addresses: Vec<IpAddr> = router.to_vec();
        let mut names = Vec::new();
        for server in &self.settings.servers {
            match server {
                TimeServer::Address(address) => addresses.push(*address),
                TimeServer::Name(name) => names.push(name.clone()),
            }
        }
        let at = |port: u16| move |address: &IpAddr| SocketAddr::new(*address, port);
        Ok(TimeOrder {
            addresses: addresses.iter().map(at(sntp::PORT)).collect(),
            names,
            dns: self.dns.iter().map(at(dns_lookup::PORT)).collect(),
            shunned: self.sync.shunned(),
            near: self.sync.near(),
            seed: super::seed()?,
        })
    }

    fn take(&mut self, report: &TimeReport, now: Instant) {
        match report {
            TimeReport::Sample(sample) => {
                tracing::debug!(server = %sample.server, "a time server answered");
                let adjustment = self.sync.handle_sample(*sample, clock::reading(), now);
                self.adjust(adjustment);
            }
            TimeReport::Shun(server) => self.sync.handle_shun(*server, now),
            TimeReport::Done { asked } => {
                tracing::debug!(asked, "the round is over");
                self.end_round(now);
            }
        }
    }

    fn end_round(&mut self, now: Instant) {
        self.child = None;
        let adjustment = self.sync.handle_round_end(clock::reading(), now);
        self.adjust(adjustment);
    }

    fn adjust(&mut self, adjustment: Option<Adjustment>) {
        let Some(adjustment) = adjustment else { return };
        let offset = match adjustment {
            Adjustment::Step(time) => time.saturating_sub(clock::reading().system),
            Adjustment::Slew(offset) => offset,
        };
        self.measured = Some(offset);
        tracing::info!(offset_ms = offset / 1_000_000, source = ?self.sync.source(), "the time is known");
        if self.sets_clock {
            set(adjustment);
            clock::write_board();
            self.save();
        }
    }
}

fn set(adjustment: Adjustment) {
    if let Err(error) = clock::apply(adjustment) {
        tracing::error!(%error, "the clock cannot be set: it takes root, or CAP_SYS_TIME");
    }
}
