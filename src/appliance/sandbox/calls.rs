//! The system calls of the worker: which, and with what arguments. Anything else ends the process.
//!
//! Found by running the lab's load under `strace`, built for glibc and for musl, then completed by what happens seldom: a clock that the kernel
//! serves only by a call, a resolver's second try, the last words of a panic. Where Linux has an older and a newer call for one thing, x86-64
//! knows both and the newer architectures only one: [`LEGACY`] has the older.

use libc::{c_int, c_long};

/// A condition on one argument (numbered from 0). The low 32 bits are compared: the kernel reads no more of those named here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The argument is this.
    Is(u8, u32),
    /// The argument is not this.
    Not(u8, u32),
    /// The argument is less than this.
    Below(u8, u32),
    /// Of the bits in the first number the argument has exactly those in the second.
    Bits(u8, u32, u32),
    /// The argument is the number of this process.
    OwnProcess(u8),
}

/// A system call, and the ways in which it is meant. No way stands for any; else all checks of one of them must hold.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub name: &'static str,
    pub number: c_long,
    pub ways: &'static [&'static [Check]],
}

macro_rules! calls {
    ($($name:ident),* $(,)?) => {
        &[$(calls!(@ $name, &[])),*]
    };
    (@ $name:ident, $ways:expr) => {
        Call { name: stringify!($name).split_at("SYS_".len()).1, number: libc::$name, ways: $ways }
    };
}

/// Memory, threads, signals to itself, time.
const PROCESS: &[Call] = calls![
    SYS_brk,
    SYS_clock_getres,
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_exit,
    SYS_exit_group,
    SYS_futex,
    SYS_getegid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getpid,
    SYS_getrandom,
    SYS_gettid,
    SYS_gettimeofday,
    SYS_getuid,
    SYS_madvise,
    SYS_membarrier, // musl, when thread-local memory is made
    SYS_mmap,
    SYS_mprotect,
    SYS_mremap,
    SYS_munmap,
    SYS_nanosleep,
    SYS_restart_syscall,
    SYS_rseq, // glibc, in a new thread
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sched_getaffinity,
    SYS_sched_yield,
    SYS_set_robust_list, // glibc, in a new thread
    SYS_sigaltstack,
    SYS_sysinfo, // glibc, before it sorts much
    SYS_tkill,   // musl, to end itself
    SYS_uname,   // glibc's resolver, for the local domain
];

/// Files: which of them is Landlock's to say.
const FILES: &[Call] = calls![
    SYS_close,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fcntl,
    SYS_fdatasync,
    SYS_flock,
    SYS_fstat,
    SYS_fstatfs,
    SYS_fsync,
    SYS_ftruncate,
    SYS_getcwd, // a panic's last words
    SYS_getdents64,
    SYS_lseek,
    SYS_mkdirat,
    SYS_newfstatat,
    SYS_openat,
    SYS_pread64,
    SYS_pwrite64,
    SYS_read,
    SYS_readlinkat,
    SYS_readv,
    SYS_renameat,
    SYS_statfs,
    SYS_statx,
    SYS_unlinkat,
    SYS_write,
    SYS_writev,
];

/// Sockets, and waiting for them.
const NETWORK: &[Call] = calls![
    SYS_accept, // musl
    SYS_accept4,
    SYS_bind,
    SYS_connect,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait, // musl; everywhere but on x86-64
    SYS_eventfd2,
    SYS_getpeername,
    SYS_getsockname,
    SYS_getsockopt,
    SYS_io_uring_enter,
    SYS_listen,
    SYS_pipe2, // the relay's bulk, with splice
    SYS_ppoll,
    SYS_recvfrom,
    SYS_recvmmsg,
    SYS_recvmsg,
    SYS_sendmmsg, // glibc's resolver
    SYS_sendmsg,
    SYS_sendto,
    SYS_shutdown,
    SYS_splice,
];

/// Calls that older architectures have beside their successors above.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[Call] = calls![
    SYS_access,
    SYS_chmod,
    SYS_epoll_wait, // glibc
    SYS_lstat,      // musl
    SYS_mkdir,
    SYS_open, // musl
    SYS_poll,
    SYS_readlink,
    SYS_rename,
    SYS_rmdir,
    SYS_stat, // musl
    SYS_time,
    SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[Call] = &[];

