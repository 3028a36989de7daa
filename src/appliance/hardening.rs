//! Settings that a running kernel accepts: what a stock configuration leaves open is closed here.

use std::collections::BTreeMap;
use std::path::Path;

/// A file below `/proc/sys` and what is written there. Where the kernel has no such file there is nothing to close.
type Setting = (&'static str, &'static str);

/// What may be set at any time.
const EARLY: [Setting; 36] = [
    // A crash ends in a restart, not in a machine that stands still.
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/kptr_restrict", "2"),
    ("kernel/dmesg_restrict", "1"),
    ("kernel/perf_event_paranoid", "3"),
    ("kernel/randomize_va_space", "2"),
    ("kernel/sysrq", "0"),
    ("kernel/unprivileged_bpf_disabled", "1"),
    ("kernel/unprivileged_userns_clone", "0"),
    ("kernel/yama/ptrace_scope", "2"),
    // The group of the worker, whose forwarding loop uses it; nobody else.
    ("kernel/io_uring_group", "1000"),
    ("kernel/io_uring_disabled", "1"),
    ("user/max_user_namespaces", "0"),
    ("vm/mmap_min_addr", "65536"),
    ("vm/unprivileged_userfaultfd", "0"),
    ("dev/tty/ldisc_autoload", "0"),
    ("fs/protected_hardlinks", "1"),
    ("fs/protected_symlinks", "1"),
    ("fs/protected_fifos", "2"),
    ("fs/protected_regular", "2"),
    ("fs/suid_dumpable", "0"),
    ("net/core/bpf_jit_harden", "2"),
    ("net/ipv4/tcp_syncookies", "1"),
    ("net/ipv4/tcp_rfc1337", "1"),
    ("net/ipv4/icmp_echo_ignore_broadcasts", "1"),
    ("net/ipv4/icmp_ignore_bogus_error_responses", "1"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv4/conf/default/accept_redirects", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/conf/all/accept_source_route", "0"),
    ("net/ipv4/conf/default/accept_source_route", "0"),
    // Loose: answers of the tunnel may leave by another interface than the one they came by.
    ("net/ipv4/conf/all/rp_filter", "2"),
    ("net/ipv4/conf/default/rp_filter", "2"),
    ("net/ipv6/conf/all/accept_redirects", "0"),
    ("net/ipv6/conf/default/accept_redirects", "0"),
];

/// What no later step could undo.
const LATE: [Setting; 2] = [("kernel/kexec_load_disabled", "1"), ("kernel/modules_disabled", "1")];

/// Closes what may be closed early.
///
/// # Errors
/// What the kernel refused, as one text.
pub fn early(root: &Path) -> Result<(), String> {
    apply(root, &EARLY)
}

/// Closes the rest, when all that loads anything into the kernel has run.
///
/// # Errors
/// What the kernel refused, as one text.
pub fn late(root: &Path) -> Result<(), String> {
    apply(root, &LATE)
}

/// The settings that this kernel has, with what is in force.
pub fn in_force(root: &Path) -> BTreeMap<&'static str, String> {
    let all = EARLY.iter().chain(&LATE);
    all.filter_map(|(name, _)| {
        Some((*name, std::fs::read_to_string(root.join(name)).ok()?.trim().to_owned()))
    })
    .collect()
}

fn apply(root: &Path, settings: &[Setting]) -> Result<(), String> {
    let refused: Vec<String> =
        settings.iter().filter_map(|(name, value)| set(&root.join(name), value).err()).collect();
    if refused.is_empty() { Ok(()) } else { Err(refused.join("; ")) }
}

fn set(path: &Path, value: &str) -> Result<(), String> {
    match std::fs::read_to_string(path) {
        Ok(found) if found.trim() == value => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        _ => std::fs::write(path, value).map_err(|error| format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_set_and_what_is_not_is_no_error() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(root.path().join("kernel")).expect("a folder");
        let file = root.path().join("kernel/kexec_load_disabled");
        std::fs::write(&file, "0\n").expect("a file");
        assert_eq!(late(root.path()), Ok(()));
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "1");
        assert_eq!(early(root.path()), Ok(()));
    }

    #[test]
    fn a_refusal_is_named() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(root.path().join("kernel/modules_disabled")).expect("a folder");
        let error = late(root.path()).expect_err("a folder cannot be written");
        assert!(error.contains("modules_disabled"), "{error}");
    }
}
