//! What the kernel's command line tells PID 1: its words that begin with `genkan.`.

use super::slot::Slot;

/// The `genkan.` words of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `genkan.slot=a|b`: what the boot loader started, where no firmware says so.
    pub slot: Option<Slot>,
    /// `genkan.try=1`: the slot is on trial.
    pub on_trial: bool,
    /// `genkan.card=/dev/NAME`: take this disk as the card instead of looking for it.
    pub card: Option<String>,
    /// `genkan.boot_fs=TYPE`: file system of the owner's partition.
    pub boot_fs: String,
    /// `genkan.update_patience=SECONDS`: how long a new version may take to prove itself.
    pub patience: Option<u64>,
    /// `genkan.guest=1`: others use this kernel too, so what belongs to the machine as a whole is left alone: the kernel's
    /// settings and clock, watchdog, lights, records of crashes.
    pub is_guest: bool,
    /// `genkan.no_aes=1`: the edge chooses its ciphers as on a processor without AES instructions, such as a Pi 4's.
    pub no_aes: bool,
    /// Words of ours that mean nothing.
    pub unknown: Vec<String>,
}

impl Options {
    /// Reads a command line; of a word given twice the last counts.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut options = Self::default();
        for word in text.split_whitespace().filter_map(|word| word.strip_prefix("genkan.")) {
            if options.take(word).is_none() {
                options.unknown.push(format!("genkan.{word}"));
            }
        }
        options
    }

    fn take(&mut self, word: &str) -> Option<()> {
        let (key, value) = word.split_once('=')?;
        match key {
            "slot" => self.slot = Some(value.parse().ok()?),
            "update_patience" => self.patience = Some(value.parse().ok()?),
            "try" => self.on_trial = flag(value)?,
            "card" => self.card = Some(device(value)?.to_owned()),
            "boot_fs" => file_system(value)?.clone_into(&mut self.boot_fs),
            "guest" => self.is_guest = flag(value)?,
            "no_aes" => self.no_aes = flag(value)?,
            _ => return None,
        }
        Some(())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            slot: None,
            on_trial: false,
            card: None,
            boot_fs: "vfat".to_owned(),
            patience: None,
            is_guest: false,
            no_aes: false,
            unknown: Vec::new(),
        }
    }
}

fn flag(value: &str) -> Option<bool> {
    match value {
        "1" => Some(true),
        "0" => Some(false),
        _ => None,
    }
}

/// A device node right below `/dev`.
fn device(value: &str) -> Option<&str> {
    let name = value.strip_prefix("/dev/")?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_name.then_some(value)
}

fn file_system(value: &str) -> Option<&str> {
    let is_name = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_name.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn our_words_are_found_among_the_kernels() {
        let options = Options::parse("console=ttyAMA0 quiet genkan.slot=b genkan.try=1 genkan.card=/dev/vda");
        assert_eq!(options.slot, Some(Slot::B));
        assert!(options.on_trial && !options.is_guest);
        assert_eq!(options.card.as_deref(), Some("/dev/vda"));
        assert_eq!(options.boot_fs, "vfat");
        assert_eq!(options.unknown, Vec::<String>::new());
    }

    #[test]
    fn what_means_nothing_is_named() {
        let options = Options::parse("genkan.slot=c genkan.colour=red genkan.card=/dev/../etc genkan.try");
        assert_eq!(options.unknown.len(), 4);
        assert_eq!(Options { unknown: Vec::new(), ..options }, Options::default());
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC{0,200}") {
            let options = Options::parse(&text);
            prop_assert!(options.card.is_none_or(|card| card.starts_with("/dev/")));
        }
    }
}
