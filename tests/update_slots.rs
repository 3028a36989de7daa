//! Updates on real block devices: loop devices, a FAT made by `mkfs.vfat`, the real binary as maker and as PID 1's child.
//! Needs root, `losetup`, dosfstools and mtools: `cargo test --test update_slots -- --ignored`.

#[path = "update_slots/card.rs"]
mod card;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use card::{Card, GENKAN, IMAGE_SIZE, Maker, append, flip, noise, run};
use genkan::appliance::core::slot::{Boot, Slot, Switch, SwitchFile};
use genkan::appliance::updater::Updater;
use genkan::wire::supervision::{Beat, FromInit, FromWorker};
use genkan::wire::update::{Phase, Progress};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The last line that `slot-write` says about `file`.
fn write_slot(card: &Card, file: &Path) -> Progress {
    let output = card.slot_write(file).output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("text");
    let last = text.lines().last().and_then(Progress::decode).unwrap_or_else(|| panic!("{text:?}"));
    assert_eq!(output.status.success(), matches!(last, Progress::Written { .. }));
    last
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_slot_holds_the_signed_image_bit_by_bit() {
    let card = Card::new(SwitchFile::SlotEnv, "32");
    let maker = Maker::new(&card);
    let (before, old) = (card.untouchable(), card.slots[1].bytes());
    for key in ["release", "recovery"] {
        let file = maker.pack("new.gku", key, &[]);
        assert_eq!(write_slot(&card, &file), Progress::Written { version: "1.5.0".into(), build: 101 });
        let slot = card.slots[1].bytes();
        assert!(slot[..IMAGE_SIZE] == maker.image, "the image is in the slot");
        assert!(slot[IMAGE_SIZE..] == old[IMAGE_SIZE..], "nothing is written behind it");
        assert!(card.untouchable() == before, "the running slot and the switch are as they were");
    }
    let same = maker.pack("same.gku", "release", &["--build", "100"]);
    assert!(
        matches!(write_slot(&card, &same), Progress::Written { .. }),
        "the same build may be written again"
    );
}

#[test]
#[ignore = "needs root and loop devices"]
fn what_is_not_for_this_box_writes_nothing() {
    let card = Card::new(SwitchFile::Autoboot, "32");
    let maker = Maker::new(&card);
    let before = (card.untouchable(), card.slots[1].bytes());
    let wrong: [(&str, &[&str], &str); 4] = [
        ("stranger", &[], "none of this box's release keys signed the update"),
        ("release", &["--board", "other-board"], "is for other-board, and this is test-board"),
        ("release", &["--build", "99"], "older (build 99) than what runs (build 100)"),
        ("release", &["--min-from", "1.4.1"], "install 1.4.1 first"),
    ];
    for (key, changes, expected) in wrong {
        let file = maker.pack("wrong.gku", key, changes);
        let Progress::Failed { text } = write_slot(&card, &file) else { panic!("{changes:?} was written") };
        assert!(text.contains(expected), "{text}");
        assert!((card.untouchable(), card.slots[1].bytes()) == before, "{text}");
    }
    let image = noise(3, card::SLOT_SIZE + 512);
    fs::write(card.path("slot.img"), image).expect("written");
    let file = maker.pack("large.gku", "release", &[]);
    let Progress::Failed { text } = write_slot(&card, &file) else { panic!("it cannot fit") };
    assert!(text.contains("a slot has 6291456"), "{text}");
    assert!((card.untouchable(), card.slots[1].bytes()) == before);
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_damaged_update_writes_nothing() {
    let card = Card::new(SwitchFile::Autoboot, "32");
    let maker = Maker::new(&card);
    let before = (card.untouchable(), card.slots[1].bytes());
    let whole = maker.pack("whole.gku", "release", &[]);
    let length = fs::metadata(&whole).expect("there").len();
    let damaged = card.path("damaged.gku");
    let refused = |what: &str| {
        let last = write_slot(&card, &damaged);
        assert!(matches!(last, Progress::Failed { .. }), "{what}: {last:?}");
        assert!((card.untouchable(), card.slots[1].bytes()) == before, "{what}");
    };
    // Magic, count, zero, manifest's length, key's name, signature, manifest, and the slot's first, middle and last bytes.
    for at in [0, 8, 10, 15, 16, 30, 87, 90, 200, 600, 5000, length / 2, length - 1] {
        fs::copy(&whole, &damaged).expect("copied");
        flip(&damaged, at);
        refused(&format!("flipped bit of byte {at}"));
    }
    for keep in [0, 7, 16, 60, 300, length / 2, length - 1] {
        fs::copy(&whole, &damaged).expect("copied");
        fs::File::options().write(true).open(&damaged).and_then(|file| file.set_len(keep)).expect("cut");
        refused(&format!("cut after {keep} bytes"));
    }
    fs::copy(&whole, &damaged).expect("copied");
    append(&damaged, b"x");
    refused("a byte behind the end");
    fs::remove_file(&damaged).expect("there");
    std::os::unix::fs::symlink(&whole, &damaged).expect("made");
    refused("a link instead of a file");
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_power_cut_while_a_slot_is_written_leaves_the_box_as_it_was() {
    for file in [SwitchFile::Autoboot, SwitchFile::SlotEnv] {
        let mut card = Card::new(file, "32");
        let maker = Maker::new(&card);
        let update = maker.pack("new.gku", "release", &[]);
        let before = card.untouchable();
        for cut in [10, 50, 90] {
            let mut child = card.slot_write(&update).stdout(Stdio::piped()).spawn().expect("it starts");
            let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
            let reached = lines.map_while(Result::ok).any(|line| match Progress::decode(&line) {
                Some(Progress::Step { phase: Phase::Write, percent }) => percent >= cut,
                _ => false,
            });
            child.kill().and_then(|()| child.wait()).expect("it ran");
            assert!(reached);
            assert!(card.untouchable() == before, "cut at {cut} %");
            assert_eq!(card.firmware(), Boot { slot: Slot::A, tried: false });
        }
        assert!(
            matches!(write_slot(&card, &update), Progress::Written { .. }),
            "and it can be written again"
        );
    }
}

#[test]
#[ignore = "needs root and loop devices"]
fn setting_the_switch_changes_one_sector_and_fsck_finds_nothing() {
    for (file, bits) in
        [(SwitchFile::Autoboot, "32"), (SwitchFile::SlotEnv, "32"), (SwitchFile::Autoboot, "16")]
    {
        let card = Card::new(file, bits);
        let attempt = (file == SwitchFile::SlotEnv).then_some(Slot::A);
        let switch = Switch { chosen: Slot::B, attempt };
        let before = card.first.bytes();
        card.switch().set(switch).expect("writable");
        let after = card.first.bytes();
        let changed = before.chunks(512).zip(after.chunks(512)).filter(|(old, new)| old != new).count();
        assert_eq!(changed, 1, "{file:?} on FAT{bits}");
        assert_eq!(card.switch().read().expect("readable"), switch);
        card.switch().set(switch).expect("writable");
        assert!(card.first.bytes() == after, "setting it again writes nothing");
        let device = card.first.device.to_str().expect("plain").to_owned();
        run("fsck.vfat", &["-n", &device]);
        let text = run("mtype", &["-i", &device, &format!("::{}", file.name())]).stdout;
        assert_eq!(text, file.encode(switch, 512).expect("fits"), "mtools reads what was written");
    }
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_switch_that_an_owner_edited_or_lost_is_named() {
    let card = Card::new(SwitchFile::Autoboot, "32");
    let device = card.first.device.to_str().expect("plain").to_owned();
    let short = card.path("short.txt");
    fs::write(&short, "[all]\r\n").expect("written");
    let copy =
        |from: &Path| run("mcopy", &["-o", "-i", &device, from.to_str().expect("plain"), "::autoboot.txt"]);
    copy(&short);
    assert!(card.switch().read().expect_err("senseless").to_string().contains("does not say which slot"));
    let error = card.switch().set(Switch { chosen: Slot::A, attempt: None }).expect_err("no room");
    assert!(error.to_string().contains("room for 7 bytes"), "{error}");
    run("mdel", &["-i", &device, "::autoboot.txt"]);
    assert!(card.switch().read().expect_err("gone").to_string().contains("autoboot.txt is missing"));
}

/// PID 1's loop around an [`Updater`], as short as it can be; time is told, not waited for.
struct Init {
    updater: Updater,
    now: Instant,
    said: Vec<FromInit>,
}

impl Init {
    fn start(card: &mut Card) -> Self {
        let (boot, now) = (card.firmware(), Instant::now());
        Self { updater: Updater::at_boot(card.settings(), boot, now), now, said: Vec::new() }
    }

    /// What a worker that is well says; `listeners` is what differs.
    fn worker(&mut self, listeners: &[&str]) {
        let beat = Beat { coordinator: true, tunnel: true, edge: true, store: true };
        let listeners = listeners.iter().map(|name| (*name).to_owned()).collect();
        let nodes = vec!["machine-a".to_owned()];
        for message in [FromWorker::Ready, FromWorker::Beat(beat), FromWorker::Up { nodes, listeners }] {
            self.updater.handle_message(self.now, &message);
        }
    }

    fn update(&mut self, card: &Card, file: &Path) {
        fs::copy(file, card.path("state/incoming/update.gku")).expect("copied");
        self.updater.handle_message(self.now, &FromWorker::Update { file: "incoming/update.gku".into() });
        while let Some(descriptor) = self.updater.descriptor() {
            let mut ready = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut ready, PollTimeout::from(60_000_u16)), Ok(1), "slot-write is silent");
            self.updater.handle_readable(self.now);
            self.said.extend(self.updater.take_message());
        }
        self.said.extend(self.updater.take_message());
        assert!(!card.path("state/incoming/update.gku").exists(), "the update is removed");
    }

    /// So many seconds, one by one, the worker speaking.
    fn pass(&mut self, seconds: u32, listeners: &[&str]) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.worker(listeners);
            self.updater.handle_timeout(self.now);
        }
        self.said.extend(self.updater.take_message());
    }

    /// Whether the box restarts; the Pi's request for a try goes to the firmware.
    fn restarts(&mut self, card: &mut Card) -> bool {
        let restart = self.updater.take_restart();
        card.tryboot = restart.is_some_and(|restart| restart.tryboot);
        restart.is_some()
    }

    fn codes(&self) -> Vec<String> {
        self.updater.conditions().into_iter().map(|condition| condition.code).collect()
    }

    fn last(&self) -> (String, bool) {
        match self.said.last() {
            Some(FromInit::Update { text, failed, .. }) => (text.clone(), *failed),
            other => panic!("{other:?}"),
        }
    }
}

