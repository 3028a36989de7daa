//! The real binary as process 1 of a namespace: its own processes, mounts, network and root, and a card in a loop device. The
//! kernel is shared, and told so.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::card::{LoopCard, run};

const GENKAN: &str = env!("CARGO_BIN_EXE_genkan");
/// What a dynamic binary and e2fsck need of the host.
const SHARED: [&str; 5] = ["usr", "lib", "lib64", "bin", "sbin"];
const FOLDERS: [&str; 10] =
    ["boot", "data", "dev", "etc/genkan", "proc", "run", "sys", "tmp", "usr", "host-lib"];

/// A running box.
pub struct Guest {
    root: TempDir,
    process: Child,
    tun_mode: u32,
}

impl Guest {
    /// Switches a box with `card` in it on.
    pub fn start(card: &LoopCard) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        furnish(root.path(), card);
        let log = fs::File::create(root.path().join("console.log")).expect("a file");
        let script = script(root.path(), &card.device);
        let mut command = Command::new("unshare");
        command.args(["--fork", "--kill-child", "--pid", "--mount", "--net", "--uts", "sh", "-c", &script]);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor")).stderr(log);
        let tun_mode = fs::metadata("/dev/net/tun").expect("a kernel with TUN").permissions().mode();
        Self { process: command.spawn().expect("unshare"), root, tun_mode }
    }

    /// Everything on its console.
    pub fn console(&self) -> String {
        fs::read(self.root.path().join("console.log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Waits until the console shows `text` for the `count`th time.
    pub fn wait_for(&self, text: &str, count: usize, limit: Duration) {
        let begun = Instant::now();
        while self.console().matches(text).count() < count {
            assert!(begun.elapsed() < limit, "no {text:?} within {limit:?}:\n{}", self.console());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn wait_until_ready(&self) {
        self.wait_for("the worker is ready", 1, Duration::from_secs(40));
    }

    /// A file as the box sees it.
    pub fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.init())).join(path)
    }

    /// The worker's process, by the number that this side knows it under.
    pub fn worker(&self) -> Pid {
        let child = children(self.init()).into_iter().find(|child| {
            let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == b"serve")
        });
        child.expect("it runs")
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.init(), signal).expect("it runs");
    }

    /// Waits for its end, and gives the signal by which the kernel tells how: SIGHUP restart, SIGINT power-off.
    pub fn wait_for_end(mut self, limit: Duration) -> (Option<i32>, String) {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait().expect("a child") {
                break status;
            }
            assert!(begun.elapsed() < limit, "it does not end:\n{}", self.console());
            std::thread::sleep(Duration::from_millis(50));
        };
        (status.signal().or(status.code().map(|code| code - 128)), self.console())
    }

    /// Switches it off in good order.
    pub fn power_off(self) -> String {
        self.signal(Signal::SIGTERM);
        self.wait_for_end(Duration::from_secs(20)).1
    }

    /// Process 1 of the namespace, by its number outside.
    fn init(&self) -> Pid {
        let unshare = Pid::from_raw(i32::try_from(self.process.id()).expect("small"));
        children(unshare).first().copied().unwrap_or_else(|| panic!("it is gone:\n{}", self.console()))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        // The device nodes are this machine's own.
        let node = Path::new("/dev/net/tun");
        fs::set_permissions(node, fs::Permissions::from_mode(self.tun_mode)).ok();
        std::os::unix::fs::chown(node, Some(0), Some(0)).ok();
    }
}

/// The folders of the card's root; what the host lends is linked as the host has it.
fn furnish(root: &Path, card: &LoopCard) {
    for folder in FOLDERS {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    for name in &SHARED[1..] {
        let host = Path::new("/").join(name);
        match fs::read_link(&host) {
            Ok(target) => symlink(target, root.join(name)).expect("a link"),
            Err(_) if host.is_dir() => fs::create_dir_all(root.join(name)).expect("a folder"),
            Err(_) => {}
        }
    }
    fs::copy(card.pristine(), root.join("etc/genkan/data.ext4.zst")).expect("it was made");
    fs::write(root.join("etc/genkan/build.json"), r#"{"version":"test","built":1795305600,"boards":[]}"#)
        .expect("a file");
    fs::write(root.join("genkan"), "").expect("a file");
    run("chmod", &["755", root.to_str().expect("a plain path")]);
}

/// Mounts the root onto itself, so that making it read-only concerns nothing else, and enters it.
fn script(root: &Path, device: &Path) -> String {
    let root = root.display();
    let mut lines = vec![format!("set -e; mount --bind {root} {root}; cd {root}")];
    for name in SHARED {
        lines.push(format!(
            "if [ -d /{name} ] && [ ! -L /{name} ]; then mount --rbind /{name} {root}/{name}; fi"
        ));
    }
    lines.push(format!("mount --bind {GENKAN} {root}/genkan"));
    let words = format!("genkan.guest=1 genkan.boot_fs=ext2 genkan.card={}", device.display());
    lines.push(format!("exec chroot {root} /genkan init --command-line '{words}'"));
    lines.join("\n")
}

fn children(process: Pid) -> Vec<Pid> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok().map(Pid::from_raw)).collect()
}
