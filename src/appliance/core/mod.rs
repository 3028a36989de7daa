//! What the box decides, without doing any of it.

pub mod capabilities;
pub mod fat_file;
pub mod health_watch;
pub mod led;
pub mod reach;
pub mod slot;
pub mod status_text;
pub mod update;
pub mod vitals;
