use super::*;

const LAN: &str = "192.168.1.2:41641";
const WAN: &str = "198.51.100.7:41641";

struct Bench {
    path: Path,
    rng: SeededRng,
    now: Instant,
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("literal")
}

fn bench(endpoints: &[&str]) -> Bench {
    let now = Instant::now();
    let mut path = Path::default();
    let endpoints: Vec<_> = endpoints.iter().map(|text| address(text)).collect();
    path.update_listed(&endpoints, true, now);
    Bench { path, rng: SeededRng::new([1; 32]), now }
}

impl Bench {
    fn after(&mut self, duration: Duration) -> &mut Self {
        self.now += duration;
        self
    }

    fn discover(&mut self) -> Discovery {
        self.path.discover(self.now, &mut self.rng)
    }

    fn timeout(&mut self) -> Discovery {
        self.path.handle_timeout(self.now, &mut self.rng)
    }

    fn route(&mut self) -> Route {
        self.path.route(self.now)
    }

    /// Answers the ping among `pings` that went to `to`, after `latency`.
    fn pong(&mut self, pings: &[PingRequest], to: &str, latency: Duration) -> Option<Duration> {
        let ping = pings.iter().find(|ping| ping.to == address(to)).expect("was pinged");
        self.now += latency;
        self.path.handle_pong(ping.tx_id, ping.to, self.now)
    }

