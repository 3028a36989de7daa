//! The worker's own sandbox.
//!
//! [`enter`] comes before the first thread, because the kernel keeps capabilities and Landlock per thread and hands them on to new ones only;
//! so it comes before any room listens. The tunnel, which needs more, is opened before. What else only the start needs, [`Sandbox::seal`] takes
//! away from all threads once every room is raised: no ring and no filter is made after it.

pub mod calls;
mod files;
mod privileges;
mod system_calls;

use std::path::{Path, PathBuf};

use super::core::reach::{self, Places};

pub use privileges::Unreachable;

/// Whether `genkan serve` shuts itself in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// With whatever of it the kernel has.
    #[default]
    On,
    /// With the privileges it was started with.
    Off,
}

/// A sandbox that was entered.
#[derive(Debug)]
pub struct Sandbox {
    /// What the kernel keeps of it; empty when all.
    missing: Vec<String>,
}

/// Gives up privileges and shuts the calling thread, and all that it starts from now on, in: capabilities, files, system calls.
/// `named` are files outside of `config` that the configuration reads. A kernel without a part is named in one warning, and the rest holds.
///
/// # Errors
/// [`Unreachable`]: without the privileges of root over files, `config` or `state` cannot be used.
pub fn enter(config: &Path, state: &Path, named: &[PathBuf]) -> Result<Sandbox, Unreachable> {
    let mut missing = Vec::new();
    let mut note = |what: &str, result: Result<String, String>| match result {
        Ok(enforced) => Some(enforced),
        Err(reason) => {
            missing.push(format!("{what}: {reason}"));
            None
        }
    };
    let capabilities = note("capabilities", privileges::drop_all_but_kept());
    privileges::check_access(config, state)?;
    let links = files::links_in(config);
    let named: Vec<PathBuf> = named.iter().cloned().chain(links).collect();
    let resolver = files::resolver();
    let reach = reach::of_worker(Places { config, state, named: &named, resolver: resolver.as_deref() });
    let landlock = note("Landlock", files::restrict(&reach));
    let seccomp = note("seccomp", system_calls::restrict());
    let sandbox = Sandbox { missing };
    let text = |part: Option<String>| part.unwrap_or_else(|| "none".into());
    tracing::info!(
        capabilities = text(capabilities),
        landlock = text(landlock),
        seccomp = text(seccomp),
        "the sandbox is entered"
    );
    sandbox.warn();
    Ok(sandbox)
}

impl Sandbox {
    /// Takes from all threads what only the start needed.
    pub fn seal(mut self) {
        if let Err(reason) = system_calls::seal() {
            self.missing.push(format!("seccomp: {reason}"));
            return self.warn();
        }
        tracing::debug!("the sandbox is sealed");
    }

    fn warn(&self) {
        if !self.missing.is_empty() {
            let missing = self.missing.join("; ");
            tracing::warn!(missing, "the kernel lacks a part of the sandbox: genkan runs without it");
        }
    }
}
