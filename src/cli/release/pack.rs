//! `genkan release pack`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use ring::digest::{Context, SHA256};
use semver::Version;

use super::{file_error, wrong};
use crate::base::secret::Secret;
use crate::base::wall_time::UnixTime;
use crate::cli::error::CliError;
use crate::cli::report::Report;
use crate::wire::update::{
    Digest, Envelope, Extent, FileEntry, MANIFEST_FORMAT, Manifest, SLOT_IMAGE, SigningKey,
};

/// The strongest that still unpacks within 8 MiB of memory.
const LEVEL: i32 = 19;
const WINDOW_LOG: u32 = 23;

const SECTOR: u64 = 512;

#[derive(Debug, Args)]
pub struct Pack {
    /// Private key (PEM); repeat it while keys are exchanged.
    #[arg(long, required = true, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Version of the system in the image, as 1.2.3.
    #[arg(long)]
    version: Version,
    /// Its build number, as `build` (or `built`) in its /etc/genkan/build.json; a box never goes to a lower one.
    #[arg(long)]
    build: u64,
    /// Oldest version that can go to this one directly.
    #[arg(long, value_name = "VERSION")]
    min_from: Option<Version>,
    /// A board it is made for; repeat it.
    #[arg(long, required = true)]
    board: Vec<String>,
    /// The FAT file system that becomes the slot, not compressed.
    #[arg(long, value_name = "FILE")]
    slot_image: PathBuf,
    /// Time of the release, in seconds since 1970; `SOURCE_DATE_EPOCH`, else now.
    #[arg(long, value_name = "SECONDS")]
    created: Option<i64>,
    /// The update to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Pack {
    pub fn run(self) -> Result<Report, CliError> {
        let keys = self.keys()?;
        let (slot, packed) = self.compress()?;
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            version: self.version.clone(),
            build: self.build,
            min_from: self.min_from.clone(),
            boards: self.board.clone(),
            created: UnixTime(self.created.unwrap_or_else(release_time)),
            files: vec![slot],
        };
        let envelope =
            Envelope::sign(&manifest, &keys).map_err(|error| CliError::Usage(error.to_string()))?;
        self.save(&envelope, &packed)?;
        let sentence =
            format!("{} is written: {} bytes.", self.out.display(), envelope.length() + manifest.size());
        Ok(Report::text(&manifest, sentence))
    }

    fn keys(&self) -> Result<Vec<SigningKey>, CliError> {
        let read = |path: &PathBuf| {
            let pem = Secret::new(fs::read(path).map_err(file_error(path))?);
            SigningKey::from_pem(&pem).map_err(|error| wrong(path, error))
        };
        self.key.iter().map(read).collect()
    }

    /// The image's entry, and its bytes compressed; the same image gives the same bytes.
    fn compress(&self) -> Result<(FileEntry, Vec<u8>), CliError> {
        let broken = file_error(&self.slot_image);
        let file = File::open(&self.slot_image).map_err(&broken)?;
        let size = file.metadata().map_err(&broken)?.len();
        if size == 0 || size % SECTOR != 0 {
            return Err(wrong(
                &self.slot_image,
                "not a file system's image: its length is not a multiple of 512",
            ));
        }
        let mut image = Hashed { inner: file, hash: Context::new(&SHA256), length: 0 };
        let packed = compressed(&mut image, size).map_err(&broken)?;
        let unpacked = Extent { size: image.length, sha256: Digest::of(image.hash) };
        let mut hash = Context::new(&SHA256);
        hash.update(&packed);
        let entry = FileEntry {
            name: SLOT_IMAGE.into(),
            packed: Extent { size: packed.len() as u64, sha256: Digest::of(hash) },
            unpacked: Some(unpacked),
        };
        Ok((entry, packed))
    }

    /// Whole or not at all.
    fn save(&self, envelope: &Envelope, packed: &[u8]) -> Result<(), CliError> {
        let mut partial = self.out.clone().into_os_string();
        partial.push(".new");
        let partial = PathBuf::from(partial);
        let written = File::create(&partial).and_then(|mut file| {
            file.write_all(&envelope.encode())?;
            file.write_all(packed)?;
            file.sync_all()?;
            fs::rename(&partial, &self.out)
        });
        written.map_err(file_error(&self.out))
    }
}

fn compressed(image: &mut impl Read, size: u64) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(size))?;
    io::copy(image, &mut encoder)?;
    encoder.finish()
}

/// Hashes what passes by.
struct Hashed<R> {
    inner: R,
    hash: Context,
    length: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.length += count as u64;
        Ok(count)
    }
}

/// `SOURCE_DATE_EPOCH`, as reproducible builds set it, else now.
fn release_time() -> i64 {
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|epoch| epoch.parse().ok());
    epoch.unwrap_or_else(now)
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(now).unwrap_or(i64::MAX)
}
