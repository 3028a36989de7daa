//! Configuration: three files to one model, and every problem in them at once.
//!
//! Bytes -> `document` (a tree that knows its places) -> `schema`, `caddy` and `policy` (each reads one file strictly) ->
//! `load` (joins them to a `Model`) -> `check` (where the three disagree, and what follows from them).

mod address;
pub mod caddy;
pub mod check;
mod decode;
pub mod document;
pub mod exposure;
mod load;
pub mod model;
#[cfg(test)]
mod mutations;
mod name;
mod neighbours;
mod network;
pub mod policy;
pub mod problem;
pub mod schema;
pub mod seal;
#[cfg(test)]
mod seed;
mod suggest;
#[cfg(test)]
mod tests;

pub use load::{Loaded, POLICY_FILES, SETTINGS_FILE, load, load_sealed};
pub use seal::{SECRETS, SECRETS_FOLDER, seal};
