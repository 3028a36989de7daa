//! Any order of completions: no byte lost, doubled or reordered, and exactly one close with nothing in flight.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const PATIENCE: Patience = Patience { dial: Duration::from_secs(5), idle: Some(Duration::from_mins(1)) };

/// The owner and both peers: executes steps, completes operations in the order a script says.
struct World {
    flow: RelayFlow,
    now: Instant,
    greeting: Vec<u8>,
    /// What each side still has to say, by `Side as usize`.
    script: [VecDeque<u8>; 2],
    hears: [Vec<u8>; 2],
    finished: [bool; 2],
    chunks: [VecDeque<u8>; 2],
    in_flight: Vec<Step>,
    ending: Option<Ending>,
}

impl World {
    fn new(client: &[u8], upstream: &[u8]) -> Self {
        Self::greeted(b"", client, upstream)
    }

    fn greeted(greeting: &[u8], client: &[u8], upstream: &[u8]) -> Self {
        let now = Instant::now();
        Self {
            flow: RelayFlow::new(1, greeting.len(), PATIENCE, now),
            now,
            greeting: greeting.to_vec(),
            script: [client.iter().copied().collect(), upstream.iter().copied().collect()],
            hears: [Vec::new(), Vec::new()],
            finished: [false; 2],
            chunks: [VecDeque::new(), VecDeque::new()],
            in_flight: Vec::new(),
            ending: None,
        }
    }

    /// Carries out all steps there are.
    fn settle(&mut self) {
        while let Some(step) = self.flow.poll_step() {
            assert_eq!(self.ending, None, "{step:?} after the close");
            match step {
                Step::Cancel => assert!(!self.in_flight.is_empty(), "a cancel of nothing"),
                Step::FinishWriting(side) => self.finish(side),
                Step::Close(ending) => {
                    assert!(self.in_flight.is_empty(), "closed under {:?}", self.in_flight);
                    self.ending = Some(ending);
                }
                Step::Dial(_) | Step::Receive(_) | Step::Send(_) => {
                    assert!(!self.in_flight.contains(&step), "{step:?} twice at once");
                    self.in_flight.push(step);
                }
            }
        }
    }

    fn finish(&mut self, side: Side) {
        assert!(!self.finished[side as usize], "{side:?} finished twice");
        self.finished[side as usize] = true;
    }

    /// Ends one operation in flight: `which` picks it, `most` says how many bytes at most, 0 a fault.
    fn complete(&mut self, which: usize, most: usize) {
        let step = self.in_flight.swap_remove(which % self.in_flight.len());
        match step {
            Step::Dial(_) => self.dial(most),
            Step::Receive(side) => self.receive(side, most),
            Step::Send(side) => self.send(side, most),
            _ => unreachable!("only operations are in flight"),
        }
    }

    fn dial(&mut self, most: usize) {
        self.chunks[Side::Client as usize].extend(&self.greeting);
        self.flow.handle_dialed(if most == 0 { Err(Fault) } else { Ok(()) }, self.now);
    }

    fn receive(&mut self, side: Side, most: usize) {
        let script = &mut self.script[side as usize];
        let chunk: VecDeque<u8> = script.drain(..most.min(script.len())).collect();
        let received = match chunk.len() {
            0 if most == 0 => Received::Fault,
            0 => Received::End,
            count => Received::Bytes(count),
        };
        assert!(self.chunks[side as usize].is_empty(), "a chunk was overwritten");
        self.chunks[side as usize] = chunk;
        self.flow.handle_received(side, received, self.now);
    }

    fn send(&mut self, side: Side, most: usize) {
        let chunk = &mut self.chunks[side.other() as usize];
        assert!(!chunk.is_empty(), "a send of nothing");
        assert!(!self.finished[side as usize], "a send after the end");
        let count = most.min(chunk.len());
        self.hears[side as usize].extend(chunk.drain(..count));
        self.flow.handle_sent(side, if most == 0 { Err(Fault) } else { Ok(count) }, self.now);
    }

    fn run(&mut self, script: impl IntoIterator<Item = (usize, usize)>) {
        self.settle();
        for (which, most) in script {
            if self.in_flight.is_empty() {
                return;
            }
            self.complete(which, most);
            self.settle();
        }
    }
}

proptest! {
    #[test]
    fn any_order_of_completions_delivers_every_byte_once(
        greeting in proptest::collection::vec(any::<u8>(), 0..20),
        client in proptest::collection::vec(any::<u8>(), 0..40),
        upstream in proptest::collection::vec(any::<u8>(), 0..40),
        script in proptest::collection::vec((any::<usize>(), 1..9usize), 0..200),
    ) {
        let mut world = World::greeted(&greeting, &client, &upstream);
        world.run(script.into_iter().chain(std::iter::repeat_n((0, 7), 200)));
        prop_assert_eq!(world.ending, Some(Ending::Finished));
        prop_assert_eq!(&world.hears[Side::Upstream as usize], &[greeting, client].concat());
        prop_assert_eq!(&world.hears[Side::Client as usize], &upstream);
        prop_assert_eq!(world.finished, [true; 2]);
    }

    #[test]
    fn with_faults_anywhere_each_side_hears_a_prefix_and_the_close_comes_once(
        greeting in proptest::collection::vec(any::<u8>(), 0..20),
        client in proptest::collection::vec(any::<u8>(), 0..40),
        upstream in proptest::collection::vec(any::<u8>(), 0..40),
        script in proptest::collection::vec((any::<usize>(), 0..9usize), 0..200),
        stop_after in 0..100usize,
    ) {
        let mut world = World::greeted(&greeting, &client, &upstream);
        let (before, after) = script.split_at(stop_after.min(script.len()));
        world.run(before.iter().copied());
        world.flow.abort(Ending::Stopped);
        world.run(after.iter().copied().chain(std::iter::repeat_n((0, 7), 300)));
        prop_assert!(world.ending.is_some());
        prop_assert!([greeting, client].concat().starts_with(&world.hears[Side::Upstream as usize]));
        prop_assert!(upstream.starts_with(&world.hears[Side::Client as usize]));
        prop_assert_eq!(world.flow.poll_step(), None);
        prop_assert_eq!(world.flow.poll_timeout(), None);
    }
}

