//! Where things are: on the card always the same, in a test's own root a few of them elsewhere.

use std::path::PathBuf;

/// User and group of the worker; no name is needed where there is no `/etc/passwd`.
pub const WORKER_ID: u32 = 1000;

/// The places that PID 1 works on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Words in place of the kernel's command line.
    pub command_line: Option<String>,
    /// This program, for the worker.
    pub program: PathBuf,
    pub fsck: PathBuf,
    /// An empty ext4, compressed: what a new data partition begins as.
    pub pristine: PathBuf,
    /// Where p1 is mounted.
    pub boot: PathBuf,
    /// Where p4 is mounted.
    pub data: PathBuf,
    /// The configuration that runs, in memory.
    pub config: PathBuf,
}

impl Settings {
    /// The card's own.
    #[must_use]
    pub fn card() -> Self {
        Self {
            command_line: None,
            program: "/genkan".into(),
            fsck: "/sbin/e2fsck".into(),
            pristine: "/etc/genkan/data.ext4.zst".into(),
            boot: "/boot".into(),
            data: "/data".into(),
            config: "/run/genkan/config".into(),
        }
    }
}

/// Where the kernel shows what belongs to the machine as a whole.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The kernel's settings.
    pub sysctl: PathBuf,
    /// What it kept over a reset.
    pub pstore: PathBuf,
    pub watchdog: PathBuf,
    pub leds: PathBuf,
}

impl Machine {
    /// All of it is the box's own.
    #[must_use]
    pub fn own() -> Self {
        Self {
            sysctl: "/proc/sys".into(),
            pstore: "/sys/fs/pstore".into(),
            watchdog: "/dev/watchdog".into(),
            leds: "/sys/class/leds".into(),
        }
    }

    /// None of it is: what is not there can be neither set nor taken.
    #[must_use]
    pub fn of_others() -> Self {
        let nowhere = PathBuf::from("/nonexistent");
        Self { sysctl: nowhere.clone(), pstore: nowhere.clone(), watchdog: nowhere.clone(), leds: nowhere }
    }
}
