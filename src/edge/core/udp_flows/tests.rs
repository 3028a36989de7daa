use proptest::prelude::*;

use super::*;

const IDLE: Duration = Duration::from_mins(1);

fn flows(total: usize, per_source: usize) -> UdpFlows {
    UdpFlows::new(FlowLimits { flows: Ceilings { total, per_source }, idle: IDLE })
}

fn key(host: u8, port: u16) -> FlowKey {
    FlowKey { client: SocketAddr::from(([192, 0, 2, host], port)), local: IpAddr::from([127, 0, 0, 1]) }
}

fn begun(flows: &mut UdpFlows, key: FlowKey, now: Instant) -> SlotId {
    match flows.handle_inbound(key, now) {
        Inbound::Begun(id) => id,
        other => panic!("{key:?} gave {other:?}"),
    }
}

fn ended(flows: &mut UdpFlows) -> Vec<(SlotId, FlowEnding)> {
    std::iter::from_fn(|| flows.poll_ended()).collect()
}

#[test]
fn one_client_is_one_flow_per_address_it_speaks_to() {
    let (mut flows, now) = (flows(10, 10), Instant::now());
    let first = begun(&mut flows, key(1, 1000), now);
    assert_eq!(flows.handle_inbound(key(1, 1000), now), Inbound::Known(first));
    begun(&mut flows, key(1, 1001), now);
    let elsewhere = FlowKey { local: IpAddr::from([127, 0, 0, 2]), ..key(1, 1000) };
    let other = begun(&mut flows, elsewhere, now);
    assert_eq!(flows.handle_reply(other, now), Some(elsewhere));
    assert_eq!(flows.len(), 3);
}

#[test]
fn a_smaller_total_ends_the_surplus_and_a_larger_one_stays_within_the_limits() {
    let (mut flows, now) = (flows(3, 3), Instant::now());
    let answered = begun(&mut flows, key(1, 1), now);
    flows.handle_reply(answered, now);
    let silent = [begun(&mut flows, key(1, 2), now), begun(&mut flows, key(1, 3), now)];
    flows.set_total(1);
    assert_eq!(ended(&mut flows), silent.map(|id| (id, FlowEnding::Evicted)));
    assert_eq!(flows.handle_inbound(key(2, 1), now), Inbound::Refused(Denied::Full));
    flows.set_total(100);
    begun(&mut flows, key(2, 1), now);
    begun(&mut flows, key(2, 2), now);
    begun(&mut flows, key(2, 3), now);
    assert_eq!(flows.len(), 3, "one had to go");
}

#[test]
fn silence_ends_a_flow_and_either_side_keeps_it() {
    let (mut flows, start) = (flows(10, 10), Instant::now());
    let silent = begun(&mut flows, key(1, 1), start);
    let (listening, speaking) = (begun(&mut flows, key(1, 2), start), begun(&mut flows, key(1, 3), start));
    assert_eq!(flows.poll_timeout(), Some((start + IDLE, FlowEnding::Idle)));
    let later = start + Duration::from_secs(30);
    flows.handle_reply(listening, later);
    flows.handle_inbound(key(1, 3), later);
    flows.handle_timeout(start + IDLE.saturating_sub(Duration::from_millis(1)));
    assert_eq!(ended(&mut flows), []);
    flows.handle_timeout(start + IDLE);
    assert_eq!(ended(&mut flows), [(silent, FlowEnding::Idle)]);
    assert_eq!(flows.handle_reply(silent, later), None, "a late answer finds nobody");
    assert_eq!(flows.poll_timeout(), Some((later + IDLE, FlowEnding::Idle)));
    flows.handle_timeout(later + IDLE);
    let mut gone: Vec<SlotId> = ended(&mut flows).into_iter().map(|(id, _)| id).collect();
    gone.sort();
    assert_eq!(gone, [listening, speaking]);
    assert_eq!(flows.poll_timeout(), None);
    assert!(flows.is_empty() && flows.answered.is_empty() && flows.unanswered.is_empty());
}

