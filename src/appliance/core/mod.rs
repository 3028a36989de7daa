//! What the box decides, without doing any of it.

pub mod boot_plan;
pub mod card;
pub mod crash;
pub mod lines;
pub mod log_line;
pub mod log_ring;
pub mod notices;
pub mod options;
pub mod owner_file;
pub mod retention;
pub mod space;
pub mod superblock;
pub mod supervision;
pub mod watchdog;
