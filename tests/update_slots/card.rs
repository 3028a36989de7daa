//! A card of three loop devices, and a maker of updates for it; both with the tools that make real ones.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use genkan::appliance::boot_switch::BootSwitch;
use genkan::appliance::core::health_watch::Patience;
use genkan::appliance::core::slot::{Boot, Slot, Switch, SwitchFile};
use genkan::appliance::updater::Settings;
use genkan::base::rng::SeededRng;
use rand_core::RngCore;
use std::time::Duration;
use tempfile::TempDir;

pub const GENKAN: &str = env!("CARGO_BIN_EXE_genkan");
pub const SLOT_SIZE: usize = 6 << 20;
pub const IMAGE_SIZE: usize = (4 << 20) + 512;
/// What runs on the card: `Card::new` writes it.
pub const RUNNING_BUILD: u64 = 100;

pub fn run(program: &str, arguments: &[&str]) -> Output {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    output
}

pub fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SeededRng::new([seed; 32]).fill_bytes(&mut bytes);
    bytes
}

/// A loop device over a file; gone with the value.
pub struct Loop {
    pub device: PathBuf,
}

impl Loop {
    fn new(file: &Path) -> Self {
        let output = run("losetup", &["--find", "--show", file.to_str().expect("a plain path")]);
        let device = String::from_utf8(output.stdout).expect("a path");
        Self { device: device.trim().into() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        run("blockdev", &["--flushbufs", self.device.to_str().expect("a plain path")]);
        fs::read(&self.device).expect("readable")
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        Command::new("losetup").arg("--detach").arg(&self.device).status().ok();
    }
}

pub struct Card {
    pub folder: TempDir,
    pub first: Loop,
    pub slots: [Loop; 2],
    pub file: SwitchFile,
    /// The request for one try that the Pi's firmware keeps.
    pub tryboot: bool,
}

impl Card {
    /// Slot A runs. The first partition is a FAT of `bits` by `mkfs.vfat`, with the switch in it by `mcopy`.
    pub fn new(file: SwitchFile, bits: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        File::create(path("p1.img")).and_then(|file| file.set_len(48 << 20)).expect("room");
        run(
            "mkfs.vfat",
            &[
                "-F",
                bits,
                "-s",
                if bits == "32" { "1" } else { "4" },
                "-n",
                "GENKAN",
                path("p1.img").to_str().expect("plain"),
            ],
        );
        let text = file.encode(Switch { chosen: Slot::A, attempt: None }, 512).expect("fits");
        fs::write(path(file.name()), text).expect("written");
        for (name, text) in [("START-HERE.html", "x".repeat(5000)), ("STATUS.txt", "not booted yet".into())] {
            fs::write(path(name), text).expect("written");
        }
        for name in ["START-HERE.html", file.name(), "STATUS.txt"] {
            let (image, from) = (path("p1.img"), path(name));
            run("mcopy", &["-i", image.to_str().expect("plain"), from.to_str().expect("plain"), "::"]);
        }
        for (name, seed) in [("a.img", 1), ("b.img", 2)] {
            fs::write(path(name), noise(seed, SLOT_SIZE)).expect("written");
        }
        fs::create_dir_all(path("state/incoming")).expect("made");
        let build =
            format!(r#"{{"version":"1.4.0","built":{RUNNING_BUILD},"commit":"0","boards":["test-board"]}}"#);
        fs::write(path("build.json"), build).expect("written");
        let slots = [Loop::new(&path("a.img")), Loop::new(&path("b.img"))];
        Self { first: Loop::new(&path("p1.img")), slots, file, tryboot: false, folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn switch(&self) -> BootSwitch {
        BootSwitch { file: self.file, device: self.first.device.clone(), first: 0 }
    }

    pub fn settings(&self) -> Settings {
        Settings {
            switch: self.switch(),
            slots: [self.slots[0].device.clone(), self.slots[1].device.clone()],
            memory: self.path("box/update.json"),
            state: self.path("state"),
            board: "test-board".into(),
            keys: self.path("release.pub"),
            build: self.path("build.json"),
            program: GENKAN.into(),
            patience: Patience { within: Duration::from_mins(10), hold: Duration::from_secs(30) },
        }
    }

    /// What the firmware does at a start, by the rules of the Pi's or of `boot.scr`.
    pub fn firmware(&mut self) -> Boot {
        let switch = self.switch().read().expect("readable");
        let attempt = match self.file {
            SwitchFile::Autoboot => std::mem::take(&mut self.tryboot).then(|| switch.chosen.other()),
            SwitchFile::SlotEnv => switch.attempt,
        };
        if self.file == SwitchFile::SlotEnv && attempt.is_some() {
            self.switch().set(Switch { attempt: None, ..switch }).expect("writable");
        }
        Boot { slot: attempt.unwrap_or(switch.chosen), tried: attempt.is_some() }
    }

    /// The bytes of everything that an update in slot B must leave alone.
    pub fn untouchable(&self) -> (Vec<u8>, Vec<u8>) {
        (self.first.bytes(), self.slots[0].bytes())
    }

    /// `genkan slot-write` for slot B, from whatever `file` is.
    pub fn slot_write(&self, file: &Path) -> Command {
        let mut command = Command::new(GENKAN);
        command.args(["slot-write", "--slot", "b", "--board", "test-board", "--file"]).arg(file);
        command.arg("--device").arg(&self.slots[1].device);
        command.arg("--keys").arg(self.path("release.pub")).arg("--build").arg(self.path("build.json"));
        command
    }
}

/// Who signs updates: by `genkan release`.
pub struct Maker {
    folder: PathBuf,
    pub image: Vec<u8>,
}

impl Maker {
    /// Its keys are those the card believes: `release` and `recovery`; `stranger` is another.
    pub fn new(card: &Card) -> Self {
        let maker = Self { folder: card.folder.path().into(), image: noise(9, IMAGE_SIZE) };
        fs::write(maker.path("slot.img"), &maker.image).expect("written");
        let mut list = String::from("# whose updates this box takes\n");
        for name in ["release", "recovery", "stranger"] {
            let line = release(&["keygen", "--name", name, "--out", &maker.text(name)]);
            if name != "stranger" {
                list.push_str(&line);
            }
        }
        fs::write(maker.path("release.pub"), list).expect("written");
        maker
    }

    /// An update of build 101, but for what `changes` says.
    pub fn pack(&self, name: &str, key: &str, changes: &[&str]) -> PathBuf {
        let (key, image, out) = (self.text(key), self.text("slot.img"), self.text(name));
        let mut arguments =
            vec!["pack", "--key", &key, "--slot-image", &image, "--out", &out, "--version", "1.5.0"];
        for (option, value) in [("--build", "101"), ("--board", "test-board")] {
            if !changes.contains(&option) {
                arguments.extend([option, value]);
            }
        }
        arguments.extend(changes);
        release(&arguments);
        self.path(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a plain path").to_owned()
    }
}

/// `genkan release`.
fn release(arguments: &[&str]) -> String {
    let arguments: Vec<&str> = std::iter::once("release").chain(arguments.iter().copied()).collect();
    String::from_utf8(run(GENKAN, &arguments).stdout).expect("text")
}

/// Flips one bit of a file.
pub fn flip(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).expect("there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("inside");
    file.write_all_at(&[byte[0] ^ 1], at).expect("writable");
}

pub fn append(path: &Path, bytes: &[u8]) {
    let mut file = File::options().write(true).open(path).expect("there");
    file.seek(SeekFrom::End(0)).and_then(|_| file.write_all(bytes)).expect("writable");
}