#[test]
fn a_busy_flow_within_the_refresh_interval_is_not_ended_early() {
    let (mut flows, start) = (flows(10, 10), Instant::now());
    let busy = begun(&mut flows, key(1, 1), start);
    flows.handle_inbound(key(1, 1), start + REFRESH / 2);
    flows.handle_timeout(start + IDLE);
    assert_eq!(ended(&mut flows), []);
    flows.handle_timeout(start + IDLE + REFRESH / 2);
    assert_eq!(ended(&mut flows), [(busy, FlowEnding::Idle)]);
}

#[test]
fn a_full_table_lets_go_of_the_unanswered_first_and_never_of_one_in_use() {
    let (mut flows, start) = (flows(3, 3), Instant::now());
    let answered = begun(&mut flows, key(1, 1), start);
    flows.handle_reply(answered, start);
    let older = begun(&mut flows, key(2, 1), start + Duration::from_millis(1));
    let newer = begun(&mut flows, key(3, 1), start + Duration::from_millis(2));
    let now = start + Duration::from_millis(3);
    let fourth = begun(&mut flows, key(4, 1), now);
    assert_eq!(ended(&mut flows), [(older, FlowEnding::Evicted)]);
    for id in [newer, fourth] {
        flows.handle_reply(id, now);
    }
    assert_eq!(flows.handle_inbound(key(5, 1), now), Inbound::Refused(Denied::Full));
    let quiet = now + EVICTABLE_AFTER;
    for id in [newer, fourth] {
        flows.handle_reply(id, quiet);
    }
    begun(&mut flows, key(5, 1), quiet);
    assert_eq!(ended(&mut flows), [(answered, FlowEnding::Evicted)]);
    assert_eq!(flows.len(), 3);
}

#[test]
fn one_source_cannot_take_the_table() {
    let (mut flows, now) = (flows(10, 2), Instant::now());
    begun(&mut flows, key(1, 1), now);
    let second = begun(&mut flows, key(1, 2), now);
    assert_eq!(flows.handle_inbound(key(1, 3), now), Inbound::Refused(Denied::SourceFull));
    begun(&mut flows, key(2, 1), now);
    flows.remove(second);
    assert_eq!(ended(&mut flows), [(second, FlowEnding::Removed)]);
    begun(&mut flows, key(1, 3), now);
}

#[test]
fn a_source_at_its_ceiling_evicts_nobody_from_a_full_table() {
    let (mut flows, now) = (flows(3, 2), Instant::now());
    for (host, port) in [(1, 1), (1, 2), (2, 1)] {
        begun(&mut flows, key(host, port), now);
    }
    assert_eq!(flows.handle_inbound(key(1, 3), now), Inbound::Refused(Denied::SourceFull));
    assert_eq!(ended(&mut flows), []);
}

proptest! {
    /// Whatever happens, every flow that began ends at most once, and the books agree.
    #[test]
    fn the_books_agree(events in proptest::collection::vec((0..4u8, 0..6u8, 0..4u16, 0..40_000u64), 0..300)) {
        let (mut flows, mut now) = (flows(8, 3), Instant::now());
        let (mut open, mut all) = (std::collections::BTreeSet::new(), Vec::new());
        for (what, host, port, wait) in events {
            now += Duration::from_millis(wait / 4);
            match what {
                0 | 1 => if let Inbound::Begun(id) = flows.handle_inbound(key(host, port), now) {
                    prop_assert!(open.insert(id));
                    all.push(id);
                },
                2 => if let Some(&id) = all.get(usize::from(port) * 5 + usize::from(host)) {
                    prop_assert_eq!(flows.handle_reply(id, now).is_some(), open.contains(&id));
                },
                _ => flows.handle_timeout(now),
            }
            while let Some((id, _)) = flows.poll_ended() {
                prop_assert!(open.remove(&id), "ended twice");
            }
            prop_assert_eq!(flows.len(), open.len());
            prop_assert_eq!(flows.answered.len() + flows.unanswered.len(), open.len());
            prop_assert_eq!(flows.admissions.total(), open.len());
            prop_assert!(open.len() <= 8);
        }
        flows.handle_timeout(now + IDLE);
        prop_assert!(flows.is_empty());
    }
}
