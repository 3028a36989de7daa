//! Datagrams that go by a path, with a path that keeps them.

use std::io::IoSlice;
use std::sync::Mutex;

use super::tests::{PATIENCE, bound, client_of, eventually, heard, metrics, route, say, started_by};
use super::*;
use crate::base::datagram_path::{Answers, DatagramFlow, Unsent};
use crate::edge::metrics::{Direction, RouteDirection, RouteReason};

#[derive(Default)]
struct Kept {
    flows: Mutex<Vec<(SocketAddr, Arc<dyn Answers>)>>,
    sent: Mutex<Vec<Vec<u8>>>,
    ended: Mutex<usize>,
}

#[derive(Clone, Default)]
struct Keeper(Arc<Kept>);

impl DatagramPath for Keeper {
    fn open(
        &self,
        local: SocketAddr,
        _: SocketAddr,
        answers: Arc<dyn Answers>,
    ) -> Option<Box<dyn DatagramFlow>> {
        self.0.flows.lock().expect("no panic").push((local, answers));
        Some(Box::new(self.clone()))
    }
}

impl DatagramFlow for Keeper {
    fn send(&self, contents: &[u8], segment_size: usize) -> Result<(), Unsent> {
        match contents {
            [] => return Err(Unsent::Unfit),
            [b'!', ..] => return Err(Unsent::Full),
            _ => {}
        }
        let mut sent = self.0.sent.lock().expect("no panic");
        sent.extend(contents.chunks(segment_size).map(<[u8]>::to_vec));
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        *self.0.ended.lock().expect("no panic") += 1;
    }
}

#[tokio::test]
async fn datagrams_go_by_the_path_and_what_does_not_fit_by_the_socket() {
    let (service, metrics, keeper) = (bound("127.0.0.1:0").await, metrics(), Keeper::default());
    let route = route("127.0.0.1:0", service.local_addr().expect("bound"));
    let handle = started_by(&route, &metrics, Some(Arc::new(keeper.clone())));
    let client = client_of(handle.local_address()).await;
    for text in [&b"one"[..], b"second", b"!"] {
        say(&client, text).await;
    }
    say(&client, b"").await;
    let (text, port) = heard(&service).await;
    assert_eq!(text, b"", "by the socket");
    assert_eq!(*keeper.0.sent.lock().expect("no panic"), [&b"one"[..], b"second"]);
    let full = RouteReason { route: "game".into(), reason: "tunnel_full" };
    assert_eq!(metrics.dropped.get_or_create(&full).get(), 1);

    let (local, answers) = keeper.0.flows.lock().expect("no panic").remove(0);
    assert_eq!(local, port, "the path has the port that the socket holds");
    let parts = [&b"answer"[..], b"answer", b"last"];
    answers.take(&parts.map(IoSlice::new));
    for part in parts {
        assert_eq!(heard(&client).await, (part.to_vec(), handle.local_address()));
    }
    service.send_to(b"by the socket", port).await.expect("sent");
    assert_eq!(heard(&client).await.0, b"by the socket");
    drop(answers);
    let before = *keeper.0.ended.lock().expect("no panic");
    tokio::time::timeout(PATIENCE, handle.stop()).await.expect("hangs");
    eventually(|| *keeper.0.ended.lock().expect("no panic") > before).await;
}

#[tokio::test]
async fn datagrams_that_came_together_are_told_apart() {
    let (service, metrics, keeper) = (bound("127.0.0.1:0").await, metrics(), Keeper::default());
    let route = route("127.0.0.1:0", service.local_addr().expect("bound"));
    let handle = started_by(&route, &metrics, Some(Arc::new(keeper.clone())));
    let client = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    // Over loopback, segments stay together up to a receiver that takes them so.
    crate::sys::datagram::send(
        std::os::fd::AsFd::as_fd(&client),
        b"aaabbbcc",
        3,
        false,
        handle.local_address(),
    )
    .expect("sent");
    eventually(|| keeper.0.sent.lock().expect("no panic").len() == 3).await;
    assert_eq!(*keeper.0.sent.lock().expect("no panic"), [&b"aaa"[..], b"bbb", b"cc"]);
    let passed = RouteDirection { route: "game".into(), direction: Direction::In };
    assert_eq!(metrics.datagrams.get_or_create(&passed).get(), 3);
}

#[tokio::test]
async fn answers_that_the_kernel_does_not_take_are_counted() {
    let (service, metrics, keeper) = (bound("127.0.0.1:0").await, metrics(), Keeper::default());
    let route = route("127.0.0.1:0", service.local_addr().expect("bound"));
    let handle = started_by(&route, &metrics, Some(Arc::new(keeper.clone())));
    let client = client_of(handle.local_address()).await;
    say(&client, b"hello").await;
    eventually(|| keeper.0.flows.lock().expect("no panic").len() == 1).await;
    let (_, answers) = keeper.0.flows.lock().expect("no panic").remove(0);
    let too_long = vec![0; 65_508];
    answers.take(&[IoSlice::new(&too_long)]);
    answers.take(&[&b"abc"[..], b"abc", b"ab"].map(IoSlice::new));
    let refused = RouteReason { route: "game".into(), reason: "client_send" };
    assert_eq!(metrics.dropped.get_or_create(&refused).get(), 1);
    let out = RouteDirection { route: "game".into(), direction: Direction::Out };
    let passed = (metrics.datagrams.get_or_create(&out).get(), metrics.bytes.get_or_create(&out).get());
    assert_eq!(passed, (3, 8));
}
