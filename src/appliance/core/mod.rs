//! What the box decides, without doing any of it.

pub mod fat_file;
pub mod health_watch;
pub mod slot;
pub mod update;
pub mod vitals;
