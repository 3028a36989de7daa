//! Calls that no part of the worker makes, with arguments that would do no harm.

use libc::{c_int, c_long};

pub struct Forbidden {
    pub name: &'static str,
    number: c_long,
    arguments: [c_long; 6],
}

impl Forbidden {
    /// Makes the call; what comes back is the kernel's answer.
    pub fn make(&self) -> c_long {
        let all = self.arguments;
        // SAFETY: the arguments are numbers that are no address and no open descriptor: nothing of this process is read or written.
        unsafe { libc::syscall(self.number, all[0], all[1], all[2], all[3], all[4], all[5]) }
    }
}

/// No address, no descriptor, no process, and flags that nobody knows.
const NONE: [c_long; 6] = [-1; 6];

macro_rules! whole {
    ($($name:ident),* $(,)?) => {
        [$(Forbidden { name: stringify!($name), number: libc::$name, arguments: NONE }),*]
    };
}

/// A call that is made in other ways.
const fn way(name: &'static str, number: c_long, start: [c_int; 3]) -> Forbidden {
    let [a, b, c] = start;
    Forbidden { name, number, arguments: [a as c_long, b as c_long, c as c_long, -1, -1, -1] }
}

const WHOLE: [Forbidden; 59] = whole![
    // Programs and processes.
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_process_madvise,
    SYS_kcmp,
    SYS_kill,
    SYS_rt_sigqueueinfo,
    SYS_pidfd_open,
    SYS_pidfd_getfd,
    SYS_pidfd_send_signal,
    SYS_wait4,
    SYS_setns,
    SYS_unshare,
    SYS_personality,
    SYS_setpgid,
    SYS_setsid,
    // Users and capabilities.
    SYS_setuid,
    SYS_setgid,
    SYS_setresuid,
    SYS_setgroups,
    SYS_capset,
    // The file tree.
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_move_mount,
    SYS_open_tree,
    SYS_fsopen,
    SYS_mount_setattr,
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    SYS_linkat,
    SYS_symlinkat,
    SYS_mknodat,
    SYS_fchownat,
    SYS_quotactl,
    SYS_fanotify_init,
    // The kernel.
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_memfd_create,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_reboot,
    SYS_swapon,
    SYS_sethostname,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_adjtimex,
    SYS_syslog,
    SYS_acct,
    // A ring that would pass the filter by.
    SYS_io_uring_setup,
];

const WAYS: [Forbidden; 20] = [
    way("a process", libc::SYS_clone, [libc::SIGCHLD, 0, 0]),
    way(
        "a thread in another user namespace",
        libc::SYS_clone,
        [libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_NEWUSER, 0, 0],
    ),
    way("a packet socket", libc::SYS_socket, [libc::AF_PACKET, libc::SOCK_RAW, 0]),
    way("a raw socket", libc::SYS_socket, [libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP]),
    way("a raw socket of IPv6", libc::SYS_socket, [libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6]),
    way("a socket of the kernel's cryptography", libc::SYS_socket, [libc::AF_ALG, libc::SOCK_SEQPACKET, 0]),
    way("a socket to the hypervisor", libc::SYS_socket, [libc::AF_VSOCK, libc::SOCK_STREAM, 0]),
    way("netfilter", libc::SYS_socket, [libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER]),
    way("generic netlink", libc::SYS_socket, [libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_GENERIC]),
    way("keys typed into a terminal", libc::SYS_ioctl, [-1, 0x5412, 0]),
    way("an interface's flags", libc::SYS_ioctl, [-1, 0x8914, 0]),
    way("another tunnel", libc::SYS_ioctl, [-1, 0x4004_54ca, 0]),
    way("a signal to another process", libc::SYS_tgkill, [1, 1, 0]),
    way("the limits of another process", libc::SYS_prlimit64, [1, 0, 0]),
    way("its own limits, set", libc::SYS_prlimit64, [0, 0, -1]),
    way("its memory open to others", libc::SYS_prctl, [libc::PR_SET_DUMPABLE, 1, 0]),
    way("a program on a socket", libc::SYS_setsockopt, [-1, libc::SOL_SOCKET, libc::SO_ATTACH_BPF]),
    way("a filter on a socket", libc::SYS_setsockopt, [-1, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER]),
    way("a table for netfilter", libc::SYS_setsockopt, [-1, libc::IPPROTO_IP, 64]),
    way("another protocol on a connection", libc::SYS_setsockopt, [-1, libc::IPPROTO_TCP, libc::TCP_ULP]),
];

pub fn calls() -> impl Iterator<Item = &'static Forbidden> {
    const ALL: [&[Forbidden]; 2] = [&WHOLE, &WAYS];
    ALL.into_iter().flatten()
}
