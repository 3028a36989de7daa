use super::*;

const DAY: i64 = 86_400;
const TODAY: UnixTime = UnixTime(1_790_000_000);

fn book(names: &[&str], now: Instant) -> OrderBook {
    let mut book = OrderBook::new(SeededRng::new([3; 32]));
    book.set_names(names.iter().copied(), now);
    book
}

fn ninety_days() -> Validity {
    Validity { not_before: TODAY, not_after: UnixTime(TODAY.0 + 90 * DAY) }
}

#[test]
fn nothing_is_ordered_while_the_clock_is_unknown() {
    let now = Instant::now();
    let book = book(&["a.example.com"], now);
    assert_eq!(book.poll_order(now, WallTime::Unknown), None);
    assert_eq!(book.poll_timeout(now, WallTime::Unknown), None);
    assert_eq!(book.poll_order(now, WallTime::Known(TODAY)).as_deref(), Some("a.example.com"));
}

#[test]
fn a_certificate_rests_until_two_thirds_of_its_life() {
    let now = Instant::now();
    let mut book = book(&["a.example.com"], now);
    book.handle_certificate("a.example.com", ninety_days(), now);
    let before = WallTime::Known(UnixTime(TODAY.0 + 60 * DAY - 1));
    assert_eq!(book.poll_order(now, before), None);
    assert_eq!(
        book.poll_timeout(now, before),
        Some((now + Duration::from_secs(1), "look whether a certificate is due for renewal"))
    );
    assert_eq!(book.poll_timeout(now, WallTime::Known(TODAY)).map(|(at, _)| at), Some(now + LONGEST_SLEEP));
    assert!(book.poll_order(now, WallTime::Known(UnixTime(TODAY.0 + 60 * DAY))).is_some());
}

#[test]
fn five_failures_fit_in_the_first_hour_and_waits_end_at_six_hours() {
    let start = Instant::now();
    let mut now = start;
    let mut book = book(&["a.example.com"], now);
    let mut attempts_in_first_hour = 0;
    for _ in 0..20 {
        assert_eq!(book.poll_order(now, WallTime::Known(TODAY)).as_deref(), Some("a.example.com"));
        attempts_in_first_hour += usize::from(now - start < Duration::from_hours(1));
        let delay = book.handle_failure("a.example.com", Failure::Ordinary, now);
        assert!(delay >= FIRST_DELAY && delay <= LONGEST_DELAY.mul_f64(1.25), "{delay:?}");
        let just_before = now + delay.saturating_sub(Duration::from_millis(1));
        assert_eq!(book.poll_order(just_before, WallTime::Known(TODAY)), None);
        now += delay;
    }
    assert_eq!(attempts_in_first_hour, 5);
    assert!(book.handle_failure("a.example.com", Failure::Ordinary, now) >= LONGEST_DELAY);
}

#[test]
fn an_authority_that_did_not_look_is_asked_again_soon_and_then_ever_less() {
    let start = Instant::now();
    let mut now = start;
    let mut book = book(&["a.example.com"], now);
    let mut delays = Vec::new();
    for _ in 0..20 {
        delays.push(book.handle_failure("a.example.com", Failure::Unseen, now));
        now += delays[delays.len() - 1];
    }
    assert!(delays[0] >= Duration::from_secs(5) && delays[0] < Duration::from_secs(7), "{delays:?}");
    assert!(delays[..5].iter().sum::<Duration>() < Duration::from_mins(4), "{delays:?}");
    assert!(delays[19] >= LONGEST_DELAY_UNSEEN, "{delays:?}");
    assert!(delays[19] <= LONGEST_DELAY_UNSEEN.mul_f64(1.25), "{delays:?}");
    let refused = book.handle_failure("a.example.com", Failure::Ordinary, now);
    assert!(
        refused <= FIRST_DELAY.mul_f64(1.25),
        "it is the first that the authority looked at: {refused:?}"
    );
    assert_eq!(book.standings(now, WallTime::Known(TODAY))[0].failures, 21);
}

#[test]
fn a_rate_limit_waits_an_hour_at_once() {
    let now = Instant::now();
    let mut book = book(&["a.example.com"], now);
    assert!(book.handle_failure("a.example.com", Failure::RateLimited, now) >= RATE_LIMIT_DELAY);
}

#[test]
fn a_failing_name_does_not_hold_up_the_others() {
    let now = Instant::now();
    let mut book = book(&["a.example.com", "b.example.com"], now);
    let wall = WallTime::Known(UnixTime(TODAY.0 + 61 * DAY));
    book.handle_certificate("a.example.com", ninety_days(), now);
    assert_eq!(book.poll_order(now, wall).as_deref(), Some("b.example.com"), "no certificate comes first");
    book.handle_failure("b.example.com", Failure::Ordinary, now);
    assert_eq!(book.poll_order(now, wall).as_deref(), Some("a.example.com"));
}

#[test]
fn a_reload_keeps_the_standing_of_names_that_stay() {
    let now = Instant::now();
    let mut book = book(&["a.example.com", "b.example.com"], now);
    book.handle_failure("a.example.com", Failure::Ordinary, now);
    book.set_names(["a.example.com", "c.example.com"], now);
    assert_eq!(book.poll_order(now, WallTime::Known(TODAY)).as_deref(), Some("c.example.com"));
    book.handle_certificate("c.example.com", ninety_days(), now);
    assert_eq!(
        book.poll_order(now, WallTime::Known(TODAY)),
        None,
        "a still waits after its failure, b is gone"
    );
}

#[test]
fn names_are_bounded_and_strange_reports_change_nothing() {
    let now = Instant::now();
    let names: Vec<String> = (0..MAX_NAMES + 5).map(|n| format!("n{n}.example.com")).collect();
    let mut book = OrderBook::new(SeededRng::new([0; 32]));
    book.set_names(names.iter().map(String::as_str), now);
    assert_eq!(book.names.len(), MAX_NAMES);
    book.handle_certificate("stranger.example.com", ninety_days(), now);
    assert_eq!(book.handle_failure("stranger.example.com", Failure::Ordinary, now), Duration::ZERO);
    assert_eq!(book.names.len(), MAX_NAMES);
}

#[test]
fn the_next_try_is_told_in_wall_time() {
    let now = Instant::now();
    let mut book = book(&["a.example.com", "b.example.com"], now);
    book.handle_certificate("a.example.com", ninety_days(), now);
    let delay = book.handle_failure("b.example.com", Failure::Ordinary, now);
    let standings = book.standings(now, WallTime::Known(TODAY));
    assert_eq!(standings[0].next_try, Some(ninety_days().renew_at()));
    assert_eq!((standings[1].failures, standings[1].next_try), (1, Some(TODAY.saturating_add(delay))));
    assert_eq!(book.standings(now, WallTime::Unknown)[1].next_try, None);
}
