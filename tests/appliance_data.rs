//! The data partition on a real block device: grown, made, repaired, given up, full, erased.
//! Needs root, loop devices and e2fsprogs: `cargo test --test appliance_data -- --include-ignored`.

#[path = "appliance/card.rs"]
#[allow(dead_code, reason = "shared with the tests of whole boots")]
mod card;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use card::{Data, LoopCard, MIB, run, with_own_mounts};
use genkan::appliance::core::boot_plan::DataCheck;
use genkan::appliance::core::space;
use genkan::appliance::{data, mounts};
use nix::sys::statvfs::statvfs;

const FSCK: &str = "/sbin/e2fsck";

fn check(card: &LoopCard) -> DataCheck {
    data::check(Path::new(FSCK), &card.partition(4), &mut || {})
}

/// Nothing is left to repair.
fn assert_sound(card: &LoopCard) {
    run(FSCK, &["-f", "-n", card.partition(4).to_str().expect("a plain path")]);
}

fn uuid(card: &LoopCard) -> String {
    run("blkid", &["-p", "-s", "UUID", "-o", "value", card.partition(4).to_str().expect("a plain path")])
}

fn mounted(card: &LoopCard) -> PathBuf {
    let place = card.place("data");
    mounts::data(&card.partition(4), &place).expect("it mounts");
    place
}

/// A card whose data partition has grown to its end, by the tool that does it unmounted, with a file in it.
fn grown(size: u64) -> LoopCard {
    let card = LoopCard::new(size, Data::Pristine, &[]);
    card.open().extend_data().expect("room");
    run("resize2fs", &[card.partition(4).to_str().expect("a plain path")]);
    let place = mounted(&card);
    fs::write(place.join("kept"), "before").expect("room");
    mounts::release(&place).expect("nobody is inside");
    card
}

/// Growing while mounted takes `CAP_SYS_RESOURCE`, which the root of a container may lack.
fn may_grow() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("it has one");
    let has_it = u64::from_str_radix(line.trim(), 16).expect("hex") >> 24 & 1 == 1;
    if !has_it {
        eprintln!("SKIPPED: this root has no CAP_SYS_RESOURCE; the card itself shows it in the lab");
    }
    has_it
}

