//! The data partition: check, repair, create, grow, set aside, wipe.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::core::boot_plan::DataCheck;
use super::core::card::DATA;
use super::core::superblock::{OFFSET, SIZE, Superblock};
use super::partitions::Card;
use super::settings::WORKER_ID;
use super::{child, mounts};
use crate::sys::block;

/// A check of a large card that is full takes minutes.
const CHECK_LIMIT: Duration = Duration::from_mins(20);
/// Lines of the check's output that are shown.
const LINES_SHOWN: usize = 3;
/// The first bytes of the image, with the superblock in them, are written when all others are on the card.
const HEAD: usize = 4096;
const CHUNK: usize = 256 * 1024;
/// Largest pristine file system, unpacked.
const PRISTINE_MAX: u64 = 256 * 1024 * 1024;
/// What is kept of a file system that is given up: its beginning, and no more of it than this once compressed.
const ASIDE_READ: u64 = 32 * 1024 * 1024;
const ASIDE_MAX: usize = 16 * 1024 * 1024;
/// Growing by less is not worth a write.
const GROWTH_MIN: u64 = 4 * 1024 * 1024;
/// What is grown, and what is discarded, between two feedings of the watchdog.
const GROWTH_STEP: u64 = 16 * 1024 * 1024 * 1024;
const DISCARD_STEP: u64 = 256 * 1024 * 1024;

/// Checks the file system on `device`: first what is safe to repair alone, then all of it.
pub fn check(fsck: &Path, device: &Path, pulse: &mut dyn FnMut()) -> DataCheck {
    let mut run = |mode: &str| child::run(Command::new(fsck).arg(mode).arg(device), CHECK_LIMIT, pulse);
    match run("-p") {
        // 1 and 2: what a power cut leaves was put in order.
        Ok(ended) if matches!(ended.code, Some(0..=2)) => return DataCheck::Clean,
        Ok(ended) => {
            let output = last_lines(&ended.text);
            tracing::warn!(code = ended.code, output, "the data partition needs repair");
        }
        Err(error) => return unchecked(device, &format!("e2fsck: {error}")),
    }
    let repaired = match run("-y") {
        // By another superblock it recovers the journal and then begins anew, which it cannot: bitmaps and counts are left as they were.
        Ok(ended) if ended.code.is_some_and(|code| code & 8 != 0) => run("-fy"),
        other => other,
    };
    match repaired {
        Ok(ended) => judge(ended.code, &last_lines(&ended.text), device),
        Err(error) => unchecked(device, &format!("e2fsck: {error}")),
    }
}

/// Writes an empty file system with a fresh UUID to p4, making the partition first when there is none. A cut in between
/// leaves no superblock, and the next boot begins anew.
pub fn create(card: &mut Card, pristine: &Path, pulse: &mut dyn FnMut()) -> Result<(), String> {
    if !card.has_data() {
        card.extend_data().map_err(|error| error.to_string())?;
    }
    let device = card.partition(DATA);
    let image = File::open(pristine).map_err(|error| format!("{}: {error}", pristine.display()))?;
    write_image(image, &device, pulse).map_err(|error| format!("{}: {error}", device.display()))
}

/// Lets p4 and the file system mounted at `folder` reach to the end of the card.
pub fn grow(card: &mut Card, folder: &Path, pulse: &mut dyn FnMut()) -> Result<(), String> {
    card.extend_data().map_err(|error| error.to_string())?;
    grow_file_system(&card.partition(DATA), folder, pulse)
        .map_err(|error| format!("the file system: {error}"))
}

/// The beginning of the file system on `device`, compressed, for whoever wants to look for what was lost.
pub fn set_aside(device: &Path) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1)?;
    let mut source = File::open(device)?.take(ASIDE_READ);
    let mut chunk = vec![0; CHUNK];
    while encoder.get_ref().len() < ASIDE_MAX {
        match source.read(&mut chunk)? {
            0 => break,
            count => encoder.write_all(&chunk[..count])?,
        }
    }
    encoder.finish()
}

/// Destroys what p4 holds: files are overwritten where they lie, then the card is told to forget them, then the
/// superblock goes. Wear levelling may keep copies that nobody but the card itself can reach.
pub fn wipe(device: &Path, folder: &Path, pulse: &mut dyn FnMut()) -> io::Result<()> {
    if mounts::data(device, folder).is_ok() {
        for secret in ["state", "box"] {
            overwrite_all(&folder.join(secret), pulse);
        }
        mounts::release(folder)?;
    }
    let file = OpenOptions::new().write(true).open(device)?;
    let size = block::size(&file)?;
    discard(&file, size, pulse);
    let empty = vec![0; CHUNK];
    file.write_all_at(&empty, 0)?;
    file.sync_all()
}

