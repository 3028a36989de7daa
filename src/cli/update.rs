//! `genkan update`.

use std::fs::File;
use std::io::Seek;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;

use super::client::Client;
use super::download;
use super::error::CliError;
use super::meter::Meter;
use super::report::Report;
use super::upload::Sent;
use crate::wire::admin::UpdateProgress;
use crate::wire::update::{Envelope, Manifest};

/// Writing, restarting and proving health take a few minutes; the box itself gives a version ten to prove it.
const WAIT: Duration = Duration::from_mins(30);

const ASK_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub struct Update {
    /// A signed update (genkan-VERSION.gku), or an http or https URL of one.
    #[arg(value_name = "FILE|URL")]
    source: String,
    /// Stay until the new version is confirmed or taken back.
    #[arg(long)]
    wait: bool,
}

pub async fn run(client: &Client, update: Update) -> Result<Report, CliError> {
    let mut file = update.open().await?;
    let manifest = look(&mut file, &update.source)?;
    eprintln!("genkan {} (build {}) for {}", manifest.version, manifest.build, manifest.boards.join(", "));
    // Before minutes of uploading what nobody takes.
    if client.read::<UpdateProgress>("/update").await?.is_under_way() {
        return Err(CliError::Refused("another update is under way; wait for its end".into()));
    }
    // What was fetched has no other name than this.
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let progress: UpdateProgress = client.send_file("/update", &path, sent()).await?;
    if update.wait { follow(client).await } else { Ok(Report::text(&progress, said(&progress))) }
}

impl Update {
    async fn open(&self) -> Result<File, CliError> {
        if self.source.contains("://") {
            return download::fetch(&self.source).await;
        }
        let path = Path::new(&self.source);
        File::open(path).map_err(|cause| CliError::File { path: path.to_owned(), cause })
    }
}

fn sent() -> Sent {
    let meter = Mutex::new(None);
    Box::new(move |done, total| {
        let mut meter = meter.lock().unwrap_or_else(PoisonError::into_inner);
        meter.get_or_insert_with(|| Meter::new("uploading", Some(total))).reach(done);
    })
}

/// What the file says it is. Only the box knows its keys, its board and its version; this saves an upload that is none.
fn look(file: &mut File, source: &str) -> Result<Manifest, CliError> {
    let manifest = Envelope::read(file).and_then(|envelope| envelope.unverified());
    let manifest = manifest.map_err(|error| CliError::Usage(format!("{source}: {error}")))?;
    file.rewind().map_err(|cause| CliError::File { path: PathBuf::from(source), cause })?;
    Ok(manifest)
}

/// The box restarts meanwhile: until the time is up, silence is no answer.
async fn follow(client: &Client) -> Result<Report, CliError> {
    let started = Instant::now();
    let mut shown = String::new();
    while started.elapsed() < WAIT {
        tokio::time::sleep(ASK_EVERY).await;
        let update: UpdateProgress = match client.read("/update").await {
            Ok(update) => update,
            Err(error @ CliError::Refused(_)) => return Err(error),
            Err(_) => continue,
        };
        match (update.done, update.failed) {
            (true, false) => return Ok(Report::text(&update, said(&update))),
            (true, true) => return Err(CliError::Refused(update.text)),
            (false, _) if update.text != shown => {
                eprintln!("{}", update.text);
                shown = update.text;
            }
            (false, _) => {}
        }
    }
    Err(CliError::Slow(WAIT.as_secs()))
}

fn said(update: &UpdateProgress) -> String {
    match update.text.as_str() {
        "" => "The box has the update.".into(),
        text => text.to_owned(),
    }
}
