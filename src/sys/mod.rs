//! Raw system calls: the only room with `unsafe`. Each block says why it is sound.

#![allow(
    unsafe_code,
    reason = "io_uring, ioctls, packet sockets and control messages have no safe interface"
)]

pub mod clock;
pub mod packet;
pub mod tun;
pub mod uring;
