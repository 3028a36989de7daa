//! Takes an update of the box into the state directory, and tells PID 1 of it. Nothing of it is looked at here: who verifies
//! it, and writes it, has no network.

use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::fs::{self, File};
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::sync::{Mutex, mpsc, watch};

use super::answer::BodyError;
use crate::coordinator::ledger::Refusal;
use crate::wire::admin::{UPDATE_MAX, UpdateProgress};

/// Where an update waits, below the state directory.
const FOLDER: &str = "incoming";
const FILE: &str = "incoming/update.gku";
const DRAFT: &str = "incoming/update.part";

/// For the next bytes of an upload to come.
const STALL: Duration = Duration::from_secs(30);

/// For the next bytes of a refused upload to come.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes collected for one write to the card.
const BUFFER: usize = 256 * 1024;

const UNSUPERVISED: &str = "this genkan is not the card's; update the binary by hand";

/// The way to PID 1.
#[derive(Debug, Clone)]
pub struct UpdateSeam {
    /// Takes the file's name below the state directory.
    pub requests: mpsc::Sender<String>,
    /// What PID 1 says of it is sent in here, and read by everybody.
    pub progress: watch::Sender<UpdateProgress>,
}

/// Clones are the same desk.
#[derive(Clone)]
pub struct UpdateDesk(Option<Arc<Desk>>);

struct Desk {
    state: PathBuf,
    seam: UpdateSeam,
    /// Held from the first byte of an upload until PID 1 knows of it.
    uploading: Mutex<()>,
}

impl UpdateDesk {
    /// Puts updates into the directory `state`; without a `seam` it takes none.
    #[must_use]
    pub fn new(state: &Path, seam: Option<UpdateSeam>) -> Self {
        let desk = |seam| Arc::new(Desk { state: state.to_owned(), seam, uploading: Mutex::default() });
        Self(seam.map(desk))
    }

    /// How far the last update is.
    pub fn progress(&self) -> Result<UpdateProgress, Refusal> {
        Ok(self.desk()?.seam.progress.borrow().clone())
    }

    /// Keeps the body as the next update.
    ///
    /// # Errors
    /// 409 where updates are not taken, or one is under way; 413 for one that is too long; 507 when it cannot be kept.
    pub async fn take<B: Body<Error: Into<BodyError>>>(&self, body: B) -> Result<UpdateProgress, Refusal> {
        let mut body = pin!(body);
        let taken = self.take_from(body.as_mut()).await;
        if taken.is_err() {
            // To close on somebody who still sends would reset the connection, and the reason with it.
            skip(body).await;
        }
        taken
    }

    async fn take_from<B: Body<Error: Into<BodyError>>>(
        &self,
        body: Pin<&mut B>,
    ) -> Result<UpdateProgress, Refusal> {
        let desk = self.desk()?;
        let under_way = || Refusal::conflict("another update is under way; wait for its end");
        let _uploading = desk.uploading.try_lock().map_err(|_| under_way())?;
        if desk.seam.progress.borrow().is_under_way() {
            return Err(under_way());
        }
        if body.size_hint().lower() > UPDATE_MAX {
            return Err(too_long());
        }
        let kept = desk.keep(body).await;
        if kept.is_err() {
            // What is left of it is overwritten by the next one.
            let _ = fs::remove_file(desk.state.join(DRAFT)).await;
        }
        kept?;
        desk.hand_over().await
    }

    fn desk(&self) -> Result<&Desk, Refusal> {
        self.0.as_deref().ok_or_else(|| Refusal::conflict(UNSUPERVISED))
    }
}

impl Desk {
    /// The whole file, or none of it, survives a power cut.
    async fn keep<B: Body<Error: Into<BodyError>>>(&self, body: Pin<&mut B>) -> Result<(), Refusal> {
        let folder = self.state.join(FOLDER);
        fs::create_dir_all(&folder).await.map_err(|error| unkept(&error))?;
        // An earlier one has done its work, and its space may be needed.
        match fs::remove_file(self.state.join(FILE)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unkept(&error)),
            _ => {}
        }
        let draft = self.state.join(DRAFT);
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft).await;
        let mut writer = BufWriter::with_capacity(BUFFER, file.map_err(|error| unkept(&error))?);
        copy(body, &mut writer).await?;
        writer.flush().await.map_err(|error| unkept(&error))?;
        writer.into_inner().sync_all().await.map_err(|error| unkept(&error))?;
        fs::rename(&draft, self.state.join(FILE)).await.map_err(|error| unkept(&error))?;
        File::open(&folder)
            .await
            .map_err(|error| unkept(&error))?
            .sync_all()
            .await
            .map_err(|error| unkept(&error))
    }

    async fn hand_over(&self) -> Result<UpdateProgress, Refusal> {
        let waiting =
            UpdateProgress { text: "taken; waiting to be verified".into(), ..UpdateProgress::default() };
        // Before PID 1 can say anything: its word is the later one.
        self.seam.progress.send_replace(waiting.clone());
        if self.seam.requests.send(FILE.to_owned()).await.is_err() {
            self.seam.progress.send_replace(UpdateProgress::default());
            return Err(Refusal::unavailable("genkan is stopping; try again in a minute"));
        }
        tracing::info!("an update was taken");
        Ok(waiting)
    }
}

async fn copy<B: Body<Error: Into<BodyError>>>(
    mut body: Pin<&mut B>,
    to: &mut BufWriter<File>,
) -> Result<(), Refusal> {
    let mut length = 0_u64;
    loop {
        let frame = tokio::time::timeout(STALL, body.frame()).await;
        let frame = frame.map_err(|_| Refusal { status: 408, text: "the upload stood still".into() })?;
        let Some(frame) = frame else { break };
        let frame =
            frame.map_err(|error| Refusal::bad_request(format!("the upload broke: {}", error.into())))?;
        let Ok(mut data) = frame.into_data() else { continue };
        length += u64::try_from(data.remaining()).unwrap_or(u64::MAX);
        if length > UPDATE_MAX {
            return Err(too_long());
        }
        to.write_all_buf(&mut data).await.map_err(|error| unkept(&error))?;
    }
    if length == 0 { Err(Refusal::bad_request("the upload is empty")) } else { Ok(()) }
}

async fn skip<B: Body>(mut body: Pin<&mut B>) {
    let mut length = 0_u64;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(LINGER, body.frame()).await {
        length += frame.into_data().map_or(0, |data| data.remaining() as u64);
        if length > UPDATE_MAX {
            break;
        }
    }
}

fn too_long() -> Refusal {
    Refusal { status: 413, text: format!("an update has at most {} MiB", UPDATE_MAX >> 20) }
}

fn unkept(error: &std::io::Error) -> Refusal {
    Refusal { status: 507, text: format!("the update cannot be kept on the card: {error}") }
}
