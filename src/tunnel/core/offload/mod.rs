//! Segmentation offload of the TUN, done here: super-packets are cut on the way out and joined on the way in, so that the
//! kernel and this process meet once per 64 KiB and not once per packet.
//!
//! One packet of the tunnel's size costs about 1,700 ns to give to the TUN and 600 ns to take from it; in a super-packet
//! 100 and 60.

pub mod coalesce;
pub mod kernel;
pub mod segment;
pub mod transport;
pub mod vnet_header;

#[cfg(test)]
mod tests;