/// The folders of the data partition: `state` the worker's, `box` root's.
pub fn prepare(folder: &Path) -> io::Result<()> {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    let state = folder.join("state");
    private(&state)?;
    chown(&state, Some(WORKER_ID), Some(WORKER_ID))?;
    let own = folder.join("box");
    private(&own)?;
    ["secrets", "log", "crash"].iter().try_for_each(|name| private(&own.join(name)))
}

/// Whether ext4's magic number stands on `device`.
fn superblock(device: &Path) -> io::Result<Superblock> {
    let mut bytes = [0; SIZE];
    File::open(device)?.read_exact_at(&mut bytes, OFFSET as u64)?;
    Superblock::parse(&bytes).map_err(io::Error::other)
}

/// e2fsck(8): 4 errors left uncorrected, 8 an operational error, for example no superblock anywhere.
fn judge(code: Option<i32>, text: &str, device: &Path) -> DataCheck {
    match code {
        Some(0..=2) => DataCheck::Repaired(text.to_owned()),
        Some(code) if code & 8 == 0 && code & 4 != 0 => DataCheck::Unrepairable(text.to_owned()),
        _ => unchecked(device, text),
    }
}

/// What holds where the check gives no answer: without a superblock nothing is left to lose.
fn unchecked(device: &Path, why: &str) -> DataCheck {
    match superblock(device) {
        Ok(_) => DataCheck::Unusable(why.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::Other => DataCheck::Unrepairable(why.to_owned()),
        Err(error) => DataCheck::Unusable(format!("{why}; {error}")),
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES_SHOWN)..].join("; ")
}

fn write_image(image: File, device: &Path, pulse: &mut dyn FnMut()) -> io::Result<()> {
    let mut source = zstd::stream::read::Decoder::new(image)?.take(PRISTINE_MAX);
    let target = OpenOptions::new().write(true).open(device)?;
    let mut head = [0; HEAD];
    source.read_exact(&mut head)?;
    set_uuid(&mut head)?;
    target.write_all_at(&[0; HEAD], 0)?;
    target.sync_data()?;
    let mut offset = HEAD as u64;
    let mut chunk = vec![0; CHUNK];
    loop {
        pulse();
        let count = source.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        target.write_all_at(&chunk[..count], offset)?;
        offset += count as u64;
    }
    target.sync_data()?;
    target.write_all_at(&head, 0)?;
    target.sync_all()
}

fn set_uuid(head: &mut [u8; HEAD]) -> io::Result<()> {
    let mut uuid = [0; 16];
    getrandom::fill(&mut uuid).map_err(|error| io::Error::other(error.to_string()))?;
    // Version 4, RFC 9562, section 5.4.
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    let place = &mut head[OFFSET..OFFSET + SIZE];
    let found = Superblock::parse((&*place).try_into().expect("its size")).map_err(io::Error::other)?;
    match found.with_uuid(uuid) {
        Ok(own) => place.copy_from_slice(own.bytes()),
        // A name that others have too is better than no data partition.
        Err(error) => tracing::warn!("the new data partition has no UUID of its own: {error}"),
    }
    Ok(())
}

fn grow_file_system(device: &Path, folder: &Path, pulse: &mut dyn FnMut()) -> io::Result<()> {
    let found = superblock(device)?;
    let size = block::size(&File::open(device)?)?;
    let wanted = size / found.block_size();
    if wanted.saturating_sub(found.blocks()) * found.block_size() < GROWTH_MIN {
        return Ok(());
    }
    let folder = File::open(folder)?;
    let mut blocks = found.blocks();
    while blocks < wanted {
        blocks = wanted.min(blocks + GROWTH_STEP / found.block_size());
        block::grow_ext4(&folder, blocks)?;
        pulse();
    }
    tracing::info!(mebibytes = size >> 20, "the data partition has grown");
    Ok(())
}

/// Some cards take their time: it is done in pieces.
fn discard(file: &File, size: u64, pulse: &mut dyn FnMut()) {
    let mut start = 0;
    while start < size {
        let length = DISCARD_STEP.min(size - start);
        if let Err(error) = block::discard(file, start, length) {
            tracing::info!(%error, "the card does not discard");
            return;
        }
        start += length;
        pulse();
    }
}

/// Overwrites the regular files below `folder`; links are not followed.
fn overwrite_all(folder: &Path, pulse: &mut dyn FnMut()) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        pulse();
        if kind.is_dir() {
            overwrite_all(&path, pulse);
        } else if kind.is_file()
            && let Err(error) = overwrite(&path)
        {
            tracing::warn!(%error, "a file could not be overwritten");
        }
    }
}

fn overwrite(path: &PathBuf) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let length = file.metadata()?.len();
    io::copy(&mut io::repeat(0).take(length), &mut file)?;
    file.sync_all()
}

/// A folder that only its owner may enter; one that was there loses what others may.
fn private(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}
