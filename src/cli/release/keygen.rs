//! `genkan release keygen`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{file_error, wrong};
use crate::base::secret::Secret;
use crate::cli::error::CliError;
use crate::cli::report::Report;
use crate::wire::update::SigningKey;

#[derive(Debug, Args)]
pub struct Keygen {
    /// Where the private key is written (PEM, mode 0600); a file that exists is left alone.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What release.pub calls the key.
    #[arg(long, default_value = "release")]
    name: String,
}

impl Keygen {
    pub fn run(self) -> Result<Report, CliError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| CliError::Usage(error.to_string()))?;
        let pem = SigningKey::pem(&Secret::new(seed));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.out);
        let written = file.and_then(|mut file| file.write_all(pem.expose().as_bytes()));
        written.map_err(file_error(&self.out))?;
        let key = SigningKey::from_pem(&Secret::new(pem.expose().as_bytes().to_vec()));
        let mut public = key.map_err(|error| wrong(&self.out, error))?.public();
        public.name = self.name;
        Ok(Report::text(&json!({ "public": public.line() }), public.line()))
    }
}
