//! Which policy is in force: the file of the configuration, else what `genkan policy set` stored, else everything is allowed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::AppError;
use crate::config;
use crate::config::model::Model;
use crate::coordinator::admin_api::{PolicySource, stored_policy};
use crate::coordinator::core::policy::Policy;
use crate::coordinator::store::Store;

/// Name under which a stored policy appears in problems.
const STORED: &str = "stored policy";

/// The policy to run with.
pub fn in_force(model: &Model, folder: &Path, store: &Store) -> Result<Policy, AppError> {
    if file(folder).is_some() {
        return Ok(model.policy.clone());
    }
    let stored = stored_policy(store).map_err(|error| AppError::environment("the stored policy", error))?;
    let Some(text) = stored else { return Ok(model.policy.clone()) };
    parse(&text).map_err(|problems| AppError::environment("the stored policy", problems.join("\n")))
}

/// What the admin interface knows of policies.
pub fn source(folder: &Path) -> PolicySource {
    let folder = folder.to_owned();
    PolicySource { file: Arc::new(move || file(&folder)), parse: Arc::new(parse) }
}

fn file(folder: &Path) -> Option<PathBuf> {
    config::POLICY_FILES.iter().map(|name| folder.join(name)).find(|path| path.exists())
}

fn parse(text: &str) -> Result<Policy, Vec<String>> {
    config::policy::parse(STORED, text).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}
