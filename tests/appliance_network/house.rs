//! A box and a router as two network namespaces with a cable between `eth0` and `lan0`, and the loop that PID 1 would run.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use genkan::appliance::core::settings::{NetworkSettings, TimeSettings};
use genkan::appliance::network::{Network, RESOLVER_FILE, Settings};
use genkan::base::wall_time::UnixTime;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use tempfile::TempDir;

/// Longest wait in the loop, as PID 1 wakes up for other things too.
const TURN: Duration = Duration::from_millis(100);

/// 2026-01-01T00:00:00Z.
const FLOOR: UnixTime = UnixTime(1_767_225_600);

pub struct House {
    name: String,
    directory: TempDir,
}

/// A peer, killed when dropped.
pub struct Peer(Child);

impl House {
    /// `router` is the address of the router's end, with the length of its prefix. The calling thread moves into the box.
    pub fn raise(name: &str, router: &str) -> Self {
        let house =
            Self { name: format!("genkan-net-{name}"), directory: tempfile::tempdir().expect("a directory") };
        let (inside, outside) = (house.inside_name(), house.router_name());
        house.remove();
        assert!(Self::shell(&format!("ip netns add {inside} && ip netns add {outside}")));
        house.plug_in(router);
        Self::enter(&inside);
        house
    }

    /// Lays the cable, with the address `router` at the router's end.
    pub fn plug_in(&self, router: &str) {
        let (inside, outside) = (self.inside_name(), self.router_name());
        for line in [
            format!("ip -n {inside} link add eth0 type veth peer name lan0 netns {outside}"),
            format!("ip -n {outside} addr add {router} dev lan0 && ip -n {outside} link set lan0 up"),
            format!("ip -n {outside} link set lo up"),
        ] {
            assert!(Self::shell(&line), "{line}");
        }
    }

    pub fn shell(line: &str) -> bool {
        Command::new("sh").args(["-c", line]).stdout(Stdio::null()).status().expect("a shell").success()
    }

    pub fn inside(&self, line: &str) -> bool {
        Self::shell(&format!("ip netns exec {} sh -c \"{line}\"", self.inside_name()))
    }

    pub fn at_the_router(&self, line: &str) -> bool {
        Self::shell(&format!("ip netns exec {} sh -c \"{line}\"", self.router_name()))
    }

    /// Moves the calling thread into the namespace `name`: namespaces belong to threads.
    pub fn enter(name: &str) {
        let namespace = File::open(format!("/run/netns/{name}")).expect("was raised");
        setns(namespace, CloneFlags::CLONE_NEWNET).expect("root");
    }

    pub fn router_name(&self) -> String {
        format!("{}-router", self.name)
    }

    /// The router's DHCP and DNS.
    pub fn dnsmasq(&self, options: &[&str]) -> Peer {
        let leases = self.directory.path().join("leases");
        let fixed = [
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--interface=lan0",
            "--bind-interfaces",
            "--no-resolv",
        ];
        let mut arguments: Vec<String> = fixed.iter().chain(options).map(|it| (*it).to_owned()).collect();
        arguments.push(format!("--dhcp-leasefile={}", leases.display()));
        arguments.push("--no-hosts".into());
        arguments.push("--pid-file=".into());
        arguments.push("--user=root".into());
        self.peer("dnsmasq", &arguments)
    }

    /// A time server that vouches for the machine's own clock and leaves it alone.
    pub fn chronyd(&self) -> Peer {
        let file = self.directory.path().join("chrony.conf");
        let pid = self.directory.path().join("chrony.pid");
        let text =
            format!("local stratum 3\nallow\ncmdport 0\nbindcmdaddress /\npidfile {}\n", pid.display());
        std::fs::write(&file, text).expect("written");
        let arguments = ["-x", "-n", "-u", "root", "-f"].map(str::to_owned);
        self.peer("chronyd", &[&arguments[..], &[file.display().to_string()]].concat())
    }

