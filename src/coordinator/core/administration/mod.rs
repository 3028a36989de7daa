//! What an administrator commands: users, pre-auth keys, nodes. A refusal says what to do instead.

mod keys;
mod nodes;
mod users;

use super::change::Mutation;

/// What is answered, and what is to change.
pub type Decision<T> = (T, Vec<Mutation>);
