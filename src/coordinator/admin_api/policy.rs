//! The policy as administration sees it: text that came from a file of the configuration, or that the state holds.
//!
//! As in Headscale, a policy in a file is the file's author's: writing through the interface is refused while there is one.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;
use tracing::info;

use crate::coordinator::core::policy::Policy;
use crate::coordinator::ledger::{Ledger, Refusal};
use crate::coordinator::store::{Store, StoreError};

/// Name of the blob that holds the policy's text.
const BLOB: &str = "policy";

/// The file that holds the policy now. `None`: the state holds it.
pub type PolicyFile = dyn Fn() -> Option<PathBuf> + Send + Sync;

/// A text as policy, or all its problems as sentences.
pub type ParsePolicy = dyn Fn(&str) -> Result<Policy, Vec<String>> + Send + Sync;

/// What the configuration knows of policies; asked anew for each request.
#[derive(Clone)]
pub struct PolicySource {
    pub file: Arc<PolicyFile>,
    pub parse: Arc<ParsePolicy>,
}

/// The policy that `policy set` left in the state. It is in force when the configuration has no policy file.
pub fn stored_policy(store: &Store) -> Result<Option<String>, StoreError> {
    let bytes = store.blob(BLOB)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

pub(super) struct PolicyDesk {
    ledger: Ledger,
    store: Arc<Store>,
    source: PolicySource,
    /// Held from storing a policy to putting it in force, so that the two agree after simultaneous writes.
    writing: Mutex<()>,
}

impl PolicyDesk {
    pub fn new(ledger: Ledger, store: Arc<Store>, source: PolicySource) -> Self {
        Self { ledger, store, source, writing: Mutex::new(()) }
    }

    pub async fn text(&self) -> Result<String, Refusal> {
        if let Some(file) = (self.source.file)() {
            let read = tokio::fs::read_to_string(&file).await;
            return read.map_err(|error| broken(format!("{}: {error}", file.display())));
        }
        let stored = stored_policy(&self.store).map_err(|error| broken(error.to_string()))?;
        stored.ok_or_else(|| {
            Refusal::not_found("no policy has been set, so every node may reach every other; set one with `genkan policy set -f FILE`")
        })
    }

    pub fn check(&self, text: &str) -> Result<Policy, Refusal> {
        (self.source.parse)(text).map_err(|problems| Refusal::bad_request(problems.join("\n")))
    }

    pub async fn replace(&self, text: &str) -> Result<(), Refusal> {
        if let Some(file) = (self.source.file)() {
            return Err(Refusal::conflict(format!(
                "the policy is in the file {}; edit it and reload genkan (SIGHUP), or remove it to keep the policy here",
                file.display()
            )));
        }
        let policy = self.check(text)?;
        let _writing = self.writing.lock().await;
        let (store, bytes) = (self.store.clone(), text.as_bytes().to_vec());
        tokio::task::spawn_blocking(move || store.put_blob(BLOB, &bytes))
            .await
            .map_err(|error| broken(error.to_string()))?
            .map_err(|error| broken(error.to_string()))?;
        self.ledger.set_policy(policy);
        info!("policy replaced");
        Ok(())
    }
}

fn broken(text: String) -> Refusal {
    Refusal { status: 500, text }
}