    fn peer(&self, program: &str, arguments: &[String]) -> Peer {
        let router = self.router_name();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &router, program]).args(arguments);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ip");
        Peer(child)
    }

    fn inside_name(&self) -> String {
        format!("{}-box", self.name)
    }

    fn remove(&self) {
        for name in [self.inside_name(), self.router_name()] {
            Self::shell(&format!("ip netns del {name} 2>/dev/null"));
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.0.kill().expect("it runs until now");
        self.0.wait().expect("it ends");
    }
}

/// The box's network with the loop around it.
pub struct Box {
    network: Network,
    directory: TempDir,
}

impl Box {
    pub fn start(house: &House, network: NetworkSettings, time: TimeSettings) -> Self {
        Self::start_in(house, network, time, tempfile::tempdir().expect("a directory"), None)
    }

    /// With the files of a box before it.
    pub fn start_in(
        _: &House,
        network: NetworkSettings,
        time: TimeSettings,
        directory: TempDir,
        floor: Option<UnixTime>,
    ) -> Self {
        let settings = Settings {
            network,
            time,
            floor: floor.unwrap_or(FLOOR),
            run: directory.path().to_owned(),
            data: Some(directory.path().to_owned()),
            program: PathBuf::from(env!("CARGO_BIN_EXE_genkan")),
            sets_clock: false,
        };
        let network = Network::start(settings, Instant::now()).expect("root");
        Self { network, directory }
    }

    /// Runs the loop until `is_so`, for `most` at most; whether it is so.
    pub fn drive(&mut self, most: Duration, is_so: impl Fn(&Self) -> bool) -> bool {
        let end = Instant::now() + most;
        while !is_so(self) {
            let now = Instant::now();
            if now >= end {
                return false;
            }
            self.turn(now);
        }
        true
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    pub fn addresses(&self) -> Vec<String> {
        self.network.status().addresses
    }

    pub fn has_address(&self) -> bool {
        !self.addresses().is_empty()
    }

    pub fn has_measured(&self) -> bool {
        self.network.measured_offset().is_some()
    }

    pub fn codes(&self) -> Vec<String> {
        self.network.conditions(Instant::now()).into_iter().map(|condition| condition.code).collect()
    }

    pub fn children(&self) -> Vec<i32> {
        self.network.children().into_iter().map(nix::unistd::Pid::as_raw).collect()
    }

    /// Lines of the resolver's file without its comment.
    pub fn resolver(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.directory.path().join(RESOLVER_FILE)).expect("written");
        text.lines().skip(1).map(str::to_owned).collect()
    }

    /// No user, no group, no capability, no way back, and nothing to see.
    pub fn assert_the_lease_child_is_confined(&self) {
        let process = self.children()[0];
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        for line in [
            "Uid:\t65534\t65534\t65534\t65534",
            "Gid:\t65534\t65534\t65534\t65534",
            "CapInh:\t0000000000000000",
            "CapPrm:\t0000000000000000",
            "CapEff:\t0000000000000000",
            "CapAmb:\t0000000000000000",
            "NoNewPrivs:\t1",
        ] {
            assert!(status.contains(line), "{line} is not in\n{status}");
        }
        let root = std::fs::read_dir(format!("/proc/{process}/root")).expect("a directory");
        assert_eq!(root.count(), 0, "its root directory is empty");
    }

    pub fn stop(self) -> TempDir {
        let children = self.network.children();
        drop(self.network);
        for child in children {
            waitpid(child, None).expect("its parent's hand is gone, and so is it");
        }
        self.directory
    }

    fn turn(&mut self, now: Instant) {
        let due = self.network.poll_timeout().map_or(TURN, |at| at.saturating_duration_since(now).min(TURN));
        let timeout = PollTimeout::try_from(due).expect("short");
        let descriptor = self.network.descriptor();
        let mut sources = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
        let count = poll(&mut sources, timeout).expect("poll");
        let now = Instant::now();
        if count > 0 {
            self.network.handle_ready(now);
        }
        self.network.handle_timeout(now);
        self.reap(now);
    }

    fn reap(&mut self, now: Instant) {
        for process in self.network.children() {
            let status = waitpid(process, Some(WaitPidFlag::WNOHANG)).expect("a child");
            if status != WaitStatus::StillAlive {
                assert!(self.network.child_ended(process, now));
            }
        }
    }
}
