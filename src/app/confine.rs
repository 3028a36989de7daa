//! What the worker's sandbox must know of this house.

use std::path::Path;

use super::AppError;
use crate::appliance::sandbox::{self, Mode, Sandbox};
use crate::config::model::Model;

/// Enters the sandbox, unless `mode` leaves it out. To be called before the first thread.
pub fn enter(mode: Mode, model: &Model, config: &Path, state: &Path) -> Result<Option<Sandbox>, AppError> {
    if mode == Mode::Off {
        tracing::warn!("the sandbox is off: genkan keeps the privileges it was started with");
        return Ok(None);
    }
    let named: Vec<_> = model.acme.ca_file.iter().cloned().collect();
    let entered = sandbox::enter(config, state, &named);
    entered.map(Some).map_err(|error| AppError::environment("the sandbox", error))
}