#[test]
#[ignore = "needs root and loop devices"]
fn it_grows_to_the_end_of_the_card_while_mounted_and_only_once() {
    with_own_mounts(|| {
        if !may_grow() {
            return;
        }
        let card = LoopCard::new(600, Data::Pristine, &[]);
        assert_eq!(check(&card), DataCheck::Clean);
        let place = mounted(&card);
        fs::write(place.join("kept"), "before").expect("room");
        data::grow(&mut card.open(), &place, &mut || {}).expect("it grows");
        let blocks = statvfs(&place).expect("mounted");
        let size = blocks.blocks() * blocks.fragment_size() / MIB;
        assert!((540..=572).contains(&size), "{size} MiB");
        let table = card.bytes()[..512].to_vec();
        data::grow(&mut card.open(), &place, &mut || {}).expect("nothing to do");
        assert_eq!(card.bytes()[..512], table);
        assert_eq!(fs::read_to_string(place.join("kept")).expect("kept"), "before");
        mounts::release(&place).expect("nobody is inside");
        assert_sound(&card);
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_missing_partition_is_made_and_no_two_are_alike() {
    with_own_mounts(|| {
        let card = LoopCard::new(200, Data::Missing, &[]);
        assert!(!card.open().has_data());
        data::create(&mut card.open(), &card.pristine(), &mut || {}).expect("room");
        assert!(card.open().has_data());
        assert_sound(&card);
        let first = uuid(&card);
        data::create(&mut card.open(), &card.pristine(), &mut || {}).expect("room");
        assert_ne!(uuid(&card), first);
        assert_sound(&card);
        assert!(contains(&card.bytes(), "genkan-data"));
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_lost_superblock_is_found_again_and_files_with_it() {
    with_own_mounts(|| {
        let card = grown(600);
        card.ruin(4096);
        let verdict = check(&card);
        assert!(matches!(verdict, DataCheck::Repaired(_)), "{verdict:?}");
        assert_sound(&card);
        let place = mounted(&card);
        assert_eq!(fs::read_to_string(place.join("kept")).expect("kept"), "before");
        mounts::release(&place).expect("nobody is inside");
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn what_is_beyond_repair_is_known_as_such_and_begun_anew() {
    with_own_mounts(|| {
        let card = grown(200);
        card.ruin(160 * MIB);
        let verdict = check(&card);
        assert!(matches!(verdict, DataCheck::Unrepairable(_)), "{verdict:?}");
        let aside = data::set_aside(&card.partition(4)).expect("readable");
        let kept = zstd::decode_all(&aside[..]).expect("compressed");
        assert_eq!(kept.len() as u64, 32 * MIB);
        data::create(&mut card.open(), &card.pristine(), &mut || {}).expect("room");
        assert_eq!(check(&card), DataCheck::Clean);
        let place = mounted(&card);
        assert!(!place.join("kept").exists());
        mounts::release(&place).expect("nobody is inside");
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn without_a_check_a_sound_file_system_is_left_alone() {
    with_own_mounts(|| {
        let card = grown(200);
        let nowhere = Path::new("/nonexistent/e2fsck");
        let verdict = data::check(nowhere, &card.partition(4), &mut || {});
        assert!(matches!(verdict, DataCheck::Unusable(_)), "{verdict:?}");
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn what_a_power_cut_leaves_is_no_damage() {
    with_own_mounts(|| {
        let card = grown(200);
        let place = mounted(&card);
        for number in 0..200 {
            fs::write(place.join(format!("file{number}")), vec![7; 5000]).expect("room");
        }
        let file = fs::File::open(place.join("file199")).expect("it is there");
        file.sync_all().expect("written");
        let cut = card.bytes();
        mounts::release(&place).expect("nobody is inside");
        let other = grown(200);
        fs::write(&other.device, cut).expect("as large");
        assert_eq!(check(&other), DataCheck::Clean);
        assert_sound(&other);
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_full_partition_is_told_of_and_root_can_still_write() {
    with_own_mounts(|| {
        let card = LoopCard::new(92, Data::Pristine, &[]);
        let place = mounted(&card);
        data::prepare(&place).expect("room");
        let state = fs::metadata(place.join("state")).expect("made");
        assert_eq!((state.uid(), state.gid(), state.permissions().mode() & 0o777), (1000, 1000, 0o700));
        assert_eq!(fs::metadata(place.join("box")).expect("made").permissions().mode() & 0o777, 0o700);
        let fill = format!("cat /dev/zero > {}/state/much", place.display());
        let mut worker = std::process::Command::new("setpriv");
        worker.args(["--reuid", "1000", "--regid", "1000", "--clear-groups", "sh", "-c", &fill]);
        assert!(!worker.output().expect("setpriv").status.success(), "it fills up");
        let found = statvfs(&place).expect("mounted");
        let bytes = |blocks: u64| blocks * found.fragment_size();
        let told = space::judge(bytes(found.blocks_available()), bytes(found.blocks())).expect("it is full");
        assert_eq!(told.code, "DATA-03");
        fs::write(place.join("box/log/genkan.log"), "what happened").expect("root has a reserve");
        data::prepare(&place).expect("nothing to make");
        mounts::release(&place).expect("nobody is inside");
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn after_an_erasure_no_secret_lies_on_the_card() {
    const SECRET: &str = "genkan-secret-7f3a9c-planted-by-a-test";
    with_own_mounts(|| {
        let card = grown(200);
        let place = mounted(&card);
        data::prepare(&place).expect("room");
        for file in ["state/genkan.redb", "box/secrets/acme"] {
            let path = place.join(file);
            fs::write(&path, SECRET.repeat(1000)).expect("room");
            fs::File::open(path).expect("made").sync_all().expect("written");
        }
        mounts::release(&place).expect("nobody is inside");
        assert!(contains(&card.bytes(), SECRET), "the test finds what is there");
        data::wipe(&card.partition(4), &card.place("data"), &mut || {}).expect("writable");
        assert!(!contains(&card.bytes(), SECRET));
        assert!(matches!(check(&card), DataCheck::Unrepairable(_)));
    });
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
