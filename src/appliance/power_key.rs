//! The power key: of a board that has one, and of an emulator whose user asks for an orderly end.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

/// `struct input_event` of linux/input.h on 64-bit machines, in bytes.
const EVENT: usize = 24;
const EVENTS: usize = 16;
const DEVICES_MAX: usize = 16;
/// `EV_KEY` and `KEY_POWER` of linux/input-event-codes.h.
const KEY: u16 = 1;
const POWER: u16 = 116;

/// All input devices; what is not the power key is ignored.
#[derive(Debug, Default)]
pub struct PowerKey(Vec<File>);

impl PowerKey {
    #[must_use]
    pub fn open() -> Self {
        let entries = std::fs::read_dir("/dev/input").into_iter().flatten().flatten();
        let events = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"event"));
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(nix::libc::O_NONBLOCK);
        Self(events.filter_map(|entry| options.open(entry.path()).ok()).take(DEVICES_MAX).collect())
    }

    /// What to wait for.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(AsFd::as_fd)
    }

    /// Whether it was pressed since this was last asked. A device that is gone is forgotten.
    pub fn was_pressed(&mut self) -> bool {
        let mut pressed = false;
        self.0.retain_mut(|device| {
            let mut bytes = [0; EVENT * EVENTS];
            match device.read(&mut bytes) {
                Ok(count) => {
                    pressed |= bytes[..count].chunks_exact(EVENT).any(is_power_down);
                    count > 0
                }
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            }
        });
        pressed
    }
}

/// Type, code and value stand after the time.
fn is_power_down(event: &[u8]) -> bool {
    let short = |at: usize| u16::from_ne_bytes([event[at], event[at + 1]]);
    short(16) == KEY && short(18) == POWER && short(20) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_power_key_going_down_counts() {
        let event = |kind: u16, code: u16, value: i32| {
            let mut bytes = vec![0; 16];
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(code.to_ne_bytes());
            bytes.extend(value.to_ne_bytes());
            bytes
        };
        assert!(is_power_down(&event(KEY, POWER, 1)));
        assert!(!is_power_down(&event(KEY, POWER, 0)));
        assert!(!is_power_down(&event(KEY, 30, 1)));
        assert!(!is_power_down(&event(0, POWER, 1)));
    }
}
