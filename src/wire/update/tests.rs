use proptest::prelude::*;

use super::*;
use crate::base::secret::Secret;
use crate::base::wall_time::UnixTime;

fn key(seed: u8) -> SigningKey {
    let pem = SigningKey::pem(&Secret::new([seed; 32]));
    SigningKey::from_pem(&Secret::new(pem.expose().as_bytes().to_vec())).expect("our own PEM")
}

fn keys(of: &[&SigningKey]) -> PublicKeys {
    let lines: Vec<_> = of.iter().map(|key| key.public().line()).collect();
    PublicKeys::parse(&format!("# keys\n\n{} # release\n", lines.join("\n"))).expect("our own lines")
}

fn entry(name: &str, bytes: &[u8]) -> FileEntry {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    hash.update(bytes);
    let packed = Extent { size: bytes.len() as u64, sha256: Digest::of(hash) };
    FileEntry { name: name.into(), packed, unpacked: None }
}

fn manifest(files: Vec<FileEntry>) -> Manifest {
    Manifest {
        format: MANIFEST_FORMAT,
        version: "1.2.3-rc.1".parse().expect("a version"),
        build: 42,
        min_from: Some("1.0.0".parse().expect("a version")),
        boards: vec!["rpi-4".into(), "qemu-virt".into()],
        created: UnixTime(1_790_000_000),
        files,
    }
}

fn whole(signer: &SigningKey) -> Vec<u8> {
    let manifest =
        manifest(vec![entry("notes.txt", b"new"), entry("empty", b""), entry(SLOT_IMAGE, &[7; 300])]);
    let mut file =
        Envelope::sign(&manifest, std::slice::from_ref(signer)).expect("a valid manifest").encode();
    file.extend(b"new");
    file.extend([7; 300]);
    file
}

/// As the box does it, in pieces of `piece` bytes.
fn check(mut file: &[u8], keys: &PublicKeys, piece: usize) -> Result<Manifest, FormatError> {
    let envelope = Envelope::read(&mut file)?;
    let (manifest, _) = envelope.open(keys)?;
    let mut contents = Contents::new(&manifest);
    for bytes in file.chunks(piece) {
        contents.push(bytes)?;
    }
    contents.finish()?;
    Ok(manifest)
}

#[test]
fn a_signed_update_is_read_whole_by_either_key() {
    let (release, recovery) = (key(1), key(2));
    let trusted = keys(&[&release, &recovery]);
    for signer in [&release, &recovery] {
        for piece in [1, 7, 4096] {
            let manifest = check(&whole(signer), &trusted, piece).expect("as signed");
            assert_eq!((manifest.version.to_string().as_str(), manifest.build), ("1.2.3-rc.1", 42));
            let (slot, before) = manifest.find(SLOT_IMAGE).expect("is in it");
            assert_eq!((slot.packed.size, before, manifest.size()), (300, 3, 303));
        }
    }
}

#[test]
fn every_flipped_byte_and_every_cut_is_refused() {
    let release = key(1);
    let trusted = keys(&[&release]);
    let file = whole(&release);
    for at in 0..file.len() {
        let mut flipped = file.clone();
        flipped[at] ^= 0x20;
        assert!(check(&flipped, &trusted, 64).is_err(), "byte {at}");
        assert!(check(&file[..at], &trusted, 64).is_err(), "cut at {at}");
    }
    let longer = [file, vec![0]].concat();
    assert!(matches!(check(&longer, &trusted, 64), Err(FormatError::Trailing)));
}

#[test]
fn a_stranger_s_signature_is_refused_also_under_our_key_s_name() {
    let (release, stranger) = (key(1), key(9));
    let trusted = keys(&[&release]);
    assert!(matches!(check(&whole(&stranger), &trusted, 64), Err(FormatError::Signature)));
    let mut file = whole(&stranger);
    file[16..24].copy_from_slice(&release.public().id());
    assert!(matches!(check(&file, &trusted, 64), Err(FormatError::Signature)));
}