/// Calls that are meant in some ways only.
const CHECKED: &[Call] = &[
    calls!(@ SYS_clone, &[&[Bits(0, THREAD | NAMESPACES, THREAD)]]),
    calls!(@ SYS_ioctl, &[
        &[Is(1, FIONBIO)],
        &[Is(1, FIONREAD)], // glibc's resolver
        &[Is(1, FIOCLEX)],
        &[Is(1, SIOCGIFINDEX)],
        &[Is(1, SIOCGIFNAME)],
    ]),
    calls!(@ SYS_prctl, &[
        &[Is(0, word(libc::PR_SET_NAME))],
        &[Is(0, word(libc::PR_SET_NO_NEW_PRIVS))],
        &[Is(0, word(libc::PR_SET_VMA))], // glibc, when told to name its memory
    ]),
    // Reading the own limits; not setting them, nor anybody else's.
    calls!(@ SYS_prlimit64, &[&[Is(0, 0), Is(2, 0)]]),
    // No options that load programs into the kernel, rewrite its packet filter, or change the protocol of a connection.
    calls!(@ SYS_setsockopt, &[
        &[
            Is(1, word(libc::SOL_SOCKET)),
            Not(2, word(libc::SO_ATTACH_FILTER)),
            Not(2, word(libc::SO_ATTACH_BPF)),
            Not(2, word(libc::SO_ATTACH_REUSEPORT_CBPF)),
            Not(2, word(libc::SO_ATTACH_REUSEPORT_EBPF)),
        ],
        &[Is(1, word(libc::IPPROTO_TCP)), Not(2, word(libc::TCP_ULP)), Not(2, word(libc::TCP_REPAIR))],
        &[Is(1, word(libc::IPPROTO_UDP))],
        &[Is(1, word(libc::IPPROTO_IP)), Below(2, NETFILTER)],
        &[Is(1, word(libc::IPPROTO_IPV6)), Below(2, NETFILTER)],
        &[Is(1, word(libc::SOL_NETLINK))],
    ]),
    // No raw, packet or kernel-crypto sockets; of netlink only addresses and routes.
    calls!(@ SYS_socket, &[
        &[Is(0, word(libc::AF_UNIX))],
        &[Is(0, word(libc::AF_INET)), Bits(1, SOCKET_TYPE, word(libc::SOCK_STREAM))],
        &[Is(0, word(libc::AF_INET)), Bits(1, SOCKET_TYPE, word(libc::SOCK_DGRAM))],
        &[Is(0, word(libc::AF_INET6)), Bits(1, SOCKET_TYPE, word(libc::SOCK_STREAM))],
        &[Is(0, word(libc::AF_INET6)), Bits(1, SOCKET_TYPE, word(libc::SOCK_DGRAM))],
        &[Is(0, word(libc::AF_NETLINK)), Is(2, word(libc::NETLINK_ROUTE))],
    ]),
    calls!(@ SYS_socketpair, &[&[Is(0, word(libc::AF_UNIX))]]),
    calls!(@ SYS_tgkill, &[&[OwnProcess(0)]]), // glibc, to end itself
];

/// Calls for the start alone: once the worker is ready they end it. A ring made later could do what the calls here may not.
pub const START_ONLY: &[Call] =
    &[calls!(@ SYS_io_uring_register, &[]), calls!(@ SYS_io_uring_setup, &[]), calls!(@ SYS_seccomp, &[])];

/// Of calls that stay, the ways that are for the start alone.
pub const START_ONLY_WAYS: &[Call] = &[calls!(@ SYS_prctl, &[&[Is(0, word(libc::PR_SET_NO_NEW_PRIVS))]])];

/// Calls that fail instead of ending the process, by the error that makes the caller go another way: glibc makes a thread by `clone`, whose
/// flags can be checked, and a library that somebody wants to load is not loaded, nor is other memory made into a program.
pub const REFUSED: [(&[Call], c_int); 2] = [
    (NEWER, libc::ENOSYS),
    (&[calls!(@ SYS_mmap, &[&[PROGRAM]]), calls!(@ SYS_mprotect, &[&[PROGRAM]])], libc::EPERM),
];

/// Calls whose arguments a filter cannot see, and that have an older one for the same thing.
const NEWER: &[Call] = calls![SYS_clone3];

/// Every call that does not end the process while it starts; some are [`REFUSED`] all the same.
pub fn allowed() -> impl Iterator<Item = &'static Call> {
    [PROCESS, FILES, NETWORK, LEGACY, CHECKED, START_ONLY, NEWER].into_iter().flatten()
}

use Check::{Below, Bits, Is, Not, OwnProcess};

/// A new thread of this process, not a process.
const THREAD: u32 = word(libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND);
/// Memory to be executed, in the third argument of `mmap` and `mprotect`.
const PROGRAM: Check = Bits(2, word(libc::PROT_EXEC), word(libc::PROT_EXEC));
const NAMESPACES: u32 = word(
    libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWUTS,
);
/// Beside the type stand flags (`SOCK_CLOEXEC`, `SOCK_NONBLOCK`).
const SOCKET_TYPE: u32 = 0xf;
/// Options of IPv4 and IPv6 from here on load tables into netfilter, but for a few that nobody here uses.
const NETFILTER: u32 = 64;

// From `asm-generic/ioctls.h` and `linux/sockios.h`; libc types them differently for glibc and musl.
const FIONREAD: u32 = 0x541b;
const FIONBIO: u32 = 0x5421;
const FIOCLEX: u32 = 0x5451;
const SIOCGIFNAME: u32 = 0x8910;
const SIOCGIFINDEX: u32 = 0x8933;

const fn word(value: c_int) -> u32 {
    value.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_call_is_named_twice() {
        let mut seen = BTreeSet::new();
        for call in allowed() {
            assert!(seen.insert(call.number), "{} twice", call.name);
        }
        assert!(seen.len() < 130, "{}: is each of them needed?", seen.len());
    }

    #[test]
    fn what_gives_a_foothold_is_not_among_them() {
        let names: BTreeSet<_> = allowed().map(|call| call.name).collect();
        for name in [
            "execve",
            "execveat",
            "fork",
            "vfork",
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "mount",
            "umount2",
            "chroot",
            "pivot_root",
            "setns",
            "unshare",
            "init_module",
            "finit_module",
            "kexec_load",
            "bpf",
            "keyctl",
            "userfaultfd",
            "open_by_handle_at",
            "perf_event_open",
            "memfd_create",
            "capset",
            "setuid",
            "personality",
            "reboot",
        ] {
            assert!(!names.contains(name), "{name}");
        }
    }

    #[test]
    fn what_ends_with_the_start_is_allowed_until_then() {
        let numbers: BTreeSet<_> = allowed().map(|call| call.number).collect();
        assert!(START_ONLY.iter().chain(START_ONLY_WAYS).all(|call| numbers.contains(&call.number)));
    }
}
