//! From a configuration to a running house, and back: load, build, run, reload, drain. The only module that knows all rooms.

mod build;
mod clock;
mod confine;
pub mod descriptors;
mod errands;
pub mod house;
mod join;
mod lan;
pub mod monitor;
mod policy;
mod processor;
pub mod pulse;
mod raise;
mod reload;
mod resident;
mod services;
mod sheets;
mod standing;
mod state;
pub mod supervised;
pub mod surroundings;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::appliance::sandbox::Mode;
use crate::config;
use crate::config::model::Model;
use crate::log;
use crate::sys::allocator;

pub use build::App;
pub use sheets::JoinTexts;
use surroundings::Surroundings;

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
pub fn serve(config: &Path, state: &Path, sandbox: Mode) -> ExitCode {
    let loaded = config::load(config);
    log::start(&loaded.log);
    reload::log_problems(&loaded.problems);
    let model = loaded.model.ok_or_else(|| AppError::Config(config.to_owned()));
    match model.and_then(|model| run(model, config, state, sandbox)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(model: Model, config: &Path, state: &Path, sandbox: Mode) -> Result<(), AppError> {
    let pid_1 = supervised::inherited()
        .map_err(|error| AppError::environment("the socket to PID 1 that GENKAN_INIT_FD names", error))?;
    let descriptors = descriptors::raise();
    build::create_private(state)?;
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let tunnel = raise::tunnel(&model)?;
    let sandbox = confine::enter(sandbox, &model, config, state)?;
    let runtime = runtime(threads)?;
    let result = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let around = Surroundings::begin(pid_1, descriptors)
            .map_err(|error| AppError::environment("the socket to PID 1", error))?;
        let app = App::build(model, config, state, &around, tunnel).await?;
        if let Some(sandbox) = sandbox {
            sandbox.seal();
        }
        around.supervision.as_ref().inspect(|supervision| supervision.ready());
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
        let mut errands = Box::pin(errands::run(&app, around.supervision.clone()));
        loop {
            tokio::select! {
                request = signals.next() => match request {
                    Request::Reload => reload::reload(&app, config).await,
                    Request::Stop => break,
                },
                () = &mut errands => {}
            }
        }
        drop(errands);
        tracing::info!("stopping");
        app.drain().await;
        Ok(())
    });
    runtime.shutdown_timeout(LAST_WORK);
    result
}

/// The number of threads was found before the sandbox closed the files that tell it.
fn runtime(threads: usize) -> Result<Runtime, AppError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .on_thread_park(allocator::give_back)
        .enable_all()
        .build();
    runtime.map_err(|error| AppError::environment("no threads", error))
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
