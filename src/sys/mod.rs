//! Raw system calls: the only room with `unsafe`. Each block says why it is sound.

#![allow(unsafe_code, reason = "io_uring, TUN ioctls, control messages and restarts have no safe interface")]

pub mod restart;
pub mod tun;
pub mod uring;
