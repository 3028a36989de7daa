//! What the house does for the card when PID 1 stands behind it: hands updates over, tells what is up, keeps `JOIN.txt` true, makes an API
//! key when asked, and shows what PID 1 says.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::App;
use super::house::House;
use super::supervised::Supervision;
use crate::coordinator::admin_api::UpdateSeam;
use crate::web::status::{Level, Source, Status};
use crate::wire::admin::UpdateProgress;
use crate::wire::supervision::FromWorker;

/// Updates that wait to be handed over: the desk takes one at a time.
const UPDATES: usize = 1;

/// How often to look whether machines or listeners came or went.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

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
        tokio::join!(
            show_box(&app.house, supervision.clone()),
            show_updates(&app.house, supervision.clone()),
            tell_what_is_up(&app.house, &supervision),
            keep_join_sheet(app, &supervision),
            make_api_keys(app, &supervision),
        );
    }
    std::future::pending::<()>().await;
}

async fn show_box(house: &House, mut supervision: Supervision) {
    while supervision.status.changed().await.is_ok() {
        if let Some(machine) = supervision.status.borrow_and_update().clone() {
            house.set_machine(machine);
        }
    }
}

async fn show_updates(house: &House, mut supervision: Supervision) {
    while supervision.update.changed().await.is_ok() {
        if let Some(UpdateProgress { text, done, failed }) = supervision.update.borrow_and_update().clone() {
            house.set_update(text, done, failed);
        }
    }
}

async fn tell_what_is_up(house: &House, supervision: &Supervision) {
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    let mut told = None;
    loop {
        ticks.tick().await;
        let up = what_is_up(&house.status());
        if told.as_ref() != Some(&up) && supervision.tell(up.clone()) {
            told = Some(up);
        }
    }
}

/// Names that stay the same over restarts.
fn what_is_up(status: &Status) -> FromWorker {
    let nodes = status.nodes.iter().filter(|node| node.online).map(|node| node.name.clone());
    let open = status.listeners.iter().filter(|listener| listener.state.level != Level::Bad);
    let ports = open.flat_map(|listener| listener.port.split(", ").map(str::to_owned));
    FromWorker::Up { nodes: nodes.collect(), listeners: ports.collect() }
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
