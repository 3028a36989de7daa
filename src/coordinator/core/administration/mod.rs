//! What an administrator commands: users, keys, nodes, the sheet for joining. A refusal says what to do instead.

mod api_keys;
mod join_lines;
mod keys;
mod nodes;
mod users;

use super::change::Mutation;

/// What is answered, and what is to change.
pub type Decision<T> = (T, Vec<Mutation>);