    /// Discovers and proves `to`.
    fn prove(&mut self, to: &str) {
        let discovery = self.discover();
        self.pong(&discovery.pings, to, Duration::from_millis(1)).expect("an answer to a ping");
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_relay_serves_until_a_pong_proves_an_address() {
    let mut bench = bench(&[LAN, WAN]);
    assert_eq!(bench.route(), Route { direct: None, relay: true, discover: true });
    let discovery = bench.discover();
    assert_eq!(discovery.pings.len(), 2);
    assert!(discovery.call_me_maybe);
    assert_eq!(bench.route(), Route { direct: None, relay: true, discover: false }, "throttled");
    assert_eq!(bench.pong(&discovery.pings, LAN, MILLISECOND), Some(MILLISECOND));
    assert_eq!(bench.route(), Route { direct: Some(address(LAN)), relay: false, discover: false });
    assert_eq!(bench.path.state(bench.now), PathState::Direct);
}

#[test]
fn without_pongs_trust_ends_and_both_ways_are_used() {
    let mut bench = bench(&[LAN]);
    bench.route();
    bench.prove(LAN);
    bench.after(TRUST_DURATION.saturating_sub(MILLISECOND));
    assert!(!bench.route().relay);
    bench.after(MILLISECOND);
    assert_eq!(bench.route(), Route { direct: Some(address(LAN)), relay: true, discover: true });
    assert_eq!(bench.path.state(bench.now), PathState::Relay);
}

#[test]
fn an_address_that_stays_silent_is_given_up_and_comes_back_with_a_pong() {
    let mut bench = bench(&[LAN]);
    bench.route();
    bench.prove(LAN);
    for _ in 0..4 {
        bench.after(HEARTBEAT_INTERVAL).timeout();
        bench.route();
    }
    assert_eq!(bench.route(), Route { direct: None, relay: true, discover: false });
    let discovery = bench.after(HEARTBEAT_INTERVAL).timeout();
    bench.pong(&discovery.pings, LAN, MILLISECOND).expect("discovery goes on");
    assert_eq!(bench.route(), Route { direct: Some(address(LAN)), relay: false, discover: false });
}

#[test]
fn without_a_relay_a_silent_address_is_kept() {
    let mut path = Path::default();
    let now = Instant::now();
    path.update_listed(&[address(LAN)], false, now);
    let mut bench = Bench { path, rng: SeededRng::new([1; 32]), now };
    bench.route();
    bench.prove(LAN);
    for _ in 0..6 {
        bench.after(HEARTBEAT_INTERVAL).timeout();
        assert_eq!(bench.route().direct, Some(address(LAN)));
    }
}

#[test]
fn an_address_that_the_kernel_cannot_reach_is_not_trusted() {
    let mut bench = bench(&[LAN]);
    bench.route();
    bench.prove(LAN);
    let now = bench.now;
    bench.path.handle_unreachable(address(WAN), now);
    assert!(!bench.route().relay, "another address");
    bench.path.handle_unreachable(address(LAN), now);
    assert!(bench.route().relay);
}

#[test]
fn a_pong_counts_only_from_the_pinged_address_and_once() {
    let mut bench = bench(&[LAN]);
    let ping = bench.discover().pings[0];
    let now = bench.now;
    assert_eq!(bench.path.handle_pong(ping.tx_id, address(WAN), now), None);
    assert_eq!(bench.path.handle_pong(TxId([0; 12]), address(LAN), now), None);
    assert!(bench.path.handle_pong(ping.tx_id, address(LAN), now).is_some());
    assert_eq!(bench.path.handle_pong(ping.tx_id, address(LAN), now), None);
}

#[test]
fn a_ping_that_is_answered_too_late_proves_nothing() {
    let mut bench = bench(&[LAN]);
    bench.route();
    let pings = bench.discover().pings;
    bench.after(PING_TIMEOUT).timeout();
    assert_eq!(bench.pong(&pings, LAN, MILLISECOND), None);
}

#[test]
fn heartbeats_keep_an_active_path_and_end_with_it() {
    let mut bench = bench(&[LAN]);
    bench.route();
    bench.prove(LAN);
    let mut heartbeats = 0;
    while let Some(due) = bench.path.poll_timeout() {
        bench.now = bench.now.max(due);
        let pings = bench.timeout().pings;
        heartbeats += pings.len();
        if !pings.is_empty() {
            assert!(bench.pong(&pings, LAN, MILLISECOND).is_some());
        }
    }
    assert_eq!(heartbeats, 14, "every 3 s for 45 s");
    assert_eq!(bench.path.state(bench.now), PathState::Idle);
}

#[test]
fn a_better_address_takes_over_and_a_worse_one_does_not() {
    let mut bench = bench(&[LAN, WAN]);
    bench.route();
    let pings = bench.discover().pings;
    bench.pong(&pings, WAN, 10 * MILLISECOND);
    assert_eq!(bench.route().direct, Some(address(WAN)));
    bench.pong(&pings, LAN, Duration::ZERO);
    assert_eq!(bench.route().direct, Some(address(LAN)), "as fast, and private");
    bench.after(DISCOVERY_INTERVAL);
    let pings = bench.discover().pings;
    bench.pong(&pings, WAN, 9 * MILLISECOND);
    assert_eq!(bench.route().direct, Some(address(LAN)), "the private address keeps its points");
}

#[test]
fn a_worse_address_takes_over_when_the_best_falls_silent() {
    let mut bench = bench(&[LAN, WAN]);
    bench.route();
    bench.prove(LAN);
    bench.after(TRUST_DURATION);
    let pings = bench.discover().pings;
    bench.pong(&pings, WAN, 200 * MILLISECOND);
    assert_eq!(bench.route(), Route { direct: Some(address(WAN)), relay: false, discover: false });
}

#[test]
fn a_good_path_is_compared_again_only_when_it_is_slow() {
    for (latency, expected) in [(20 * MILLISECOND, true), (MILLISECOND, false)] {
        let mut bench = bench(&[LAN, WAN]);
        bench.route();
        let pings = bench.discover().pings;
        bench.pong(&pings, LAN, latency);
        let mut compared = false;
        let end = bench.now + UPGRADE_INTERVAL + HEARTBEAT_INTERVAL;
        while bench.now < end {
            bench.after(HEARTBEAT_INTERVAL).route();
            let pings = bench.timeout().pings;
            compared |= pings.iter().any(|ping| ping.to == address(WAN));
            bench.pong(&pings, LAN, latency);
        }
        assert_eq!(compared, expected, "{latency:?}");
    }
}

#[test]
fn a_call_me_maybe_lifts_the_throttle_once_per_second() {
    let mut bench = bench(&[LAN]);
    assert_eq!(bench.discover().pings.len(), 1);
    let now = bench.now;
    assert!(bench.path.ping_candidates(now, &mut bench.rng).is_empty());
    assert!(bench.path.handle_call_me_maybe(&[address(WAN)], now));
    assert_eq!(bench.path.ping_candidates(now, &mut bench.rng).len(), 2);
    assert!(!bench.path.handle_call_me_maybe(&[address(WAN)], now), "too often");
}

#[test]
fn a_pings_source_becomes_a_candidate_that_times_out() {
    let mut bench = bench(&[]);
    bench.route();
    let now = bench.now;
    assert!(bench.path.handle_ping(address(WAN), now));
    let ping = bench.path.ping(address(WAN), now, &mut bench.rng);
    assert!(!bench.path.handle_ping(address(WAN), now), "pinged a moment ago");
    assert!(bench.path.handle_pong(ping.tx_id, address(WAN), now).is_some());
    assert_eq!(bench.route().direct, Some(address(WAN)));
    bench.after(SESSION_ACTIVE_TIMEOUT);
    bench.route();
    bench.timeout();
    assert_eq!(bench.route().direct, None);
}

#[test]
fn what_the_netmap_no_longer_lists_goes_unless_it_still_answers() {
    let mut bench = bench(&[LAN, WAN]);
    bench.route();
    bench.prove(LAN);
    let now = bench.now;
    bench.path.update_listed(&[], true, now);
    assert_eq!(bench.route().direct, Some(address(LAN)), "it answered a moment ago");
    assert_eq!(bench.path.candidates.len(), 1);
}

#[test]
fn a_reset_forgets_what_was_learnt_and_proven() {
    let mut bench = bench(&[LAN]);
    bench.route();
    bench.prove(LAN);
    let now = bench.now;
    bench.path.handle_ping(address(WAN), now);
    bench.path.reset();
    assert_eq!(bench.route(), Route { direct: None, relay: true, discover: true });
    assert_eq!(bench.discover().pings.len(), 1);
}

#[test]
fn candidates_and_pings_are_bounded_and_the_best_stays() {
    let mut bench = bench(&[]);
    bench.route();
    let now = bench.now;
    bench.path.handle_ping(address(WAN), now);
    bench.prove(WAN);
    for port in 1..2000 {
        bench.after(MILLISECOND);
        let now = bench.now;
        bench.path.handle_ping(SocketAddr::from(([203, 0, 113, 1], port)), now);
        bench.discover();
    }
    assert!(bench.path.candidates.len() <= MAX_LEARNT);
    assert!(bench.path.pending.len() <= MAX_PENDING_PINGS);
    assert_eq!(bench.route().direct, Some(address(WAN)));
    let many: Vec<_> = (1..200).map(|port| SocketAddr::from(([203, 0, 113, 2], port))).collect();
    let now = bench.now;
    bench.path.update_listed(&many, true, now);
    assert!(bench.path.candidates.len() <= MAX_LEARNT + MAX_LISTED);
    bench.after(SECOND);
    let now = bench.now;
    assert!(bench.path.handle_call_me_maybe(&many, now));
    assert!(bench.path.candidates.len() <= MAX_LEARNT + MAX_LISTED);
}

#[test]
fn without_relay_and_address_there_is_no_way() {
    let mut path = Path::default();
    assert_eq!(path.route(Instant::now()), Route { direct: None, relay: false, discover: true });
    path.handle_relay();
    assert!(path.route(Instant::now()).relay);
}
