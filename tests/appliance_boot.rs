//! Whole boots: the real binary as process 1 of a namespace, with a card in a loop device, to a ready worker and back.
//! Needs root, `unshare`, loop devices and e2fsprogs: `cargo test --test appliance_boot -- --include-ignored`.

#[path = "appliance/card.rs"]
#[allow(dead_code, reason = "shared with the tests of the data partition")]
mod card;
#[path = "appliance/guest.rs"]
mod guest;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use card::{Data, LoopCard, MIB, run, with_own_mounts};
use guest::Guest;
use nix::sys::signal::{Signal, kill};

const SETTINGS: &str = "[coordinator]\nname = \"hs.example.com\"\n";
const SIGHUP: i32 = 1;

fn new_card() -> LoopCard {
    LoopCard::new(200, Data::Pristine, &[("genkan.toml", SETTINGS)])
}

/// Boots to a ready worker, and switches off; gives what the console showed.
fn boot(card: &LoopCard) -> String {
    let guest = Guest::start(card);
    guest.wait_until_ready();
    std::thread::sleep(Duration::from_secs(1));
    guest.power_off()
}

fn identity(card: &LoopCard) -> String {
    card.inside(1, |owner| fs::read_to_string(owner.join("genkan/.identity")).expect("a copy of the keys"))
}

fn status(card: &LoopCard) -> String {
    card.inside(1, |owner| fs::read_to_string(owner.join("STATUS.txt")).expect("a status"))
}

/// A file on the owner's partition, written as on a laptop.
fn put(card: &LoopCard, name: &str, text: &str) {
    card.inside(1, |owner| fs::write(owner.join(name), text).expect("room"));
}

fn assert_data_is_sound(card: &LoopCard) {
    run("/sbin/e2fsck", &["-f", "-n", card.partition(4).to_str().expect("a plain path")]);
}

