//! What the house does for the card when PID 1 stands behind it: hands updates over, keeps `JOIN.txt` true, makes an API key when asked.

use tokio::sync::{mpsc, watch};

use super::App;
use super::supervised::Supervision;
use crate::coordinator::admin_api::UpdateSeam;
use crate::wire::admin::UpdateProgress;
use crate::wire::supervision::FromWorker;

/// Updates that wait to be handed over: the desk takes one at a time.
const UPDATES: usize = 1;

/// Joins the desk that takes updates to PID 1, which verifies and writes them. Must be called inside a tokio runtime.
pub fn hand_updates_over(supervision: &Supervision) -> UpdateSeam {
    let (requests, files) = mpsc::channel(UPDATES);
    let progress = watch::Sender::new(UpdateProgress::default());
    tokio::spawn(pass_files(files, supervision.clone(), progress.clone()));
    tokio::spawn(pass_progress(supervision.update.clone(), progress.clone()));
    UpdateSeam { requests, progress }
}

async fn pass_files(
    mut files: mpsc::Receiver<String>,
    supervision: Supervision,
    progress: watch::Sender<UpdateProgress>,
) {
    while let Some(file) = files.recv().await {
        if !supervision.tell(FromWorker::Update { file }) {
            let text = "the update was not handed over: send it again".to_owned();
            progress.send_replace(UpdateProgress { text, done: true, failed: true });
        }
    }
}

async fn pass_progress(
    mut told: watch::Receiver<Option<UpdateProgress>>,
    progress: watch::Sender<UpdateProgress>,
) {
    while told.changed().await.is_ok() {
        if let Some(news) = told.borrow_and_update().clone() {
            progress.send_replace(news);
        }
    }
}

/// Runs as long as the house stands; without PID 1 there is nothing to do.
pub async fn run(app: &App, supervision: Option<Supervision>) {
    if let Some(supervision) = supervision {
        tokio::join!(keep_join_sheet(app, &supervision), make_api_keys(app, &supervision));
    }
    std::future::pending().await
}

async fn keep_join_sheet(app: &App, supervision: &Supervision) {
    let mut texts = app.join_texts();
    while let Some(text) = texts.next().await {
        supervision.tell(FromWorker::JoinSheet(text));
    }
}

async fn make_api_keys(app: &App, supervision: &Supervision) {
    let mut wanted = supervision.api_key_wanted.clone();
    while wanted.wait_for(|wish| *wish).await.is_ok() {
        match app.api_key_text().await {
            Ok(text) => drop(supervision.tell(FromWorker::ApiKeySheet(text))),
            Err(refusal) => tracing::error!(cause = refusal.text, "no API key for the card"),
        }
        if wanted.changed().await.is_err() {
            return;
        }
    }
}
