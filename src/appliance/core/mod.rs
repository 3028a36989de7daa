//! What the box decides, without doing any of it.

pub mod led;
pub mod status_text;
