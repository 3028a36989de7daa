//! The sandbox, tried from inside. Each trial is a process of its own: this program again, which enters the sandbox and does one thing.

#![allow(unsafe_code, reason = "system calls that no safe interface makes")]

#[path = "sandbox/forbidden.rs"]
mod forbidden;
#[path = "sandbox/trials.rs"]
mod trials;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Names what the process is to do inside, and where its folders are.
const TRIAL: &str = "GENKAN_TEST_TRIAL";
const FOLDER: &str = "GENKAN_TEST_FOLDER";

/// The inside of every trial. By itself it does nothing.
#[test]
fn inside() {
    let Ok(trial) = std::env::var(TRIAL) else { return };
    let folder = std::env::var(FOLDER).expect("named with the trial");
    trials::run(&trial, Path::new(&folder));
    std::process::exit(0);
}

/// A folder with a configuration and a state.
fn folder() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    for name in ["config", "state", "elsewhere"] {
        std::fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    std::fs::write(folder.path().join("config/genkan.toml"), "# nothing\n").expect("a file");
    std::fs::write(folder.path().join("elsewhere/acl.json"), "{}\n").expect("a file");
    let (link, target) = (folder.path().join("config/acl.json"), folder.path().join("elsewhere/acl.json"));
    std::os::unix::fs::symlink(target, link).expect("a link");
    folder
}

fn attempt(trial: &str) -> Output {
    let folder = folder();
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "inside", "--nocapture", "--test-threads", "1"]);
    command.env(TRIAL, trial).env(FOLDER, folder.path());
    command.output().expect("started")
}

fn assert_passes(trial: &str) {
    let output = attempt(trial);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{trial}: {}\n{said}", output.status);
}

#[test]
fn every_forbidden_call_ends_the_process() {
    let survived: Vec<_> = forbidden::calls()
        .map(|call| (call.name, attempt(&format!("call {}", call.name)).status))
        .filter(|(_, status)| status.signal() != Some(libc::SIGSYS))
        .collect();
    assert!(survived.is_empty(), "{survived:?}");
}

#[test]
fn what_only_the_start_needs_is_there_until_it_is_over() {
    assert_passes("start");
}

#[test]
fn no_memory_becomes_a_program_and_threads_are_made_the_old_way() {
    assert_passes("refused");
}

#[test]
fn files_outside_of_the_lists_are_closed() {
    if !trials::kernel_has_landlock() {
        eprintln!("this kernel has no Landlock: nothing to test");
        return;
    }
    assert_passes("files");
}

#[test]
fn what_the_worker_does_all_day_goes_on() {
    assert_passes("work");
}
