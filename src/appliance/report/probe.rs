//! A process confined as the worker is, that tries what the worker must not.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::sandbox;
use super::super::settings::Settings;
use super::super::{child, worker};
use crate::sys::privileges;

/// Far more than it takes.
const LIMIT: Duration = Duration::from_secs(10);
/// What nobody but root, or nobody at all outside of process 1, is to open.
const CLOSED: [&str; 8] = [
    "/init",
    "/etc/genkan/build.json",
    "/boot/STATUS.txt",
    "/data/box/log",
    "/proc/1/status",
    "/proc/sys/kernel/tainted",
    "/dev/console",
    "/dev/null",
];

/// What the confined process found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Probed {
    /// By path, how opening it to read ended: `opened`, or the error's number.
    pub files: BTreeMap<PathBuf, String>,
}

/// The inside: enters the worker's sandbox, tries, prints what it found, and then makes a forbidden call, which ends it.
pub fn try_sandbox(config: &Path, state: &Path) -> ExitCode {
    let Ok(sandbox) = sandbox::enter(config, state, &[]) else { return ExitCode::FAILURE };
    sandbox.seal();
    let attempt = |path: &str| match File::open(path) {
        Ok(_) => "opened".to_owned(),
        Err(error) => error.raw_os_error().map_or_else(|| error.to_string(), |number| number.to_string()),
    };
    let files = CLOSED.iter().map(|path| (PathBuf::from(path), attempt(path))).collect();
    println!("{}", serde_json::to_string(&Probed { files }).expect("plain data"));
    unshare(CloneFlags::CLONE_NEWNS).ok();
    ExitCode::SUCCESS
}

/// Starts it, and tells what it found and how it ended: `code` is null when a signal did.
pub(super) fn from_inside(settings: &Settings) -> Value {
    let mut command = Command::new(&settings.program);
    command.arg("probe").arg("--config").arg(&settings.config);
    command.arg("--state").arg(settings.data.join("state")).current_dir("/").env_clear();
    privileges::confine(&mut command, worker::privileges(None));
    match child::run(&mut command, LIMIT, &mut || ()) {
        Ok(ended) => {
            let probed = ended.text.lines().find_map(|line| serde_json::from_str::<Probed>(line).ok());
            json!({ "files": probed.unwrap_or_default().files, "code": ended.code, "signal": ended.signal })
        }
        Err(error) => json!({ "error": error.to_string() }),
    }
}
