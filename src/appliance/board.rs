//! What kind of machine this is.

use super::core::options::{Options, Slot};
use crate::wire::supervision::BoxStatus;

const MODELS: [&str; 2] = ["/proc/device-tree/model", "/sys/class/dmi/id/product_name"];
/// What the firmware of a Raspberry Pi started: the partition's number, big-endian.
const PARTITION: &str = "/proc/device-tree/chosen/bootloader/partition";
/// Longest name shown, in characters.
const NAME_MAX: usize = 80;

/// What is known of the box before anything has run.
#[must_use]
pub fn status(options: &Options) -> BoxStatus {
    BoxStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        board: model().unwrap_or_else(|| "an unknown board".to_owned()),
        slot: slot(options).map_or("?", Slot::letter).to_owned(),
        clock: "unknown".to_owned(),
        ..BoxStatus::default()
    }
}

/// The slot that was started: by the firmware, or by the command line where no firmware says so.
fn slot(options: &Options) -> Option<Slot> {
    let number = std::fs::read(PARTITION).ok().and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    number.and_then(|bytes| Slot::of_partition(u32::from_be_bytes(bytes))).or(options.slot)
}

fn model() -> Option<String> {
    let text = MODELS.iter().find_map(|path| std::fs::read(path).ok())?;
    let text = String::from_utf8_lossy(&text);
    let name: String = text.trim_end_matches('\0').trim().chars().filter(|c| !c.is_control()).collect();
    (!name.is_empty()).then(|| name.chars().take(NAME_MAX).collect())
}
