//! Small pieces without protocol nouns: randomness, wall-clock time, rates, back-off, sources, secrets, numbered slots, shared maps.
//! Pure: no sockets, clocks, files or async.

pub mod backoff;
pub mod condition;
pub mod paged_map;
pub mod rate;
pub mod rng;
pub mod secret;
pub mod slots;
pub mod source;
pub mod wall_time;