const BOTH: [SwitchFile; 2] = [SwitchFile::Autoboot, SwitchFile::SlotEnv];

#[test]
#[ignore = "needs root and loop devices"]
fn an_update_is_tried_once_and_taken_when_the_health_is_as_before() {
    for file in BOTH {
        let mut card = Card::new(file, "32");
        let maker = Maker::new(&card);
        let update = maker.pack("made.gku", "release", &[]);
        let mut init = Init::start(&mut card);
        init.pass(2, &["tcp/443"]);
        init.update(&card, &update);
        assert!(init.restarts(&mut card), "{:?}", init.said);
        assert_eq!(card.switch().read().expect("readable").chosen, Slot::A, "nothing is decided yet");

        let mut init = Init::start(&mut card);
        assert_eq!(init.codes(), ["UPD-02"]);
        init.pass(20, &["tcp/443"]);
        assert_eq!(card.switch().read().expect("readable").chosen, Slot::A, "it has not held long enough");
        init.pass(20, &["tcp/443"]);
        assert_eq!(init.last(), ("1.5.0 is installed".into(), false));
        assert_eq!(card.switch().read().expect("readable"), Switch { chosen: Slot::B, attempt: None });
        assert!(!init.restarts(&mut card));

        assert_eq!(card.firmware(), Boot { slot: Slot::B, tried: false }, "and so it starts from now on");
        let init = Init::start(&mut card);
        assert!(init.codes().is_empty());
        assert!(matches!(init.updater.status(), Some(FromInit::Update { done: true, failed: false, .. })));
    }
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_version_that_lacks_a_listener_or_never_speaks_is_taken_back() {
    for file in BOTH {
        let mut card = Card::new(file, "32");
        let maker = Maker::new(&card);
        let update = maker.pack("made.gku", "release", &[]);
        let mut init = Init::start(&mut card);
        init.pass(1, &["tcp/22", "tcp/443"]);
        init.update(&card, &update);
        assert!(init.restarts(&mut card));
        let mut init = Init::start(&mut card);
        init.pass(599, &["tcp/443"]);
        assert!(!init.restarts(&mut card), "it has ten minutes");
        init.pass(1, &["tcp/443"]);
        assert!(init.restarts(&mut card));
        let mut init = Init::start(&mut card);
        assert_eq!(init.updater.conditions()[0].why, "nothing listens on tcp/22");
        assert_eq!(init.codes(), ["UPD-03"]);
        assert_eq!(card.firmware(), Boot { slot: Slot::A, tried: false });

        // The next try ends without a word: a crash, or a hang that the watchdog ends.
        init.pass(1, &["tcp/443"]);
        init.update(&card, &update);
        assert!(init.restarts(&mut card));
        assert_eq!(card.firmware(), Boot { slot: Slot::B, tried: true });
        let init = Init::start(&mut card);
        assert!(init.updater.conditions()[0].why.contains("did not come up"));
        assert_eq!(card.firmware(), Boot { slot: Slot::A, tried: false });
    }
}

#[test]
#[ignore = "needs root and loop devices"]
fn what_cannot_be_installed_is_said_and_nothing_restarts() {
    let mut card = Card::new(SwitchFile::SlotEnv, "32");
    let maker = Maker::new(&card);
    let before = (card.untouchable(), card.slots[1].bytes());
    let mut init = Init::start(&mut card);
    let stranger = maker.pack("made.gku", "stranger", &[]);
    init.update(&card, &stranger);
    assert!(init.last().0.starts_with("none of this box's release keys"), "{:?}", init.last());
    assert_eq!(init.codes(), ["UPD-04"]);
    for name in ["../made.gku", "genkan.redb", "", ".gku", "/a.gku"] {
        init.updater.handle_message(init.now, &FromWorker::Update { file: name.into() });
        init.said.extend(init.updater.take_message());
        assert!(init.last().1 && init.last().0.contains("not the name of an update"), "{name}");
    }
    assert!(!init.restarts(&mut card));
    assert!((card.untouchable(), card.slots[1].bytes()) == before);
    let mut settings = card.settings();
    settings.program = "/nonexistent".into();
    init.updater = Updater::at_boot(settings, card.firmware(), init.now);
    init.updater.handle_message(init.now, &FromWorker::Update { file: "incoming/update.gku".into() });
    init.said.extend(init.updater.take_message());
    assert!(init.last().0.contains("does not start"), "{:?}", init.last());
    assert!(init.updater.descriptor().is_none());
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_card_that_cannot_say_so_durably_is_not_updated() {
    let mut card = Card::new(SwitchFile::SlotEnv, "32");
    let maker = Maker::new(&card);
    let update = maker.pack("made.gku", "release", &[]);
    // A folder where the memory would be: it cannot be written.
    fs::create_dir_all(card.path("box/update.json/x")).expect("made");
    let mut init = Init::start(&mut card);
    fs::copy(&update, card.path("state/incoming/update.gku")).expect("copied");
    init.updater.handle_message(init.now, &FromWorker::Update { file: "incoming/update.gku".into() });
    init.said.extend(init.updater.take_message());
    assert!(init.last().1, "{:?}", init.last());
    assert!(!init.restarts(&mut card));
    assert_eq!(card.firmware(), Boot { slot: Slot::A, tried: false });
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_mounted_partition_is_never_written() {
    let card = Card::new(SwitchFile::SlotEnv, "32");
    let maker = Maker::new(&card);
    let update = maker.pack("made.gku", "release", &[]);
    let device = card.slots[1].device.to_str().expect("plain").to_owned();
    run("mkfs.ext4", &["-q", "-F", &device]);
    let mount = card.path("mount");
    fs::create_dir(&mount).expect("made");
    run("mount", &[&device, mount.to_str().expect("plain")]);
    let last = write_slot(&card, &update);
    run("umount", &[&device]);
    let Progress::Failed { text } = last else { panic!("{GENKAN} wrote a mounted partition") };
    assert!(text.contains("cannot be opened"), "{text}");
    run("fsck.ext4", &["-n", "-f", &device]);
}
