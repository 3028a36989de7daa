//! `genkan slot-write`: a child of PID 1, root, that turns an update into a slot.
//!
//! ```text
//! file ─ verify: envelope, judge, every hash ─▶ file again ─ zstd ─▶ slot (direct, 1 MiB a step) ─ sync ─▶ slot read again, hash
//! ```
//!
//! Nothing is written before the whole file is found good. The file lies where the worker may change it, so the second reading trusts
//! only the manifest of the first: what the slot holds is compared with the signed hash of the unpacked image, from the card
//! itself. This child never touches the switch; PID 1 does, after [`Progress::Written`].

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ring::digest::{Context, SHA256};

use super::block_device::{BlockDevice, Buffer};
use super::core::fat_file::SECTOR;
use super::core::slot::Slot;
use super::core::update::{Build, Refusal, SlotImage, judge};
use crate::wire::update::{
    Contents, Digest, Envelope, FILE_MAX, FormatError, KeyError, Manifest, Phase, Progress, PublicKeys,
};

/// Bytes between the file and the card in one step.
const STEP: usize = 1 << 20;

/// Largest window an image may ask of the decoder, as a power of two: 8 MiB of memory.
const WINDOW_LOG_MAX: u32 = 23;

/// What PID 1 orders.
#[derive(Debug, Clone, clap::Args)]
pub struct Order {
    /// The update.
    #[arg(long)]
    pub file: PathBuf,
    /// The slot that does not run.
    #[arg(long)]
    pub slot: Slot,
    /// Its partition.
    #[arg(long)]
    pub device: PathBuf,
    /// This box's board, as manifests call it.
    #[arg(long)]
    pub board: String,
    /// Public keys whose updates are taken.
    #[arg(long, default_value = "/etc/genkan/release.pub")]
    pub keys: PathBuf,
    /// What runs now.
    #[arg(long, default_value = "/etc/genkan/build.json")]
    pub build: PathBuf,
}

/// Why the slot does not hold the update.
#[derive(Debug, thiserror::Error)]
pub enum SlotWriteError {
    #[error("{path} cannot be read: {cause}")]
    Read { path: PathBuf, cause: io::Error },
    #[error("{0} is not a file of at most {FILE_MAX} bytes")]
    NotAFile(PathBuf),
    #[error("{path} is damaged: {cause}")]
    Build { path: PathBuf, cause: serde_json::Error },
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("slot {slot} cannot be opened: {cause}")]
    Open { slot: Slot, cause: io::Error },
    #[error("the update's image does not unpack to what was signed: {0}; fetch it again")]
    Unpack(String),
    #[error("slot {slot} cannot be written: {cause}; the card may be worn out")]
    Write { slot: Slot, cause: io::Error },
    #[error("slot {0} was written and reads otherwise: the card is worn out, replace it")]
    Differs(Slot),
}

/// Carries the order out and says how far it is on standard output, one [`Progress`] a line. Exit codes: 0 written, 1 not.
pub fn run(order: &Order) -> ExitCode {
    let mut out = io::stdout().lock();
    // PID 1 has gone or does not listen: the slot is finished all the same.
    let mut say =
        |progress: Progress| drop(out.write_all(progress.encode().as_bytes()).and_then(|()| out.flush()));
    match write(order, &mut say) {
        Ok(manifest) => {
            say(Progress::Written { version: manifest.version.to_string(), build: manifest.build });
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(Progress::Failed { text: error.to_string() });
            ExitCode::FAILURE
        }
    }
}

/// Verifies, writes, compares.
pub fn write(order: &Order, say: &mut dyn FnMut(Progress)) -> Result<Manifest, SlotWriteError> {
    let (keys, build) = (read_keys(&order.keys)?, read_build(&order.build)?);
    let mut file = open_update(&order.file)?;
    let device = BlockDevice::open_alone(&order.device)
        .map_err(|cause| SlotWriteError::Open { slot: order.slot, cause })?;
    let envelope = Envelope::read(&mut file)?;
    let (manifest, _) = envelope.open(&keys)?;
    let image = judge(&manifest, &build, &order.board, device.size())?;
    verify(&mut file, &manifest, say)?;
    file.seek(SeekFrom::Start(envelope.length() + image.before)).map_err(FormatError::Io)?;
    let slot = SlotDevice { device, slot: order.slot, image };
    slot.fill(file, say)?;
    slot.compare(say)?;
    Ok(manifest)
}

fn verify(file: &mut File, manifest: &Manifest, say: &mut dyn FnMut(Progress)) -> Result<(), SlotWriteError> {
    let mut meter = Meter::new(Phase::Verify, manifest.size(), say);
    let mut contents = Contents::new(manifest);
    let mut buffer = vec![0; STEP];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(contents.finish()?),
            Ok(count) => {
                contents.push(&buffer[..count])?;
                meter.add(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(FormatError::Io(error).into()),
        }
    }
}

