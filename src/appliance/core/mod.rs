//! What the box decides, without doing any of it.
pub mod lease;
