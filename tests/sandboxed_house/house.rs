//! A running genkan with a folder of its own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Who it runs as.
#[derive(Clone, Copy, PartialEq)]
pub enum As {
    Root,
    /// Without root, with the capabilities that PID 1 gives.
    User(u32),
    /// Root without a sandbox.
    Unconfined,
}

pub struct House {
    folder: TempDir,
    process: Child,
}

/// A network that is empty but for a loopback that works, and a `/dev/net/tun` that everybody may open, as PID 1 of the card makes it.
const PLACE: &str = "ip link set lo up && mount --make-rprivate / && mount -t tmpfs -o mode=755 none /dev/net \
    && mknod -m 666 /dev/net/tun c 10 200";

/// Runs `what` on a thread that has this for itself, with the processes it starts.
pub fn in_own_network(what: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        nix::sched::unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("root");
        assert!(Command::new("sh").args(["-c", PLACE]).status().expect("a shell").success());
        what();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Waits until it is so, at most 30 seconds.
pub fn wait(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "no sign of {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Status and body.
pub fn get(port: u16, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head[9..12].parse().expect("a status"), body.to_owned())
}

impl House {
    /// Starts it and waits until it is ready. `pid_1` is the worker's end of the talk with PID 1.
    pub fn open(user: As, pid_1: Option<UnixStream>) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let place = |name: &str| folder.path().join(name);
        for name in ["config", "state"] {
            fs::create_dir(place(name)).expect("a folder");
        }
        // By another program: a copy open for writing here would be handed to whatever another test starts meanwhile, and be busy.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_genkan")).arg(place("genkan")).status();
        assert!(copied.expect("cp").success());
        let mut command = command(&place("genkan"), user);
        command.arg("serve").arg("--config").arg(place("config")).arg("--state").arg(place("state"));
        if user == As::Unconfined {
            command.args(["--sandbox", "off"]);
        }
        if let Some(end) = &pid_1 {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::empty())).expect("a descriptor");
            command.env("GENKAN_INIT_FD", end.as_raw_fd().to_string());
        }
        if let As::User(user) = user {
            for path in [folder.path().to_owned(), place("config"), place("state")] {
                std::os::unix::fs::chown(path, Some(user), Some(user)).expect("root");
            }
        }
        command.stderr(File::create(place("log")).expect("a file"));
        write_routes(&place("config"), &[2222]);
        let process = command.spawn().expect("started");
        // Its end is its own: when it goes, ours says so.
        drop(pid_1);
        let mut house = Self { folder, process };
        house.wait_until_ready();
        house
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("a file")
    }

    /// `/proc/<pid>/status` of every thread.
    pub fn statuses(&self) -> Vec<String> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("running");
        let status = |thread: PathBuf| fs::read_to_string(thread.join("status")).expect("a thread");
        threads.map(|thread| status(thread.expect("readable").path())).collect()
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join("config").join(name), text).expect("a file");
    }

    /// Layer-4 servers on these ports.
    pub fn write_routes(&self, ports: &[u16]) {
        write_routes(&self.folder.path().join("config"), ports);
    }

    pub fn hang_up(&self) {
        self.signal(Signal::SIGHUP);
    }

    /// What an admin command prints.
    pub fn admin(&self, words: &[&str]) -> String {
        let mut command = Command::new(self.folder.path().join("genkan"));
        let output = command.arg("--state").arg(self.folder.path().join("state")).args(words).output();
        let output = output.expect("started");
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Stops it in good order.
    pub fn close(mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.process.wait().expect("a child");
        assert!(status.success(), "{status}\n{}", self.log());
    }

    fn wait_until_ready(&mut self) {
        let begun = Instant::now();
        while !self.log().contains("INFO genkan::app: ready") {
            let ended = self.process.try_wait().expect("a child");
            assert!(
                ended.is_none() && begun.elapsed() < Duration::from_secs(30),
                "{ended:?}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn signal(&self, signal: Signal) {
        let process = i32::try_from(self.process.id()).expect("a process number");
        kill(Pid::from_raw(process), signal).expect("running");
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn command(binary: &Path, user: As) -> Command {
    let As::User(user) = user else { return Command::new(binary) };
    let capabilities = "-all,+net_admin,+net_bind_service";
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--clear-groups");
    command.arg(format!("--inh-caps={capabilities}")).arg(format!("--ambient-caps={capabilities}"));
    command.arg(format!("--bounding-set={capabilities}")).arg("--no-new-privs").arg(binary);
    command
}

fn write_routes(config: &Path, ports: &[u16]) {
    let listen: Vec<String> = ports.iter().map(|port| format!("\":{port}\"")).collect();
    let listen = listen.join(",");
    let text = format!(
        r#"{{"apps":{{"layer4":{{"servers":{{"a":{{"listen":[{listen}],"routes":[{{"handle":[{{"handler":"proxy","upstreams":[{{"dial":["127.0.0.1:22"]}}]}}]}}]}}}}}}}}}}"#
    );
    fs::write(config.join("caddy.json"), text).expect("a file");
}
