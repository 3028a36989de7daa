//! Raw system calls: the only room with `unsafe`. Each block says why it is sound.

#![allow(
    unsafe_code,
    reason = "the allocator, io_uring, ioctls, packet sockets, capabilities, inherited descriptors and restarts have no safe interface"
)]

pub mod alarm;
pub mod allocator;
pub mod block;
pub mod capability;
pub mod clock;
pub mod datagram;
pub mod inherited;
pub mod packet;
pub mod packet_thread;
pub mod privileges;
pub mod restart;
pub mod tun;
pub mod uring;
pub mod watchdog;
