//! What the box decides, without doing any of it.

pub mod calls;
pub mod capabilities;
pub mod reach;
