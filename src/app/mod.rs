//! From a configuration to a running house, and back: load, build, run, reload, drain. The only module that knows all rooms.

mod build;
mod clock;
pub mod house;
mod join;
mod lan;
pub mod monitor;
mod policy;
mod reload;
mod resident;
mod services;
mod standing;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config;
use crate::config::model::Model;
use crate::log;

pub use build::App;

/// For what still runs on threads when the house is closed, for example a resolver that waits for its time-out.
const LAST_WORK: Duration = Duration::from_secs(1);

/// Why the house could not be raised. The text names the cause and what to do.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("the configuration in {0} has problems; run `genkan check --config {0}` for all of them")]
    Config(PathBuf),
    #[error("{what}: {cause}")]
    Environment { what: String, cause: Box<dyn std::error::Error + Send + Sync> },
}

impl AppError {
    fn environment(
        what: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Environment { what: what.into(), cause: cause.into() }
    }
}

/// Runs coordinator, tunnel and edge until SIGTERM or SIGINT. Exit codes: 0 stopped on request, 1 could not run.
pub fn serve(config: &Path, state: &Path) -> ExitCode {
    match load(config).and_then(|model| run(model, config, state)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("genkan: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the configuration; its problems go to standard error, one paragraph each.
fn load(folder: &Path) -> Result<Model, AppError> {
    let loaded = config::load(folder);
    for problem in &loaded.problems {
        eprintln!("{problem}");
    }
    loaded.model.ok_or_else(|| AppError::Config(folder.to_owned()))
}

fn run(model: Model, config: &Path, state: &Path) -> Result<(), AppError> {
    log::start(&model.log);
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| AppError::environment("no threads", error))?;
    let result = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let app = App::build(model, config, state).await?;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
        while signals.next().await == Request::Reload {
            reload::reload(&app, config).await;
        }
        tracing::info!("stopping");
        app.drain().await;
        Ok(())
    });
    runtime.shutdown_timeout(LAST_WORK);
    result
}

#[derive(PartialEq)]
enum Request {
    Reload,
    Stop,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, AppError> {
        let listen =
            |kind| signal(kind).map_err(|error| AppError::environment("signals cannot be received", error));
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.hangup.recv() => Request::Reload,
            _ = self.terminate.recv() => Request::Stop,
            _ = self.interrupt.recv() => Request::Stop,
        }
    }
}
