//! The hardware watchdog: whoever opens it must feed it, or the machine is reset.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::sys::watchdog;

/// Seconds until a hungry watchdog resets; what the Raspberry Pi's can do at most.
const TIMEOUT: u8 = 15;

/// The open watchdog, if there is one.
#[derive(Debug, Default)]
pub struct Feeder(Option<File>);

impl Feeder {
    /// Opens the watchdog `device`, which from now on wants to be fed.
    #[must_use]
    pub fn open(device: &Path) -> Self {
        let Ok(device) = OpenOptions::new().write(true).open(device) else { return Self(None) };
        match watchdog::set_timeout(&device, TIMEOUT) {
            Ok(seconds) => tracing::info!(seconds, "the watchdog watches"),
            Err(error) => tracing::warn!(%error, "the watchdog keeps its own time-out"),
        }
        Self(Some(device))
    }

    /// Without one, nobody but this program can reset a box that hangs.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Puts the reset off.
    pub fn feed(&mut self) {
        if let Some(device) = &mut self.0
            && let Err(error) = device.write_all(b"\0")
        {
            tracing::warn!(%error, "the watchdog cannot be fed");
        }
    }

    /// Tells it that this end is intended (the "magic close" of the kernel's watchdog-api).
    pub fn close(&mut self) {
        if let Some(mut device) = self.0.take() {
            drop(device.write_all(b"V"));
        }
    }
}
