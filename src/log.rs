//! One structured log for all rooms, as text or JSON lines on standard error; while it runs nothing else is written there, a panic's
//! message included.
//!
//! Levels: TRACE per packet, DEBUG per decision (addresses and names of people belong here), INFO a change a person sees,
//! WARN an oddity worth a look, ERROR something is broken. `GENKAN_LOG` overrides the configured level, in the directive
//! syntax of `tracing-subscriber` (for example `info,genkan::tunnel=debug`).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::model::{Log, LogFormat};

/// boringtun reports sessions that expire in idleness as errors; the tunnel's own log says what matters of them.
const NOISE: &str = "boringtun=off";

/// Starts logging for the whole process. A second call changes nothing.
pub fn start(settings: &Log) {
    let wanted = std::env::var("GENKAN_LOG").unwrap_or_else(|_| settings.level.to_string());
    let filter = EnvFilter::try_new(format!("{NOISE},{wanted}")).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match settings.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    if started.is_err() {
        return tracing::debug!("logging was started before");
    }
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
}
