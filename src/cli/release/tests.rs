use std::fs;
use std::os::unix::fs::PermissionsExt;

use clap::Parser;

use super::*;
use crate::cli::report::Report;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: ReleaseCommand,
}

fn release(line: &str) -> Result<Report, CliError> {
    let words = std::iter::once("release").chain(line.split_whitespace());
    match Line::try_parse_from(words).expect("a command line").command {
        ReleaseCommand::Keygen(command) => command.run(),
        ReleaseCommand::Pack(command) => command.run(),
        ReleaseCommand::Inspect(command) => command.run(),
    }
}

#[test]
fn a_key_signs_an_image_and_the_update_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().display();
    let key = release(&format!("keygen --out {at}/key.pem --name recovery")).expect("a key");
    let mode = fs::metadata(folder.path().join("key.pem")).expect("written").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(release(&format!("keygen --out {at}/key.pem")).is_err(), "a key is never overwritten");
    fs::write(folder.path().join("release.pub"), format!("{}\n", key.as_text())).expect("written");
    let image: Vec<u8> = (0..1 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
    fs::write(folder.path().join("slot.img"), image).expect("written");
    let pack = format!(
        "pack --key {at}/key.pem --version 1.2.3 --build 7 --board rpi-4 --board rpi-5 --slot-image {at}/slot.img --created 5"
    );
    release(&format!("{pack} --out {at}/one.gku")).expect("packed");
    release(&format!("{pack} --out {at}/two.gku")).expect("packed");
    let read = |name: &str| fs::read(folder.path().join(name)).expect("written");
    assert_eq!(read("one.gku"), read("two.gku"), "the same image and key give the same update");

    let report = release(&format!("inspect {at}/one.gku --keys {at}/release.pub")).expect("as signed");
    assert_eq!(report.json()["signed_by"], "recovery");
    assert_eq!(report.json()["manifest"]["boards"][1], "rpi-5");
    assert_eq!(report.json()["manifest"]["files"][0]["unpacked"]["size"], 1 << 20);
    let unchecked = release(&format!("inspect {at}/one.gku")).expect("readable");
    assert!(unchecked.as_text().starts_with("signature NOT checked"), "{}", unchecked.as_text());

    let mut damaged = read("one.gku");
    *damaged.last_mut().expect("not empty") ^= 1;
    fs::write(folder.path().join("one.gku"), damaged).expect("written");
    let error = release(&format!("inspect {at}/one.gku")).expect_err("damaged");
    assert!(error.to_string().contains("slot.img.zst in the update is damaged"), "{error}");
}

#[test]
fn what_is_no_image_or_no_key_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().display();
    release(&format!("keygen --out {at}/key.pem")).expect("a key");
    fs::write(folder.path().join("slot.img"), [1; 700]).expect("written");
    let pack = |key: &str| {
        release(&format!(
            "pack --key {at}/{key} --version 1.0.0 --build 1 --board x --slot-image {at}/slot.img --out {at}/o"
        ))
    };
    assert!(pack("key.pem").expect_err("no image").to_string().contains("multiple of 512"));
    assert!(pack("slot.img").expect_err("no key").to_string().contains("not an Ed25519 key"));
    assert!(!folder.path().join("o").exists());
}
