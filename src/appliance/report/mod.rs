//! `REPORT.txt`: what the box looks like from inside, for who wants to see for himself or to ask for help. There is no shell to look with.
//!
//! The owner leaves an empty file of that name on the drive GENKAN; the box fills it once the worker is ready. No secret is in it: mounts,
//! sockets, kernel settings, processes, the files of the read-only root, and what a process confined as the worker is refused.

mod probe;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};

use super::hardening;
use super::settings::Settings;

pub use probe::{Probed, try_sandbox};

/// Files listed of the root; there are a few dozen.
const FILES_MAX: usize = 4096;
/// Processes listed.
const PROCESSES_MAX: usize = 1024;
/// Of `/proc/PID/status`.
const FACTS: [&str; 10] =
    ["Name", "Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp", "VmRSS"];
const SOCKETS: [&str; 4] = ["tcp", "tcp6", "udp", "udp6"];

/// The report as text. Takes as long as the confined process needs, well below a second.
#[must_use]
pub fn text(settings: &Settings, sysctl: &Path) -> String {
    let report = json!({
        "mounts": lines(Path::new("/proc/self/mounts")),
        "sockets": SOCKETS.iter().map(|kind| ((*kind).to_owned(), sockets(kind))).collect::<serde_json::Map<_, _>>(),
        "tainted": line(Path::new("/proc/sys/kernel/tainted")),
        "settings": hardening::in_force(sysctl),
        "processes": processes(),
        "files": root_files(),
        "sandbox": probe::from_inside(settings),
    });
    format!("{report:#}\n")
}

fn line(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Local addresses as the kernel prints them (hexadecimal), of sockets that listen (TCP) or receive (UDP).
fn sockets(kind: &str) -> Value {
    let waiting = if kind.starts_with("tcp") { "0A" } else { "07" };
    let rows = lines(&Path::new("/proc/net").join(kind));
    let local = rows.iter().skip(1).filter_map(|row| {
        let mut fields = row.split_whitespace().skip(1);
        let address = fields.next()?;
        (fields.nth(1)? == waiting).then(|| address.to_owned())
    });
    local.collect()
}

fn processes() -> Vec<Value> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.take(PROCESSES_MAX).map(process).collect()
}

fn process(number: u32) -> Value {
    let status = lines(Path::new(&format!("/proc/{number}/status")));
    let facts = status.iter().filter_map(|row| row.split_once(':')).filter(|(name, _)| FACTS.contains(name));
    let facts = facts.map(|(name, value)| (name.to_owned(), Value::from(value.trim())));
    facts.chain([("Pid".to_owned(), Value::from(number))]).collect::<serde_json::Map<_, _>>().into()
}

/// Kind, permissions, owner and path of everything in the root file system itself.
fn root_files() -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(root) = fs::metadata("/") {
        walk(Path::new("/"), root.dev(), &mut found);
    }
    found.sort_unstable();
    found
}

fn walk(folder: &Path, device: u64, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.dev() != device || found.len() >= FILES_MAX {
            continue;
        }
        let mode = metadata.permissions().mode();
        found.push(format!("{} {mode:o} {}:{}", path.display(), metadata.uid(), metadata.gid()));
        if metadata.is_dir() {
            walk(&path, device, found);
        }
    }
}
