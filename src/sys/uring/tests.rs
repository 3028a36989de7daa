use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;

/// `None` where the kernel refuses `io_uring`: then there is nothing to test.
fn ring(chunks: usize) -> Option<Ring<usize>> {
    Ring::new(1024, chunks).ok()
}

/// Both ends of a connection, one for the ring.
fn pair() -> (UnixStream, Rc<OwnedFd>) {
    let (outside, inside) = UnixStream::pair().expect("a socket pair");
    (outside, Rc::new(inside.into()))
}

fn wait(ring: &mut Ring<usize>, count: usize) -> Vec<Completion<usize>> {
    let mut completions = Vec::new();
    while completions.len() < count {
        ring.turn(&mut completions).expect("a working ring");
        if completions.is_empty() {
            let mut events = [PollFd::new(ring.events.as_fd(), PollFlags::POLLIN)];
            poll(&mut events, PollTimeout::from(5000_u16)).expect("polled");
            nix::unistd::read(&ring.events, &mut [0; 8]).expect("something ended");
        }
    }
    completions
}

/// Receives on so many connections at once; how many got their own bytes, and how many an error.
fn receive_all(ring: &mut Ring<usize>, count: usize) -> (usize, usize) {
    let mut pairs: Vec<_> = (0..count).map(|_| pair()).collect();
    for (token, (outside, inside)) in pairs.iter_mut().enumerate() {
        ring.receive(inside, token).expect("room");
        outside.write_all(&token.to_be_bytes()).expect("written");
    }
    let (mut whole, mut failed) = (0, 0);
    for completion in wait(ring, count) {
        match completion.event {
            Event::Received(Ok(Some(chunk))) => {
                assert_eq!(chunk.bytes(), completion.token.to_be_bytes());
                whole += 1;
            }
            Event::Received(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => failed += 1,
            _ => panic!("neither bytes nor a lack of buffers"),
        }
    }
    (whole, failed)
}

#[test]
fn own_bytes_are_sent_and_count_as_a_chunk() {
    let Some(mut ring) = ring(2) else { return };
    let (mut outside, inside) = pair();
    let chunks = [ring.chunk_of(b"hello"), ring.chunk_of(b"x")].map(|chunk| chunk.expect("room"));
    assert!(ring.chunk_of(b"y").is_none(), "beyond the limit");
    for chunk in chunks {
        ring.send(&inside, chunk, 1).expect("room");
        let completion = wait(&mut ring, 1).remove(0);
        let Event::Sent { chunk, result: Ok(_) } = completion.event else { panic!("not sent") };
        ring.give_back(chunk);
    }
    let mut heard = [0; 6];
    outside.read_exact(&mut heard).expect("sent");
    assert_eq!((&heard, ring.chunks()), (b"hellox", (0, 2)));
    assert!(ring.chunk_of(&vec![0; CHUNK + 1]).is_none(), "more than a chunk");
}

#[test]
fn more_receives_than_lent_buffers_all_get_theirs() {
    let Some(mut ring) = ring(400) else { return };
    assert_eq!(receive_all(&mut ring, 200), (200, 0));
    assert!(ring.is_idle());
}

#[test]
fn beyond_the_limit_a_receive_fails_and_no_memory_is_taken() {
    let Some(mut ring) = ring(100) else { return };
    assert_eq!(receive_all(&mut ring, 150), (100, 50));
    assert_eq!(ring.chunks(), (100, 100));
}

#[test]
fn a_cancelled_operation_ends_and_an_ended_one_is_not_disturbed() {
    let Some(mut ring) = ring(10) else { return };
    let (mut outside, inside) = pair();
    let first = ring.receive(&inside, 1).expect("room");
    ring.cancel(first, 2).expect("room");
    let completions = wait(&mut ring, 1);
    assert_eq!(completions[0].token, 1);
    assert!(matches!(completions[0].event, Event::Received(Err(_))));

    ring.receive(&inside, 3).expect("room");
    ring.cancel(first, 4).expect("room");
    outside.write_all(b"untouched").expect("written");
    let mut completions = wait(&mut ring, 1);
    let Some(Completion { token: 3, event: Event::Received(Ok(Some(mut chunk))) }) = completions.pop() else {
        panic!("the second receive was disturbed");
    };
    chunk.advance(2);
    ring.send(&inside, chunk, 5).expect("room");
    assert!(matches!(wait(&mut ring, 1)[0].event, Event::Sent { result: Ok(7), .. }));
    let mut heard = [0; 7];
    outside.read_exact(&mut heard).expect("sent");
    assert_eq!(&heard, b"touched");
}

#[test]
fn the_end_of_a_stream_and_a_timeout_are_told() {
    let Some(mut ring) = ring(10) else { return };
    let (outside, inside) = pair();
    drop(outside);
    ring.receive(&inside, 1).expect("room");
    assert!(matches!(wait(&mut ring, 1)[0].event, Event::Received(Ok(None))));
    let mut completions = Vec::new();
    ring.turn(&mut completions).expect("a working ring");
    assert!(completions.is_empty());
    assert_eq!(ring.chunks().0, 0, "an end holds no buffer");
}

#[test]
fn a_ring_does_nothing_that_it_is_not_meant_for() {
    let Some(mut ring) = ring(10) else { return };
    let path = c"/etc/passwd";
    let here = Fd(libc::AT_FDCWD);
    let entries = [
        opcode::Nop::new().build(),
        opcode::OpenAt::new(here, path.as_ptr()).build(),
        opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build(),
        opcode::PollAdd::new(here, 0).build().flags(Flags::ASYNC),
    ];
    for entry in entries {
        // SAFETY: the path is static, and nothing else is pointed to.
        unsafe { ring.uring.submission().push(&entry) }.expect("room");
        ring.uring.submit_and_wait(1).expect("a working ring");
        let result = ring.uring.completion().next().expect("an end").result();
        assert_eq!(result, -libc::EACCES, "{entry:?}");
    }
    let more = ring.uring.submitter().register_restrictions(&mut [Restriction::sqe_op(opcode::Nop::CODE)]);
    assert!(more.is_err(), "the restrictions were changed");
}
