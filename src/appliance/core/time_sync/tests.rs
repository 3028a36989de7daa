use super::*;

/// 2026-11-22T00:00:00Z.
const BUILT: UnixTime = UnixTime(1_795_305_600);
const TRUE: i64 = (BUILT.0 + 86_400) * SECOND;

fn server(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// A box whose monotonic clock began at 100 s; true time is `TRUE` then.
struct House {
    sync: TimeSync,
    start: Instant,
    now: Instant,
    system: i64,
}

impl House {
    fn new(servers: usize) -> Self {
        let now = Instant::now();
        let mut sync = TimeSync::new(BUILT, servers, now);
        let system = sync.handle_board(None, 0).expect("no clock is below the floor");
        assert_eq!(system, BUILT.0 * SECOND);
        Self { sync, start: now, now, system }
    }

    fn passed(&self) -> i64 {
        i64::try_from((self.now - self.start).as_nanos()).expect("short")
    }

    fn reading(&self) -> Reading {
        let monotonic = 100 * SECOND.unsigned_abs() + self.passed().unsigned_abs();
        Reading { monotonic, system: self.system + self.passed() }
    }

    /// A sample of `from` that is wrong by `lie` seconds.
    fn sample(&mut self, from: u8, lie: i64) -> Option<Adjustment> {
        let at = self.reading().monotonic;
        let time = TRUE + self.passed() + lie * SECOND;
        let sample = TimeSample { server: server(from), at, time, error: 10_000_000 };
        let adjustment = self.sync.handle_sample(sample, self.reading(), self.now);
        self.apply(adjustment)
    }

    fn end(&mut self) -> Option<Adjustment> {
        let adjustment = self.sync.handle_round_end(self.reading(), self.now);
        self.apply(adjustment)
    }

    fn apply(&mut self, adjustment: Option<Adjustment>) -> Option<Adjustment> {
        match adjustment {
            Some(Adjustment::Step(time)) => self.system = time - self.passed(),
            Some(Adjustment::Slew(offset)) => self.system += offset,
            None => {}
        }
        adjustment
    }

    fn wait_for(&mut self, due: Due) {
        let (at, what) = self.sync.poll_timeout();
        assert_eq!(what, due);
        self.now = self.now.max(at);
    }

    fn round(&mut self) {
        self.wait_for(Due::Ask);
        self.sync.handle_round(self.now);
    }

    fn error(&self) -> i64 {
        self.system - TRUE
    }

    fn codes(&self) -> Vec<String> {
        self.sync.conditions(self.now).into_iter().map(|condition| condition.code).collect()
    }
}

#[test]
fn two_servers_that_agree_set_the_clock_at_once() {
    let mut house = House::new(4);
    assert_eq!(house.codes(), ["TIME-01"]);
    house.round();
    assert_eq!(house.sample(1, 0), None, "one may lie");
    assert_eq!(house.sync.source(), None);
    assert!(matches!(house.sample(2, 0), Some(Adjustment::Step(_))));
    assert_eq!((house.sync.source(), house.error()), (Some(Source::Servers(2)), 0));
    assert_eq!(house.sample(3, 0), None, "decided once a round");
    house.end();
    assert_eq!(house.sync.poll_timeout(), (house.now + INTERVAL, Due::Ask));
    assert_eq!(house.codes(), [""; 0]);
}

#[test]
fn a_liar_among_three_does_not_matter() {
    let mut house = House::new(3);
    house.round();
    assert_eq!(house.sample(1, 100_000), None);
    assert_eq!(house.sample(2, 0), None);
    assert!(house.sample(3, 0).is_some());
    assert_eq!(house.error(), 0);
}

#[test]
fn servers_that_disagree_are_not_believed() {
    let mut house = House::new(2);
    house.round();
    house.sample(1, 0);
    house.sample(2, 5000);
    assert_eq!(house.end(), None);
    assert_eq!(house.codes(), ["TIME-01", "TIME-02"]);
    house.round();
    house.sample(1, 0);
    house.sample(2, 0);
    assert_eq!((house.error(), house.codes()), (0, Vec::new()));
}

#[test]
fn a_single_server_is_believed_after_a_while() {
    let mut house = House::new(4);
    house.round();
    assert_eq!(house.sample(1, 0), None);
    assert_eq!(house.end(), None, "the round is over, and it was too short");
    while house.sync.source().is_none() {
        assert!(house.now - house.start < seconds(60), "in the second or third round");
        house.round();
        house.sample(1, 0);
        house.end();
    }
    assert!(house.now - house.start >= LONELY);
    assert_eq!((house.sync.source(), house.error()), (Some(Source::Server(server(1))), 0));

    let mut only = House::new(1);
    only.round();
    assert!(only.sample(1, 0).is_some(), "the owner names no other");
    assert_eq!(only.error(), 0);

    let mut slow = House::new(4);
    slow.round();
    slow.sample(1, 0);
    slow.wait_for(Due::Decide);
    assert!(slow.sync.decide(slow.reading(), slow.now).is_some());
    slow.wait_for(Due::GiveUp);
}

#[test]
fn no_time_below_the_floor_or_beyond_belief_is_believed() {
    for lie in [-2 * 86_400, 30 * 365 * 86_400, -(TRUE / SECOND)] {
        let mut house = House::new(2);
        house.round();
        house.sample(1, lie);
        house.sample(2, lie);
        assert_eq!((house.end(), house.sync.source()), (None, None), "{lie}");
        assert_eq!(house.codes().contains(&"TIME-03".to_owned()), lie < 0);
    }
}

#[test]
fn a_known_clock_is_nudged_and_stepped_only_by_many() {
    let mut house = House::new(4);
    house.round();
    house.sample(1, 0);
    house.sample(2, 0);
    house.end();
    house.system += SECOND / 10;
    house.round();
    house.sample(1, 0);
    assert_eq!(house.sample(2, 0), Some(Adjustment::Slew(-SECOND / 10)));
    house.end();

    house.round();
    house.sample(1, 86_400);
    house.now += LONELY;
    assert_eq!(house.end(), None, "one server cannot move a known clock by a day");
    assert_eq!(house.error(), 0);
    house.round();
    house.sample(1, 86_400);
    assert_eq!(house.error(), 0);
    house.sample(2, 86_400);
    assert_eq!(house.error(), 86_400 * SECOND, "two can");
}

#[test]
fn the_boards_clock_is_taken_when_it_can_be_true() {
    let now = Instant::now();
    for (board, system, set, source) in [
        (Some(TRUE), 0, Some(TRUE), Some(Source::Board)),
        (None, TRUE, None, Some(Source::Board)),
        (Some(0), 5 * SECOND, Some(BUILT.0 * SECOND), None),
        (Some(i64::MAX), i64::MIN, Some(BUILT.0 * SECOND), None),
    ] {
        let mut sync = TimeSync::new(BUILT, 2, now);
        assert_eq!((sync.handle_board(board, system), sync.source()), (set, source), "{board:?} {system}");
        assert_eq!(sync.worth_saving(TRUE), None);
    }
}

#[test]
fn rounds_that_fail_come_again_and_a_changed_network_at_once() {
    let mut house = House::new(2);
    let mut waits = Vec::new();
    for _ in 0..7 {
        house.round();
        house.end();
        waits.push((house.sync.poll_timeout().0 - house.now).as_secs());
    }
    assert_eq!(waits, [4, 8, 16, 32, 64, 64, 64]);
    assert_eq!(house.sync.conditions(house.now)[0].severity, crate::base::condition::Severity::Error);
    house.sync.handle_network(house.now);
    assert_eq!(house.sync.poll_timeout(), (house.now, Due::Ask));
}

#[test]
fn what_a_child_says_is_not_taken_on_trust() {
    let mut house = House::new(1);
    house.round();
    let reading = house.reading();
    let sound = TimeSample { server: server(1), at: reading.monotonic, time: TRUE, error: 0 };
    for sample in [
        TimeSample { at: reading.monotonic + 1, ..sound },
        TimeSample { at: 0, ..sound },
        TimeSample { error: u64::MAX, ..sound },
        TimeSample { time: i64::MAX, ..sound },
        TimeSample { time: i64::MIN, ..sound },
    ] {
        assert_eq!(house.sync.handle_sample(sample, reading, house.now), None, "{sample:?}");
    }
    for last in 0..=255 {
        house.sync.handle_shun(server(last), house.now);
    }
    assert_eq!(house.sync.shunned().len(), SERVERS_MAX);
    assert!(house.sync.handle_sample(sound, reading, house.now).is_some());
}

#[test]
fn the_floor_is_the_latest_of_what_is_known() {
    let day = |days: i64| UnixTime(BUILT.0 + days * 86_400);
    assert_eq!(floor(BUILT, None, None), BUILT);
    assert_eq!(floor(BUILT, Some(day(-9)), Some(day(3))), day(3));
    assert_eq!(floor(BUILT, Some(day(9)), Some(day(3))), day(9));
    assert_eq!(floor(BUILT, Some(day(365 * 50)), None), BUILT, "a broken file");
}

#[test]
fn only_a_vouched_time_is_saved() {
    let mut house = House::new(1);
    house.round();
    house.sample(1, 0);
    let saved = |house: &House, time: i64| house.sync.worth_saving(time).map(|time| time.0);
    assert_eq!(saved(&house, TRUE), Some(TRUE / SECOND));
    assert_eq!(saved(&house, TRUE + SAVE_LONELY), None, "a lone server cannot poison the floor");
    assert_eq!(saved(&house, 0), None);
}
