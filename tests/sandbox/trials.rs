//! What is done inside.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;

use genkan::appliance::sandbox::{self, Sandbox};
use genkan::sys::uring::Ring;

use crate::forbidden;

pub fn run(trial: &str, folder: &Path) {
    let entered = sandbox::enter(&folder.join("config"), &folder.join("state"), &[]).expect("own folders");
    match trial {
        "start" => start(entered),
        "refused" => refused(entered),
        "files" => files(entered, folder),
        "work" => work(entered, folder),
        other => call(entered, other.strip_prefix("call ").expect("a trial")),
    }
}

pub fn kernel_has_landlock() -> bool {
    // SAFETY: asks for the version of the rules and touches no memory.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, 1) > 0 }
}

fn call(sandbox: Sandbox, name: &str) {
    sandbox.seal();
    let call = forbidden::calls().find(|call| call.name == name).expect("in the table");
    let answer = call.make();
    panic!("{name} came back with {answer}: {}", io::Error::last_os_error());
}

fn start(sandbox: Sandbox) {
    // On a kernel without io_uring there is nothing to see, and then no ring is what the worker expects.
    let ring = Ring::<u32>::new(8, 8);
    assert!(
        ring.is_ok() || !Path::new("/proc/sys/kernel/io_uring_disabled").exists(),
        "no ring at the start"
    );
    let (near, _far) = UnixStream::pair().expect("a socket pair");
    sandbox.seal();
    if let Ok(mut ring) = ring {
        // Writable, so that it ends at once: with nothing to submit the kernel would not be called.
        ring.poll_writable(&Rc::new(OwnedFd::from(near)), 0).expect("room");
        let mut ended = Vec::new();
        ring.turn(&mut ended).expect("the ring goes on");
        assert_eq!(ended.len(), 1);
    }
}

fn refused(sandbox: Sandbox) {
    sandbox.seal();
    let (page, executable) = (4096, libc::PROT_READ | libc::PROT_EXEC);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: maps fresh memory that nobody else uses.
    let program = unsafe { libc::mmap(std::ptr::null_mut(), page, executable, flags, -1, 0) };
    assert_eq!((program, errno()), (libc::MAP_FAILED, Some(libc::EPERM)));
    // SAFETY: as above.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), page, libc::PROT_READ, flags, -1, 0) };
    assert_ne!(memory, libc::MAP_FAILED);
    // SAFETY: the page just mapped.
    assert_eq!((unsafe { libc::mprotect(memory, page, executable) }, errno()), (-1, Some(libc::EPERM)));
    // SAFETY: is refused before it reads anything.
    assert_eq!((unsafe { libc::syscall(libc::SYS_clone3, 0, 0) }, errno()), (-1, Some(libc::ENOSYS)));
    assert_eq!(std::thread::spawn(|| 3).join().expect("a thread"), 3);
}

fn files(sandbox: Sandbox, folder: &Path) {
    sandbox.seal();
    let is_closed =
        |result: io::Result<()>| result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    for path in [
        "/etc/passwd",
        "/etc/shadow",
        "/proc/self/status",
        "/proc/1/environ",
        "/dev/null",
        "/dev/urandom",
        "/proc/sys/net/ipv4/ip_forward",
    ] {
        assert!(is_closed(File::open(path).map(drop)), "{path} was opened");
    }
    assert!(is_closed(fs::read_dir("/").map(drop)), "the root was listed");
    assert!(is_closed(fs::read_dir(folder).map(drop)), "the folder above was listed");
    assert!(is_closed(fs::write(folder.join("elsewhere/new"), "x")), "a file was made elsewhere");
    assert!(is_closed(File::open(folder.join("elsewhere")).map(drop)), "another folder was opened");

    let (config, state) = (folder.join("config"), folder.join("state"));
    fs::read(config.join("genkan.toml")).expect("the configuration is read");
    fs::read(config.join("acl.json")).expect("where a link in it leads to is read");
    assert!(is_closed(fs::write(config.join("genkan.toml"), "x")), "the configuration was written");
    assert!(is_closed(fs::write(config.join("new"), "x")), "a file was made beside it");
    assert!(is_closed(fs::remove_file(config.join("genkan.toml"))), "the configuration was removed");

    fs::write(state.join("new"), "x").expect("the state is written");
    fs::rename(state.join("new"), state.join("old")).expect("and renamed");
    fs::create_dir(state.join("folder")).expect("and has folders");
    fs::rename(state.join("old"), state.join("folder/old")).expect("in which files may move");
    assert!(
        fs::rename(state.join("folder/old"), folder.join("elsewhere/old")).is_err(),
        "state left its folder"
    );
    fs::remove_dir_all(state.join("folder")).expect("and can be removed");
}

/// Threads, sockets, names, addresses: the standard library's and libc's ways of doing them.
fn work(sandbox: Sandbox, folder: &Path) {
    sandbox.seal();
    let listener =
        TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("bound");
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut word = [0; 4];
        stream.read_exact(&mut word).expect("a word");
        stream.write_all(&word).expect("said again");
    });
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"word").expect("said");
    let mut word = [0; 4];
    stream.read_exact(&mut word).expect("heard");
    echo.join().expect("no panic");
    UdpSocket::bind("127.0.0.1:0").expect("a port").send_to(b"x", address_of(address.port())).expect("sent");
    let found = ("localhost", 80).to_socket_addrs().expect("in /etc/hosts");
    assert!(found.into_iter().any(|address| address.ip().is_loopback()));
    // No name server answers here: the resolver runs through all of its tries.
    drop(("nobody.invalid", 80).to_socket_addrs());
    nix::ifaddrs::getifaddrs().expect("addresses of interfaces").for_each(drop);
    nix::net::if_::if_nametoindex("lo").expect("an interface");
    let panicked = std::thread::spawn(|| panic!("as planned")).join();
    assert!(panicked.is_err());
    let file = File::create(folder.join("state/file")).expect("a file");
    file.lock().and_then(|()| file.set_len(4096)).and_then(|()| file.sync_all()).expect("as the store does");
    tokio();
}

/// A runtime made inside, with its signals, files and timers.
fn tokio() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let _hangup =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).expect("a signal");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (accepted, connected) = tokio::join!(listener.accept(), tokio::net::TcpStream::connect(address));
        accepted.and(connected).expect("a connection");
        drop(tokio::net::lookup_host(("localhost", 1)).await);
        assert!(tokio::fs::read("/etc/passwd").await.is_err() || !kernel_has_landlock());
    });
}

fn address_of(port: u16) -> (&'static str, u16) {
    ("127.0.0.1", port)
}

fn errno() -> Option<i32> {
    io::Error::last_os_error().raw_os_error()
}
