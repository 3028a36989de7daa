//! Small pieces without protocol nouns: randomness, wall-clock time, rates, back-off, ceilings, loops that turn, sources, secrets,
//! conditions, numbered slots, shared maps.
//! Pure: no sockets, clocks, files or async.

pub mod backoff;
pub mod ceilings;
pub mod condition;
pub mod condition_board;
pub mod datagram_path;
pub mod house;
pub mod moderation;
pub mod paged_map;
pub mod rate;
pub mod rng;
pub mod roll_call;
pub mod secret;
pub mod slots;
pub mod source;
pub mod wall_time;