#[test]
#[ignore = "needs root and loop devices"]
fn it_becomes_ready_and_ends_in_good_order() {
    with_own_mounts(|| {
        let card = new_card();
        let guest = Guest::start(&card);
        guest.wait_until_ready();
        let worker = fs::read_to_string(format!("/proc/{}/status", guest.worker())).expect("it runs");
        for line in ["Uid:\t1000\t1000\t1000\t1000", "Groups:\t \n", "NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(worker.contains(line), "{line:?}:\n{worker}");
        }
        // The first status is being written.
        std::thread::sleep(Duration::from_secs(1));
        let mounts = fs::read_to_string(guest.file("proc/1/mounts")).expect("readable");
        for line in [" /boot ext2 ro,nosuid,nodev,noexec", " /data ext4 rw,nosuid,nodev,noexec,noatime"] {
            assert!(mounts.contains(line), "{line:?}:\n{mounts}");
        }
        let config = fs::metadata(guest.file("run/genkan/config/genkan.toml")).expect("copied");
        assert_eq!((config.uid(), config.gid(), config.mode() & 0o777), (0, 1000, 0o640));
        let console = guest.power_off();
        assert!(console.contains("good-bye"), "{console}");
        for odd in ["panicked", "does not end", "still in use"] {
            assert!(!console.contains(odd), "{odd}:\n{console}");
        }
        assert_data_is_sound(&card);
        card.inside(4, |data| {
            assert!(!data.join("box/running").exists(), "the end was in good order");
            let kept = fs::read_to_string(data.join("box/config/genkan.toml")).expect("the last good one");
            assert_eq!(kept, SETTINGS);
        });
        assert!(status(&card).contains("genkan"), "{}", status(&card));
        identity(&card);
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn the_next_boot_writes_no_second_identity_and_finds_no_crash() {
    with_own_mounts(|| {
        let card = new_card();
        boot(&card);
        let first = identity(&card);
        let console = boot(&card);
        assert_eq!(identity(&card), first);
        for code in ["DATA-01", "DATA-02", "BOX-02"] {
            assert!(!console.contains(code), "{code}:\n{console}");
        }
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_box_that_lost_its_data_stays_itself() {
    with_own_mounts(|| {
        let card = new_card();
        boot(&card);
        let first = identity(&card);
        card.ruin(150 * MIB);
        let console = boot(&card);
        assert!(console.contains("DATA-02"), "{console}");
        assert!(console.contains("the keys of this box are taken from"), "{console}");
        assert_eq!(identity(&card), first);
        assert!(status(&card).contains("DATA-02"), "{}", status(&card));
        card.inside(4, |data| assert!(data.join("box/set-aside.zst").is_file()));
        assert!(!boot(&card).contains("DATA-02"), "it is told once");
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_damaged_database_is_set_aside_and_the_box_stays_itself() {
    with_own_mounts(|| {
        let card = new_card();
        boot(&card);
        let first = identity(&card);
        card.inside(4, |data| {
            let database = data.join("state/genkan.redb");
            let length = std::fs::metadata(&database).expect("it is there").len();
            std::fs::write(&database, vec![0; usize::try_from(length).expect("small")]).expect("written");
        });
        let console = boot(&card);
        assert!(console.contains("is set aside"), "{console}");
        assert_eq!(identity(&card), first);
        assert!(status(&card).contains("DATA-10"), "{}", status(&card));
        card.inside(4, |data| assert!(data.join("state/genkan.redb.damaged").is_file()));
        assert!(!boot(&card).contains("is set aside"), "once");
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_card_without_a_data_partition_makes_one() {
    with_own_mounts(|| {
        let card = LoopCard::new(200, Data::Missing, &[]);
        boot(&card);
        assert_data_is_sound(&card);
        card.inside(4, |data| assert!(data.join("state/genkan.redb").is_file()));
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn reset_erases_the_data_keeps_the_configuration_and_gives_new_keys() {
    with_own_mounts(|| {
        let card = new_card();
        boot(&card);
        let first = identity(&card);
        card.inside(4, |data| fs::write(data.join("state/old"), "x").expect("room"));
        put(&card, "RESET", "");
        boot(&card);
        assert_ne!(identity(&card), first);
        card.inside(4, |data| assert!(!data.join("state/old").exists()));
        card.inside(1, |owner| {
            assert!(!owner.join("RESET").exists());
            assert_eq!(fs::read_to_string(owner.join("genkan/genkan.toml")).expect("kept"), SETTINGS);
        });
        assert!(!String::from_utf8_lossy(&card.bytes()).contains(first.trim()), "the old keys are gone");
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_broken_configuration_is_named_and_the_last_good_one_runs() {
    with_own_mounts(|| {
        let card = new_card();
        put(&card, "genkan/genkan.toml", "[coordinator\n");
        let console = boot(&card);
        assert!(console.contains("CFG-01") && console.contains("the defaults run"), "{console}");
        put(&card, "genkan/genkan.toml", SETTINGS);
        assert!(!boot(&card).contains("CFG-01"));
        put(&card, "genkan/genkan.toml", "[coordinator]\nnaem = \"hs.example.com\"\n");
        let console = boot(&card);
        assert!(console.contains("the last good one runs"), "{console}");
        let status = status(&card);
        assert!(status.contains("CFG-01") && status.contains("genkan.toml:2:1"), "{status}");
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_full_partition_is_told_of_at_once() {
    with_own_mounts(|| {
        let card = LoopCard::new(92, Data::Pristine, &[]);
        boot(&card);
        card.inside(4, |data| {
            let mut file = fs::File::create(data.join("state/much")).expect("room for a name");
            std::io::copy(&mut std::io::repeat(0), &mut file).expect_err("it fills up");
        });
        let guest = Guest::start(&card);
        guest.wait_for("DATA-03", 1, Duration::from_secs(40));
        guest.power_off();
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_worker_that_is_killed_starts_again_and_one_that_hangs_resets_the_box() {
    with_own_mounts(|| {
        let card = new_card();
        let guest = Guest::start(&card);
        guest.wait_until_ready();
        kill(guest.worker(), Signal::SIGKILL).expect("it runs");
        guest.wait_for("BOX-03", 1, Duration::from_secs(5));
        guest.wait_for("the worker is ready", 2, Duration::from_secs(20));
        kill(guest.worker(), Signal::SIGSTOP).expect("it runs");
        guest.wait_for("the watchdog is not fed", 1, Duration::from_secs(20));
        let (signal, console) = guest.wait_for_end(Duration::from_secs(20));
        assert_eq!(signal, Some(SIGHUP), "a restart:\n{console}");
        assert_data_is_sound(&card);
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn without_a_card_it_runs_in_memory_and_says_so() {
    with_own_mounts(|| {
        let card = new_card();
        let file = fs::OpenOptions::new().write(true).open(&card.device).expect("a device");
        std::os::unix::fs::FileExt::write_all_at(&file, &[0; 512], 0).expect("room");
        drop(file);
        let guest = Guest::start(&card);
        guest.wait_until_ready();
        guest.wait_for("BOX-01", 1, Duration::from_secs(5));
        guest.signal(Signal::SIGINT);
        let (signal, console) = guest.wait_for_end(Duration::from_secs(20));
        assert_eq!(signal, Some(SIGHUP), "a restart:\n{console}");
    });
}