/// The slot and what it shall hold.
struct SlotDevice<'m> {
    device: BlockDevice,
    slot: Slot,
    image: SlotImage<'m>,
}

impl SlotDevice<'_> {
    fn fill(&self, file: File, say: &mut dyn FnMut(Progress)) -> Result<(), SlotWriteError> {
        let size = self.image.unpacked.size;
        let mut unpacked = unpack(file, self.image.file.packed.size)?;
        let mut meter = Meter::new(Phase::Write, size, say);
        let (mut buffer, mut hash) = (Buffer::new(STEP), Context::new(&SHA256));
        let mut at = 0;
        while at < size {
            let bytes = &mut buffer.bytes()[..step(size - at)];
            unpacked.read_exact(bytes).map_err(|error| SlotWriteError::Unpack(error.to_string()))?;
            hash.update(bytes);
            let count = bytes.len();
            let padded = &mut buffer.bytes()[..count.next_multiple_of(SECTOR)];
            padded[count..].fill(0);
            self.device.write_at(at, padded).map_err(|cause| self.broken(cause))?;
            meter.add(count);
            at += count as u64;
        }
        self.device.sync().map_err(|cause| self.broken(cause))?;
        match unpacked.read(&mut [0]) {
            Ok(0) if Digest::of(hash) == self.image.unpacked.sha256 => Ok(()),
            Ok(0) => Err(SlotWriteError::Unpack("its SHA-256 is another".into())),
            Ok(_) => Err(SlotWriteError::Unpack("it is longer".into())),
            Err(error) => Err(SlotWriteError::Unpack(error.to_string())),
        }
    }

    /// From the card: the writes went past the page cache, and so does this.
    fn compare(&self, say: &mut dyn FnMut(Progress)) -> Result<(), SlotWriteError> {
        let size = self.image.unpacked.size;
        let mut meter = Meter::new(Phase::Compare, size, say);
        let (mut buffer, mut hash) = (Buffer::new(STEP), Context::new(&SHA256));
        let mut at = 0;
        while at < size {
            let count = step(size - at);
            let padded = &mut buffer.bytes()[..count.next_multiple_of(SECTOR)];
            self.device.read_at(at, padded).map_err(|cause| self.broken(cause))?;
            hash.update(&padded[..count]);
            meter.add(count);
            at += count as u64;
        }
        let same = Digest::of(hash) == self.image.unpacked.sha256;
        if same { Ok(()) } else { Err(SlotWriteError::Differs(self.slot)) }
    }

    fn broken(&self, cause: io::Error) -> SlotWriteError {
        SlotWriteError::Write { slot: self.slot, cause }
    }
}

/// At most a step.
fn step(left: u64) -> usize {
    usize::try_from(left).unwrap_or(STEP).min(STEP)
}

fn unpack(file: File, packed: u64) -> Result<impl Read, SlotWriteError> {
    let refused = |error: io::Error| SlotWriteError::Unpack(error.to_string());
    let mut decoder = zstd::stream::read::Decoder::new(file.take(packed)).map_err(refused)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(refused)?;
    Ok(decoder)
}

/// A plain file: the folder it lies in belongs to the worker, which might put anything there.
fn open_update(path: &Path) -> Result<File, SlotWriteError> {
    let unread = |cause| SlotWriteError::Read { path: path.to_owned(), cause };
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unread)?;
    let metadata = file.metadata().map_err(unread)?;
    let fine = metadata.is_file() && metadata.len() <= FILE_MAX;
    if fine { Ok(file) } else { Err(SlotWriteError::NotAFile(path.to_owned())) }
}

fn read_keys(path: &Path) -> Result<PublicKeys, SlotWriteError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|cause| SlotWriteError::Read { path: path.to_owned(), cause })?;
    Ok(PublicKeys::parse(&text)?)
}

fn read_build(path: &Path) -> Result<Build, SlotWriteError> {
    let bytes = std::fs::read(path).map_err(|cause| SlotWriteError::Read { path: path.to_owned(), cause })?;
    serde_json::from_slice(&bytes).map_err(|cause| SlotWriteError::Build { path: path.to_owned(), cause })
}

/// Says each whole percent once.
struct Meter<'s> {
    phase: Phase,
    done: u64,
    total: u64,
    said: Option<u8>,
    say: &'s mut dyn FnMut(Progress),
}

impl<'s> Meter<'s> {
    fn new(phase: Phase, total: u64, say: &'s mut dyn FnMut(Progress)) -> Self {
        let mut meter = Self { phase, done: 0, total, said: None, say };
        meter.add(0);
        meter
    }

    fn add(&mut self, bytes: usize) {
        self.done += bytes as u64;
        let percent = u8::try_from((self.done * 100 / self.total.max(1)).min(100)).expect("at most 100");
        if self.said != Some(percent) {
            self.said = Some(percent);
            (self.say)(Progress::Step { phase: self.phase, percent });
        }
    }
}
