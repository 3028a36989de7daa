//! The board's light by sysfs: found by its name, taken out of the kernel's hands, switched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::core::led::LedState;

/// What Raspberry Pis have called theirs: since Linux 5.19, and before.
const NAMES: [&str; 4] = ["ACT", "led0", "PWR", "act"];

/// A light that shows a [`LedState`]. A board without one is fine: nothing is shown.
#[derive(Debug)]
pub struct Led {
    folder: Option<PathBuf>,
    state: LedState,
    since: Instant,
    lit: Option<bool>,
}

impl Led {
    /// Takes the light below `leds`, where the kernel shows lights.
    #[must_use]
    pub fn open(leds: &Path, now: Instant) -> Self {
        let found =
            NAMES.iter().map(|name| leds.join(name)).find(|folder| folder.join("brightness").exists());
        let folder = found.filter(|folder| write(folder, "trigger", "none").is_ok());
        Self { folder, state: LedState::default(), since: now, lit: None }
    }

    /// Shows `state` from `now` on; the same state goes on where it is.
    pub fn show(&mut self, state: LedState, now: Instant) {
        if state != self.state {
            self.state = state;
            self.since = now;
        }
    }

    /// Switches the light as its state wants it at `now`. Returns when to call again; `None` while nothing changes.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Duration> {
        let folder = self.folder.as_ref()?;
        let (is_lit, lasts) = self.state.light(now.saturating_duration_since(self.since));
        if self.lit != Some(is_lit) {
            self.lit = Some(is_lit);
            if let Err(error) = write(folder, "brightness", if is_lit { "1" } else { "0" }) {
                tracing::debug!(%error, "the light cannot be switched; it is left alone from now on");
                self.folder = None;
            }
        }
        lasts
    }
}

fn write(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    fs::write(folder.join(name), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_light_follows_its_state() {
        let leds = tempfile::tempdir().expect("a folder");
        let folder = leds.path().join("led0");
        fs::create_dir(&folder).expect("made");
        fs::write(folder.join("brightness"), "255").expect("written");
        let read = |name: &str| fs::read_to_string(folder.join(name)).expect("readable");
        let start = Instant::now();
        let mut led = Led::open(leds.path(), start);
        assert_eq!(read("trigger"), "none");
        led.show(LedState::Ready, start);
        assert_eq!(led.handle_timeout(start), None);
        assert_eq!(read("brightness"), "1");
        led.show(LedState::NoLink, start);
        let next = led.handle_timeout(start).expect("it blinks");
        assert_eq!(led.handle_timeout(start + next), Some(Duration::from_millis(250)));
        assert_eq!(read("brightness"), "0");
    }

    #[test]
    fn a_board_without_a_light_is_fine() {
        let mut led = Led::open(Path::new("/nonexistent"), Instant::now());
        led.show(LedState::NoLink, Instant::now());
        assert_eq!(led.handle_timeout(Instant::now()), None);
    }
}
