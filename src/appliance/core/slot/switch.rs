//! The switch: one small text file on the first partition, which the firmware reads before anything of ours runs.
//!
//! | | Raspberry Pi | QEMU |
//! |---|---|---|
//! | file | `autoboot.txt` | `slot.env` |
//! | who reads it | the firmware, at most 512 bytes | U-Boot's `boot.scr`, by `env import -t` |
//! | chosen slot | `boot_partition` under `[all]` | `genkan_slot` |
//! | slot to try | `boot_partition` under `[tryboot]`: always the other one; the request itself is a flag in the firmware | `genkan_try`, empty but for a try |
//! | who forgets the request | the firmware, before it starts the slot | `boot.scr`, before it starts the slot |

use super::Slot;

/// Longest switch file, in bytes: one sector, and the firmware's own limit for `autoboot.txt`.
pub const LENGTH_MAX: usize = 512;

/// Which slot starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch {
    pub chosen: Slot,
    /// Tried once at the next start. On a Pi this is not in the file: the restart asks for it.
    pub attempt: Option<Slot>,
}

/// Which kind of file holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchFile {
    Autoboot,
    SlotEnv,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwitchError {
    #[error("{file} has room for {room} bytes and needs {needed}; write the card's first partition anew")]
    Room { file: &'static str, room: usize, needed: usize },
    #[error("{0} does not say which slot starts; the next update writes it anew")]
    Unreadable(&'static str),
}

impl SwitchFile {
    /// Its name in the root directory of the first partition.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Autoboot => "autoboot.txt",
            Self::SlotEnv => "slot.env",
        }
    }

    /// The whole text for a file of `length` bytes, filled up with line ends: its length never changes.
    pub fn encode(self, switch: Switch, length: usize) -> Result<Vec<u8>, SwitchError> {
        let mut text = self.text(switch).into_bytes();
        if length > LENGTH_MAX || text.len() > length {
            return Err(SwitchError::Room { file: self.name(), room: length, needed: text.len() });
        }
        text.resize(length, b'\n');
        Ok(text)
    }

    /// What a file says. For `autoboot.txt` the attempt is always `None`.
    pub fn decode(self, bytes: &[u8]) -> Result<Switch, SwitchError> {
        let text = std::str::from_utf8(bytes).ok();
        text.and_then(|text| self.parse(text)).ok_or(SwitchError::Unreadable(self.name()))
    }

    fn text(self, switch: Switch) -> String {
        let (chosen, other) = (switch.chosen, switch.chosen.other());
        match self {
            Self::Autoboot => format!(
                "[all]\ntryboot_a_b=1\nboot_partition={}\n[tryboot]\nboot_partition={}\n",
                chosen.partition(),
                other.partition()
            ),
            Self::SlotEnv => {
                let attempt = switch.attempt.map(|slot| slot.to_string()).unwrap_or_default();
                format!("genkan_slot={chosen}\ngenkan_try={attempt}\n")
            }
        }
    }

    fn parse(self, text: &str) -> Option<Switch> {
        match self {
            Self::Autoboot => {
                let chosen = Slot::from_partition(value(text, "[all]", "boot_partition")?.parse().ok()?)?;
                let other = Slot::from_partition(value(text, "[tryboot]", "boot_partition")?.parse().ok()?)?;
                let by_partition = value(text, "[all]", "tryboot_a_b")? == "1";
                (by_partition && other == chosen.other()).then_some(Switch { chosen, attempt: None })
            }
            Self::SlotEnv => {
                let chosen = value(text, "", "genkan_slot")?.parse().ok()?;
                let attempt = value(text, "", "genkan_try").and_then(|text| text.parse().ok());
                Some(Switch { chosen, attempt })
            }
        }
    }
}

/// The last value of `key` in `section`, as the firmware takes it; before the first section is `""`.
fn value<'t>(text: &'t str, section: &str, key: &str) -> Option<&'t str> {
    let mut current = "";
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            current = line;
        } else if current == section
            && let Some((name, value)) = line.split_once('=')
            && name == key
        {
            found = Some(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILES: [SwitchFile; 2] = [SwitchFile::Autoboot, SwitchFile::SlotEnv];

    #[test]
    fn the_pi_s_file_is_what_its_firmware_expects() {
        let text = SwitchFile::Autoboot.encode(Switch { chosen: Slot::B, attempt: None }, 512).expect("fits");
        assert_eq!(text.len(), 512);
        let text = String::from_utf8(text).expect("ASCII");
        assert_eq!(text.trim_end(), "[all]\ntryboot_a_b=1\nboot_partition=3\n[tryboot]\nboot_partition=2");
    }

    #[test]
    fn what_is_written_is_read_and_a_short_file_is_refused() {
        for file in FILES {
            for (chosen, attempt) in [(Slot::A, None), (Slot::B, None), (Slot::A, Some(Slot::B))] {
                let attempt = attempt.filter(|_| file == SwitchFile::SlotEnv);
                let switch = Switch { chosen, attempt };
                assert_eq!(file.decode(&file.encode(switch, 80).expect("fits")), Ok(switch));
            }
            let switch = Switch { chosen: Slot::A, attempt: None };
            assert!(matches!(file.encode(switch, 20), Err(SwitchError::Room { room: 20, .. })));
            assert!(file.encode(switch, 513).is_err(), "the firmware reads one sector");
        }
    }

    #[test]
    fn an_owner_s_line_ends_do_not_matter_and_a_senseless_file_is_said_so() {
        let edited =
            b"# mine\r\n[all]\r\ntryboot_a_b=1\r\nboot_partition=2\r\n[tryboot]\r\nboot_partition=3\r\n";
        let expected = Switch { chosen: Slot::A, attempt: None };
        assert_eq!(SwitchFile::Autoboot.decode(edited), Ok(expected));
        for wrong in
            ["", "boot_partition=2", "[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=2\n"]
        {
            assert!(SwitchFile::Autoboot.decode(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_u_boot_leaves_behind_is_read() {
        let mut exported = b"genkan_slot=b\n".to_vec();
        exported.resize(512, 0);
        assert_eq!(SwitchFile::SlotEnv.decode(&exported), Ok(Switch { chosen: Slot::B, attempt: None }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            for file in FILES {
                let _ = file.decode(&bytes);
            }
        }
    }
}