#[test]
fn a_lane_that_holds_bytes_does_not_receive() {
    let mut world = World::new(b"abc", b"");
    world.settle();
    world.complete(0, 1);
    world.settle();
    assert_eq!(world.in_flight, [Step::Receive(Side::Client), Step::Receive(Side::Upstream)]);
    world.complete(0, 9);
    world.settle();
    assert!(!world.in_flight.contains(&Step::Receive(Side::Client)), "{:?}", world.in_flight);
    assert!(world.in_flight.contains(&Step::Send(Side::Upstream)));
}

#[test]
fn upstreams_are_tried_in_order_until_none_is_left() {
    let now = Instant::now();
    let mut flow = RelayFlow::new(2, 0, PATIENCE, now);
    assert_eq!(flow.poll_step(), Some(Step::Dial(0)));
    assert_eq!(flow.poll_step(), None);
    flow.handle_dialed(Err(Fault), now);
    flow.handle_dialed(Err(Fault), now);
    assert_eq!(flow.poll_step(), Some(Step::Dial(1)), "a spurious report changes nothing");
    flow.handle_dialed(Err(Fault), now);
    assert_eq!(flow.poll_step(), Some(Step::Close(Ending::Unreachable)));
    assert_eq!(flow.poll_step(), None);
    assert_eq!(RelayFlow::new(0, 0, PATIENCE, now).poll_step(), Some(Step::Close(Ending::Unreachable)));
}

#[test]
fn a_dial_that_takes_too_long_is_given_up_and_the_next_has_its_own_time() {
    let begun = Instant::now();
    let mut flow = RelayFlow::new(2, 0, PATIENCE, begun);
    assert_eq!((flow.poll_timeout(), flow.poll_step()), (None, Some(Step::Dial(0))));
    let late = begun + PATIENCE.dial;
    assert_eq!(flow.poll_timeout(), Some(late));
    flow.handle_timeout(begun + Duration::from_millis(4999));
    assert_eq!(flow.poll_step(), None);
    flow.handle_timeout(late);
    assert_eq!((flow.poll_step(), flow.poll_step()), (Some(Step::Cancel), None));
    flow.handle_timeout(late + PATIENCE.dial);
    assert_eq!((flow.poll_timeout(), flow.poll_step()), (None, None), "it is cancelled once");
    let ended = late + Duration::from_millis(3);
    flow.handle_dialed(Err(Fault), ended);
    assert_eq!((flow.poll_step(), flow.poll_timeout()), (Some(Step::Dial(1)), Some(ended + PATIENCE.dial)));
    flow.handle_timeout(ended + PATIENCE.dial);
    assert_eq!(flow.poll_step(), Some(Step::Cancel));
    flow.handle_dialed(Ok(()), ended + PATIENCE.dial);
    assert_eq!(flow.poll_step(), Some(Step::Receive(Side::Client)), "it was quicker than the cancel");
}

#[test]
fn a_stop_while_a_late_dial_is_cancelled_ends_once() {
    let begun = Instant::now();
    let mut flow = RelayFlow::new(1, 0, PATIENCE, begun);
    flow.poll_step();
    flow.handle_timeout(begun + PATIENCE.dial);
    assert_eq!(flow.poll_step(), Some(Step::Cancel));
    flow.abort(Ending::Stopped);
    assert_eq!((flow.poll_step(), flow.poll_step()), (Some(Step::Cancel), None));
    flow.handle_dialed(Err(Fault), begun);
    assert_eq!((flow.poll_step(), flow.poll_step()), (Some(Step::Close(Ending::Stopped)), None));
}

#[test]
fn silence_in_both_directions_is_idle_and_a_byte_in_either_is_not() {
    let mut world = World::new(b"ab", b"");
    world.settle();
    world.complete(0, 1);
    let deadline = world.now + Duration::from_mins(1);
    assert_eq!(world.flow.poll_timeout(), Some(deadline));
    world.settle();
    world.now += Duration::from_secs(59);
    world.complete(0, 1);
    world.flow.handle_timeout(deadline);
    assert_eq!(world.flow.poll_timeout(), Some(world.now + Duration::from_mins(1)));
    world.settle();
    world.flow.handle_timeout(world.now + Duration::from_mins(1));
    assert_eq!(world.flow.poll_step(), Some(Step::Cancel));
}

#[test]
fn the_greeting_waits_for_nobody_and_nothing_goes_before_it() {
    let mut world = World::greeted(b"hello", b"", b"x");
    world.settle();
    world.complete(0, 1);
    world.settle();
    assert_eq!(world.in_flight, [Step::Send(Side::Upstream), Step::Receive(Side::Upstream)]);
    world.complete(0, 3);
    world.settle();
    assert!(!world.in_flight.contains(&Step::Receive(Side::Client)), "two bytes are left of it");
    world.run(std::iter::repeat_n((0, 7), 20));
    assert_eq!(world.hears, [b"x".to_vec(), b"hello".to_vec()]);
    assert_eq!((world.finished, world.ending), ([true; 2], Some(Ending::Finished)));
}