#[test]
fn a_second_signature_lets_old_and_new_keys_overlap() {
    let (old, new) = (key(1), key(2));
    let manifest = manifest(vec![entry("notes.txt", b"new")]);
    let envelope = Envelope::sign(&manifest, &[key(1), key(2)]).expect("a valid manifest");
    for trusted in [keys(&[&old]), keys(&[&new])] {
        assert!(envelope.open(&trusted).is_ok());
    }
    assert_eq!(envelope.signers().len(), 2);
}

#[test]
fn manifests_outside_the_limits_are_neither_made_nor_taken() {
    let fine = manifest(vec![entry("a", b"a")]);
    let changes: [fn(&mut Manifest); 8] = [
        |manifest| manifest.format = 2,
        |manifest| manifest.files.clear(),
        |manifest| manifest.boards.clear(),
        |manifest| manifest.boards[0] = "Pi 4".into(),
        |manifest| manifest.files[0].name = "../a".into(),
        |manifest| manifest.files[0].name = ".a".into(),
        |manifest| manifest.files.push(manifest.files[0].clone()),
        |manifest| manifest.files[0].packed.size = u64::MAX,
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut wrong = fine.clone();
        change(&mut wrong);
        assert!(matches!(wrong.encode(), Err(FormatError::Manifest(_))), "change {number}");
        let json = serde_json::to_vec(&wrong).expect("plain values");
        assert!(Manifest::decode(&json).is_err(), "change {number}");
    }
}

#[test]
fn lists_of_keys_name_the_wrong_line() {
    let line = key(1).public().line();
    let named = PublicKeys::parse(&format!("{line}  # release\n")).expect("one key");
    assert_eq!(named.as_slice().first().map(|key| key.name.as_str()), Some("release"));
    assert_eq!(PublicKeys::parse(&format!("{line}\nabc=\n")), Err(KeyError::Line(2)));
    assert_eq!(PublicKeys::parse("# none\n"), Err(KeyError::Empty));
    assert_eq!(PublicKeys::parse(&format!("{line}\n").repeat(17)), Err(KeyError::TooMany));
}

#[test]
fn the_private_key_does_not_print() {
    assert_eq!(format!("{:?}", key(1)), "SigningKey(redacted)");
}

#[test]
fn progress_survives_its_line() {
    let all = [
        Progress::Step { phase: Phase::Write, percent: 40 },
        Progress::Written { version: "1.0.0".into(), build: 3 },
        Progress::Failed { text: "a\nb".into() },
    ];
    for progress in all {
        let line = progress.encode();
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(Progress::decode(line.trim_end()), Some(progress));
    }
}

proptest! {
    #[test]
    fn hostile_files_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), head in any::<bool>()) {
        let mut file = if head { b"GENKANU1\x01\0\0\0\0\0".to_vec() } else { Vec::new() };
        file.extend(bytes);
        prop_assert!(check(&file, &keys(&[&key(1)]), 50).is_err());
        if let Ok(envelope) = Envelope::read(&mut file.as_slice()) {
            let _ = envelope.unverified();
            prop_assert_eq!(envelope.encode(), &file[..envelope.encode().len()]);
        }
    }

    #[test]
    fn hostile_manifests_do_not_panic(text in "\\PC{0,200}", size in any::<u64>(), name in "\\PC{0,8}") {
        let _ = Manifest::decode(text.as_bytes());
        let mut made = manifest(vec![entry("a", b"a")]);
        made.files[0].packed.size = size;
        made.files[0].name = name;
        if let Ok(decoded) = Manifest::decode(&serde_json::to_vec(&made).expect("plain values")) {
            prop_assert!(decoded.size() <= 128 << 20);
        }
    }

    #[test]
    fn hostile_key_lists_do_not_panic(text in "[#A-Za-z0-9+/= \n]{0,300}") {
        let _ = PublicKeys::parse(&text);
        let _ = SigningKey::from_pem(&Secret::new(text.into_bytes()));
    }
}
