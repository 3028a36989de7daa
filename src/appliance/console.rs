//! What is on the screen and on the serial line.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};

use crate::base::condition::{Condition, Severity};
use crate::wire::supervision::BoxStatus;

/// Character device 5:1 is the kernel's console.
const CONSOLE: u64 = 5 << 8 | 1;

/// Every place where the box shows what it does.
#[derive(Debug, Default)]
pub struct Console {
    /// Beside standard error.
    others: Vec<File>,
}

impl Console {
    /// Standard error; where that is the kernel's console, also the consoles that the kernel knows beside the last one.
    #[must_use]
    pub fn open() -> Self {
        if !is_kernel_console() {
            return Self::default();
        }
        let active = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
        let mut names: Vec<&str> = active.split_whitespace().collect();
        // The last one is what /dev/console means.
        names.pop();
        let open = |name: &str| {
            let mut options = OpenOptions::new();
            options.write(true).custom_flags(nix::libc::O_NOCTTY | nix::libc::O_NONBLOCK);
            options.open(format!("/dev/{name}")).ok()
        };
        Self { others: names.into_iter().filter_map(open).collect() }
    }

    /// Shows a line. One that a console cannot take is lost there.
    pub fn line(&mut self, text: &str) {
        // A bare line feed would leave the next line where this one ended.
        let line = format!("{text}\r\n");
        drop(std::io::stderr().write_all(line.as_bytes()));
        for other in &mut self.others {
            drop(other.write_all(line.as_bytes()));
        }
    }
}

/// The state of the box as a few lines that can be read across a room.
#[must_use]
pub fn banner(status: &BoxStatus, state: &str) -> Vec<String> {
    let rule = "=".repeat(64);
    let addresses = if status.addresses.is_empty() { "none yet".into() } else { status.addresses.join(", ") };
    let mut lines = vec![
        rule.clone(),
        format!("  genkan {} on {}, slot {}", status.version, status.board, status.slot),
        format!("  address: {addresses}"),
        format!("  state:   {state}"),
    ];
    lines.extend(status.conditions.iter().map(condition_line));
    lines.push(rule);
    lines
}

fn condition_line(condition: &Condition) -> String {
    let mark = match condition.severity {
        Severity::Progress => '.',
        Severity::Warning => '!',
        Severity::Error => 'X',
    };
    format!("  {mark} {} {}", condition.code, condition.what)
}

fn is_kernel_console() -> bool {
    let found = std::fs::metadata("/proc/self/fd/2");
    found.is_ok_and(|found| found.file_type().is_char_device() && found.rdev() == CONSOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_says_where_the_box_is_and_what_it_lacks() {
        let status = BoxStatus {
            addresses: vec!["192.168.1.10/24".into()],
            conditions: vec![Condition::new("TIME-01", Severity::Progress, "The clock is not set yet.")],
            ..BoxStatus::default()
        };
        let text = banner(&status, "ready").join("\n");
        for part in ["192.168.1.10/24", "ready", ". TIME-01 The clock"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
