//! `genkan release inspect`.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{file_error, wrong};
use crate::cli::error::CliError;
use crate::cli::report::Report;
use crate::wire::update::{Contents, Envelope, FormatError, Manifest, PublicKeys};

/// Bytes in one reading.
const PIECE: usize = 256 * 1024;

#[derive(Debug, Args)]
pub struct Inspect {
    /// The update.
    file: PathBuf,
    /// Public keys, one a line; without them no signature is checked, and the answer says so.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
}

/// What programs read.
#[derive(Serialize)]
struct Findings<'m> {
    signed_by: Option<String>,
    signers: Vec<String>,
    manifest: &'m Manifest,
}

impl Inspect {
    pub fn run(self) -> Result<Report, CliError> {
        let mut file = File::open(&self.file).map_err(file_error(&self.file))?;
        let envelope = Envelope::read(&mut file).map_err(|error| wrong(&self.file, error))?;
        let (manifest, signer) = self.open(&envelope)?;
        check(&mut file, &manifest).map_err(|error| wrong(&self.file, error))?;
        let signed = match &signer {
            Some(name) => format!("signed by the key \"{name}\""),
            None => format!("signature NOT checked; said to be by {}", envelope.signers().join(", ")),
        };
        let text = format!("{signed}\n{:#}", json!(manifest));
        let findings = Findings { signed_by: signer, signers: envelope.signers(), manifest: &manifest };
        Ok(Report::text(&findings, text))
    }

    fn open(&self, envelope: &Envelope) -> Result<(Manifest, Option<String>), CliError> {
        let Some(path) = &self.keys else {
            return Ok((envelope.unverified().map_err(|error| wrong(&self.file, error))?, None));
        };
        let text = fs::read_to_string(path).map_err(file_error(path))?;
        let keys = PublicKeys::parse(&text).map_err(|error| wrong(path, error))?;
        let (manifest, key) = envelope.open(&keys).map_err(|error| wrong(&self.file, error))?;
        let name = if key.name.is_empty() { hex::encode(key.id()) } else { key.name.clone() };
        Ok((manifest, Some(name)))
    }
}

fn check(file: &mut File, manifest: &Manifest) -> Result<(), FormatError> {
    let mut contents = Contents::new(manifest);
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece).map_err(FormatError::Io)? {
            0 => return contents.finish(),
            count => contents.push(&piece[..count])?,
        }
    }
}
