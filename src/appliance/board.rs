//! What kind of machine this is, and which slot of the card it started.

use super::core::options::Options;
use super::core::slot::{Boot, Slot};
use crate::wire::supervision::BoxStatus;

const MODELS: [&str; 2] = ["/proc/device-tree/model", "/sys/class/dmi/id/product_name"];
/// Names of boards, the most special first, each ended by a zero (Devicetree specification, section 2.3.1).
const COMPATIBLE: &str = "/proc/device-tree/compatible";
/// What the firmware of a Raspberry Pi says of this start; numbers of four bytes, big-endian.
const FIRMWARE: &str = "/proc/device-tree/chosen/bootloader";
/// Longest name shown, in characters.
const NAME_MAX: usize = 80;

/// How a board calls itself, and how the manifests of updates call it.
const KINDS: [(&str, &str); 8] = [
    ("raspberrypi,3-model-b", "rpi-3"),
    ("raspberrypi,3-model-b-plus", "rpi-3"),
    ("raspberrypi,3-model-a-plus", "rpi-3"),
    ("raspberrypi,model-zero-2-w", "rpi-zero-2-w"),
    ("raspberrypi,4-model-b", "rpi-4"),
    ("raspberrypi,400", "rpi-4"),
    ("raspberrypi,5-model-b", "rpi-5"),
    ("linux,dummy-virt", "qemu-virt"),
];

/// What is known of the box before anything has run.
#[must_use]
pub fn status(options: &Options) -> BoxStatus {
    BoxStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        board: model().unwrap_or_else(|| "an unknown board".to_owned()),
        slot: boot(options).slot.to_string(),
        clock: "unknown".to_owned(),
        ..BoxStatus::default()
    }
}

/// How manifests of updates call this board; empty when none of them does.
#[must_use]
pub fn kind() -> &'static str {
    let names = std::fs::read(COMPATIBLE).unwrap_or_default();
    let names = names.split(|byte| *byte == 0);
    let known = names.filter_map(|name| KINDS.iter().find(|(own, _)| own.as_bytes() == name));
    known.map(|(_, kind)| *kind).next().unwrap_or_default()
}

/// Whether the firmware of a Raspberry Pi started this.
#[must_use]
pub fn has_firmware() -> bool {
    std::path::Path::new(FIRMWARE).is_dir()
}

/// The slot that was started: by the firmware, or by the command line where no firmware says so.
#[must_use]
pub fn boot(options: &Options) -> Boot {
    if let Some(slot) = firmware("partition").and_then(Slot::from_partition) {
        return Boot { slot, tried: firmware("tryboot") == Some(1) };
    }
    Boot { slot: options.slot.unwrap_or(Slot::A), tried: options.on_trial }
}

fn firmware(name: &str) -> Option<u32> {
    let bytes = std::fs::read(format!("{FIRMWARE}/{name}")).ok()?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn model() -> Option<String> {
    let text = MODELS.iter().find_map(|path| std::fs::read(path).ok())?;
    let text = String::from_utf8_lossy(&text);
    let name: String = text.trim_end_matches('\0').trim().chars().filter(|c| !c.is_control()).collect();
    (!name.is_empty()).then(|| name.chars().take(NAME_MAX).collect())
}
