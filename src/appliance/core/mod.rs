//! What the box decides, without doing any of it.

pub mod lease;
pub mod network_plan;
pub mod settings;
pub mod time_poll;
pub mod time_sync;
