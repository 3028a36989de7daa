//! The real binary in its sandbox, in a network namespace of its own. Needs root, `ip` and `setpriv`:
//! `cargo test --test sandboxed_house -- --ignored`.

#[path = "sandboxed_house/house.rs"]
mod house;

use std::io::{BufRead, BufReader, Write};
use std::time::{Duration, Instant};

use genkan::appliance::core::capabilities::KEPT_SET;
use genkan::wire::supervision::{Beat, FromInit, FromWorker};

use house::{As, House, get, in_own_network, wait};

const ALL: Beat = Beat { coordinator: true, tunnel: true, edge: true, store: true };

/// What the kernel says of every thread.
fn assert_shut_in(house: &House) {
    for status in house.statuses() {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_else(|| panic!("no {name} in:\n{status}")).trim().to_owned()
        };
        let set = format!("{KEPT_SET:016x}");
        let none = format!("{:016x}", 0);
        assert_eq!((field("Seccomp").as_str(), field("NoNewPrivs").as_str()), ("2", "1"), "{status}");
        assert_eq!((field("CapEff"), field("CapPrm")), (set.clone(), set), "{status}");
        assert_eq!((field("CapInh"), field("CapAmb")), (none.clone(), none), "{status}");
    }
}

/// What it is for goes on inside: it answers, reads its files again, listens on a port below 1024 that is new, and stores.
fn assert_works(house: &House) {
    assert_eq!(get(9090, "/health"), (200, "ok\n".into()));
    assert_eq!(get(8080, "/key?v=142").0, 200);
    house.write_routes(&[2222, 81]);
    house.hang_up();
    wait("the new port", || std::net::TcpStream::connect(("127.0.0.1", 81)).is_ok());
    wait("the configuration", || house.log().contains("configuration applied"));
    house.write("genkan.toml", "nonsense");
    house.hang_up();
    wait("the problem", || house.log().contains("was not applied"));
    let key = house.admin(&["preauthkeys", "create"]);
    assert!(key.starts_with("hskey-"), "{key}");
    assert!(!house.log().contains("lacks a part"), "{}", house.log());
    wait("the tunnel", || house.log().contains("tunnel is up"));
}

#[test]
#[ignore = "needs root"]
fn as_root_it_keeps_one_capability_and_works_inside() {
    in_own_network(|| {
        let house = House::open(As::Root, None);
        assert_shut_in(&house);
        for status in house.statuses() {
            assert!(status.contains(&format!("CapBnd:\t{KEPT_SET:016x}")), "{status}");
        }
        assert_works(&house);
        house.close();
    });
}

#[test]
#[ignore = "needs root"]
fn as_the_card_starts_it_it_is_shut_in_the_same_and_pid_1_sees_it_turn() {
    in_own_network(|| {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let house = House::open(As::User(1000), Some(theirs));
        ours.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        let mut lines = BufReader::new(ours.try_clone().expect("a descriptor")).lines();
        let mut hear = || -> FromWorker {
            let line = lines.next().expect("a line").expect("in time");
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
        };
        let mut hear_of = |what: FromWorker| {
            let heard: Vec<_> = (0..20).map(|_| hear()).take_while(|message| *message != what).collect();
            assert!(heard.len() < 20, "no {what:?} in {heard:?}\n{}", house.log());
        };
        hear_of(FromWorker::Ready);
        hear_of(FromWorker::Beat(ALL));
        let begun = Instant::now();
        for _ in 0..3 {
            hear_of(FromWorker::Beat(ALL));
        }
        assert!((2000..5000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        assert_shut_in(&house);
        assert!(house.statuses().iter().all(|status| status.contains("Uid:\t1000\t1000\t1000\t1000")));
        assert!(house.log().contains("the time is not known"), "{}", house.log());
        let known = serde_json::to_string(&FromInit::Clock { known: true }).expect("JSON");
        (&ours).write_all((known + "\n").as_bytes()).expect("said");
        assert_works(&house);
        hear_of(FromWorker::Beat(ALL));
        drop((ours, lines));
        wait("the end of the talk", || house.log().contains("PID 1"));
        assert_eq!(get(9090, "/health").0, 200);
        house.close();
    });
}

#[test]
#[ignore = "needs root"]
fn without_the_sandbox_it_says_so() {
    in_own_network(|| {
        let house = House::open(As::Unconfined, None);
        assert!(house.log().contains("the sandbox is off"), "{}", house.log());
        assert!(house.statuses()[0].contains("Seccomp:\t0"));
        house.close();
    });
}
