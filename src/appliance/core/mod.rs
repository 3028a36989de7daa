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
