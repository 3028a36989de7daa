//! Which updates this box takes, once their signature holds.

use semver::Version;
use serde::Deserialize;

use crate::wire::update::{Extent, FileEntry, Manifest, SLOT_IMAGE};

/// What `/etc/genkan/build.json` says about the running system; members of others are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Build {
    pub version: Version,
    /// When it was built, in seconds since 1970.
    pub built: u64,
    /// The number that its update carries; the build time where it is absent.
    #[serde(default, rename = "build")]
    given: Option<u64>,
}

impl Build {
    #[must_use]
    pub fn number(&self) -> u64 {
        self.given.unwrap_or(self.built)
    }
}

/// Why an update is not for this box.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the update is for {}, and this is {board}; fetch the one for {board}", .boards.join(", "))]
    Board { boards: Vec<String>, board: String },
    #[error(
        "the update is older (build {offered}) than what runs (build {running}): the box does not go back by an update"
    )]
    Downgrade { offered: u64, running: u64 },
    #[error("the update starts from version {needed}, and {running} runs; install {needed} first")]
    Distance { needed: Version, running: Version },
    #[error("the update has no {SLOT_IMAGE}, or does not say what is in it: its maker must pack it again")]
    Slot,
    #[error("the update needs {needed} bytes, and a slot has {room}; write the card anew")]
    Room { needed: u64, room: u64 },
}

/// The slot's image in the update: its entry, where it begins behind the envelope, and what it unpacks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotImage<'m> {
    pub file: &'m FileEntry,
    /// Bytes of other files before it.
    pub before: u64,
    pub unpacked: Extent,
}

/// Whether `manifest` may follow `running` on `board`, into a slot of `room` bytes.
pub fn judge<'m>(
    manifest: &'m Manifest,
    running: &Build,
    board: &str,
    room: u64,
) -> Result<SlotImage<'m>, Refusal> {
    if !manifest.boards.iter().any(|name| name == board) {
        return Err(Refusal::Board { boards: manifest.boards.clone(), board: board.to_owned() });
    }
    if manifest.build < running.number() {
        return Err(Refusal::Downgrade { offered: manifest.build, running: running.number() });
    }
    if let Some(needed) = manifest.min_from.as_ref().filter(|needed| running.version < **needed) {
        return Err(Refusal::Distance { needed: needed.clone(), running: running.version.clone() });
    }
    let (file, before) = manifest.find(SLOT_IMAGE).ok_or(Refusal::Slot)?;
    let unpacked = file.unpacked.filter(|unpacked| unpacked.size > 0).ok_or(Refusal::Slot)?;
    if unpacked.size > room {
        return Err(Refusal::Room { needed: unpacked.size, room });
    }
    Ok(SlotImage { file, before, unpacked })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::wall_time::UnixTime;
    use crate::wire::update::{Digest, MANIFEST_FORMAT};

    fn version(text: &str) -> Version {
        text.parse().expect("a version")
    }

    fn running() -> Build {
        serde_json::from_str(r#"{"version":"1.4.0","built":100,"commit":"0","boards":["rpi-4"]}"#)
            .expect("a build")
    }

    fn manifest() -> Manifest {
        let extent = Extent { size: 4096, sha256: Digest([0; 32]) };
        Manifest {
            format: MANIFEST_FORMAT,
            version: version("1.5.0"),
            build: 101,
            min_from: Some(version("1.4.0")),
            boards: vec!["rpi-4".into(), "rpi-5".into()],
            created: UnixTime(100),
            files: vec![FileEntry { name: SLOT_IMAGE.into(), packed: extent, unpacked: Some(extent) }],
        }
    }

    #[test]
    fn the_same_build_and_newer_ones_are_taken() {
        for build in [100, 101, u64::MAX] {
            let manifest = Manifest { build, ..manifest() };
            assert!(judge(&manifest, &running(), "rpi-4", 4096).is_ok());
        }
    }

    #[test]
    fn each_reason_to_refuse_is_named() {
        type Case = (fn(&mut Manifest), &'static str, u64, &'static str);
        let cases: [Case; 6] = [
            (
                |_| (),
                "rpi-3",
                4096,
                "the update is for rpi-4, rpi-5, and this is rpi-3; fetch the one for rpi-3",
            ),
            (|manifest| manifest.build = 99, "rpi-4", 4096, "older (build 99) than what runs (build 100)"),
            (|manifest| manifest.min_from = Some(version("1.4.1")), "rpi-4", 4096, "install 1.4.1 first"),
            (|manifest| manifest.files.clear(), "rpi-4", 4096, "has no slot.img.zst"),
            (|manifest| manifest.files[0].unpacked = None, "rpi-4", 4096, "does not say what is in it"),
            (|_| (), "rpi-4", 4095, "needs 4096 bytes, and a slot has 4095"),
        ];
        for (change, board, room, expected) in cases {
            let mut manifest = manifest();
            change(&mut manifest);
            let refusal = judge(&manifest, &running(), board, room).expect_err(expected);
            assert!(refusal.to_string().contains(expected), "{refusal}");
        }
    }

    #[test]
    fn a_build_number_of_its_own_counts_before_the_build_time() {
        let build: Build =
            serde_json::from_str(r#"{"version":"1.4.0","built":100,"build":7}"#).expect("a build");
        assert_eq!((build.number(), running().number()), (7, 100));
    }
}
