//! One round of asking for the time, as a pure state machine: servers by address first, then by name, each question on a
//! socket of its own. It runs in a child without privileges and judges nothing: that is [`super::time_sync`]'s.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::base::rng::SeededRng;
use crate::wire::dns_lookup::{self, Record};
use crate::wire::errand::{MonotonicNanos, TimeOrder, TimeReport, TimeSample};
use crate::wire::sntp::{self, Nonce};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions to one server, while it does not answer.
const TRIES: u8 = 3;
/// With so many answers nobody else need be asked: one may be wrong.
const ENOUGH: usize = 3;
/// Names are looked up after this time when the addresses have not given enough.
const NAMES_AFTER: Duration = Duration::from_secs(1);
/// Servers asked in one round.
pub const SERVERS_MAX: usize = 16;
/// Addresses taken of one name and kind.
const PER_NAME: usize = 2;
/// Questions on their way at a time: servers, and two look-ups a name.
pub const QUESTIONS_MAX: usize = 32;

/// Names a question, and the socket it went out from.
pub type QuestionId = u32;

/// A datagram to send from a fresh socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub id: QuestionId,
    pub to: SocketAddr,
    pub datagram: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Time(Nonce),
    Addresses { name: String, record: Record },
}

#[derive(Debug)]
struct Pending {
    question: Question,
    subject: Subject,
    sent: Instant,
    /// Questions about this before.
    tries: u8,
}

/// A round of questions.
#[derive(Debug)]
pub struct TimePoll {
    order: TimeOrder,
    rng: SeededRng,
    started: Instant,
    asked: BTreeSet<IpAddr>,
    answered: usize,
    looked_up: bool,
    next_id: QuestionId,
    pending: Vec<Pending>,
    outgoing: VecDeque<Question>,
    reports: VecDeque<TimeReport>,
    is_done: bool,
}

impl TimePoll {
    /// Begins the round: the addresses of `order` are asked at once.
    #[must_use]
    pub fn new(order: TimeOrder, now: Instant) -> Self {
        let rng = SeededRng::new(order.seed);
        let addresses = order.addresses.clone();
        let mut poll = Self {
            order,
            rng,
            started: now,
            asked: BTreeSet::new(),
            answered: 0,
            looked_up: false,
            next_id: 0,
            pending: Vec::new(),
            outgoing: VecDeque::new(),
            reports: VecDeque::new(),
            is_done: false,
        };
        for server in addresses {
            poll.ask_time(server, now);
        }
        poll.proceed(now);
        poll
    }

    /// A datagram came back to the socket of question `id`, at `at` of the kernel's monotonic clock.
    pub fn handle_answer(&mut self, id: QuestionId, datagram: &[u8], now: Instant, at: MonotonicNanos) {
        let Some(index) = self.pending.iter().position(|pending| pending.question.id == id) else { return };
        match self.pending[index].subject.clone() {
            Subject::Time(nonce) => self.handle_time(index, datagram, nonce, now, at),
            Subject::Addresses { record, .. } => self.handle_addresses(index, datagram, record, now),
        }
        self.proceed(now);
    }

    /// The question `id` could not be sent, or its server refused it: there is no way to it.
    pub fn handle_unreachable(&mut self, id: QuestionId, now: Instant) {
        self.pending.retain(|pending| pending.question.id != id);
        self.proceed(now);
    }

    /// Asks again, or gives up, what was not answered by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let (late, waiting) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition::<Vec<_>, _>(|pending| pending.sent + PATIENCE <= now);
        self.pending = waiting;
        for pending in late.into_iter().filter(|pending| pending.tries + 1 < TRIES) {
            self.ask_again(pending, now);
        }
        self.proceed(now);
    }

    /// When [`TimePoll::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let names = (!self.looked_up).then_some(self.started + NAMES_AFTER);
        let answers = self.pending.iter().map(|pending| pending.sent + PATIENCE);
        if self.is_done { None } else { answers.chain(names).min() }
    }

    /// The next datagram to send.
    pub fn poll_question(&mut self) -> Option<Question> {
        self.outgoing.pop_front()
    }

    /// The next thing to report.
    pub fn poll_report(&mut self) -> Option<TimeReport> {
        self.reports.pop_front()
    }

    /// Whether an answer to the question `id` is still waited for; its socket is of no use otherwise.
    #[must_use]
    pub fn is_pending(&self, id: QuestionId) -> bool {
        self.pending.iter().any(|pending| pending.question.id == id)
    }

    /// Looks names up when it is time, and ends the round when nobody is left to wait for.
    fn proceed(&mut self, now: Instant) {
        let is_enough = self.answered >= ENOUGH;
        let is_time = self.pending.is_empty() || now >= self.started + NAMES_AFTER;
        if !self.looked_up && (is_enough || is_time) {
            self.looked_up = true;
            if !is_enough {
                self.look_up_names(now);
            }
        }
        if self.looked_up && self.pending.is_empty() && !self.is_done {
            self.is_done = true;
            let asked = u8::try_from(self.asked.len()).unwrap_or(u8::MAX);
            self.reports.push_back(TimeReport::Done { asked });
        }
    }

    fn look_up_names(&mut self, now: Instant) {
        for name in self.order.names.clone() {
            for record in [Record::A, Record::Aaaa] {
                self.ask_addresses(&name, record, 0, now);
            }
        }
    }

    fn ask_time(&mut self, server: SocketAddr, now: Instant) {
        let is_new = !self.order.shunned.contains(&server.ip()) && !self.asked.contains(&server.ip());
        if is_new && self.asked.len() < SERVERS_MAX {
            self.asked.insert(server.ip());
            let nonce = self.rng.bytes();
            self.send(server, sntp::encode_question(nonce).to_vec(), Subject::Time(nonce), 0, now);
        }
    }

    /// The servers of names take turns.
    fn ask_addresses(&mut self, name: &str, record: Record, tries: u8, now: Instant) {
        let servers = &self.order.dns;
        let Some(server) = servers.get(usize::from(tries) % servers.len().max(1)).copied() else { return };
        let id = u16::from_be_bytes(self.rng.bytes());
        let Some(datagram) = dns_lookup::encode_question(id, name, record) else { return };
        self.send(server, datagram, Subject::Addresses { name: name.to_owned(), record }, tries, now);
    }

    fn ask_again(&mut self, pending: Pending, now: Instant) {
        let tries = pending.tries + 1;
        match pending.subject {
            Subject::Time(_) => {
                let nonce = self.rng.bytes();
                let datagram = sntp::encode_question(nonce).to_vec();
                self.send(pending.question.to, datagram, Subject::Time(nonce), tries, now);
            }
            Subject::Addresses { name, record } => self.ask_addresses(&name, record, tries, now),
        }
    }

    fn send(&mut self, to: SocketAddr, datagram: Vec<u8>, subject: Subject, tries: u8, now: Instant) {
        if self.pending.len() >= QUESTIONS_MAX {
            return;
        }
        let question = Question { id: self.next_id, to, datagram };
        self.next_id = self.next_id.wrapping_add(1);
        self.outgoing.push_back(question.clone());
        self.pending.push(Pending { question, subject, sent: now, tries });
    }

    /// A stray answer leaves the question open; any other ends it.
    fn handle_time(&mut self, index: usize, datagram: &[u8], nonce: Nonce, now: Instant, at: MonotonicNanos) {
        let answer = match sntp::decode_answer(datagram, nonce) {
            Err(sntp::Refusal::Malformed | sntp::Refusal::Nonce) => return,
            other => other,
        };
        let pending = self.pending.swap_remove(index);
        let server = pending.question.to.ip();
        if answer.is_err_and(sntp::Refusal::is_kiss) {
            self.reports.push_back(TimeReport::Shun(server));
        }
        let took = now.saturating_duration_since(pending.sent);
        let told = answer.ok().and_then(|answer| answer.time(took, self.order.near));
        if let Some((time, error)) = told {
            let error = u64::try_from(error.as_nanos()).unwrap_or(u64::MAX);
            self.answered += 1;
            self.reports.push_back(TimeReport::Sample(TimeSample { server, at, time, error }));
        }
    }

    fn handle_addresses(&mut self, index: usize, datagram: &[u8], record: Record, now: Instant) {
        let found = match dns_lookup::decode_answer(datagram, &self.pending[index].question.datagram) {
            Err(dns_lookup::LookupError::Stray) => return,
            other => other,
        };
        let pending = self.pending.swap_remove(index);
        match (found, pending.subject) {
            (Ok(addresses), _) => {
                for address in addresses.into_iter().take(PER_NAME) {
                    self.ask_time(SocketAddr::new(address, sntp::PORT), now);
                }
            }
            // Another server of names may do better.
            (Err(dns_lookup::LookupError::Failed), Subject::Addresses { name, .. })
                if pending.tries + 1 < TRIES =>
            {
                self.ask_addresses(&name, record, pending.tries + 1, now);
            }
            (Err(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sntp::{Answer, Stamp};
    use proptest::prelude::*;

    const NOW: i64 = 1_795_348_800_000_000_000;

    fn socket(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn order() -> TimeOrder {
        TimeOrder {
            addresses: vec![socket("192.0.2.1:123"), socket("192.0.2.2:123"), socket("192.0.2.1:123")],
            names: vec!["time.example".into()],
            dns: vec![socket("192.0.2.53:53"), socket("192.0.2.54:53")],
            shunned: vec!["192.0.2.9".parse().expect("an address")],
            near: NOW,
            seed: [5; 32],
        }
    }

    fn questions(poll: &mut TimePoll) -> Vec<Question> {
        std::iter::from_fn(|| poll.poll_question()).collect()
    }

    fn reports(poll: &mut TimePoll) -> Vec<TimeReport> {
        std::iter::from_fn(|| poll.poll_report()).collect()
    }

    fn time_answer(question: &Question) -> Vec<u8> {
        let nonce = *question.datagram.last_chunk().expect("a question");
        let now = Stamp::at(NOW);
        let answer = Answer { received: now, sent: now, error: Duration::from_millis(1), stratum: 1 };
        sntp::encode_answer(&answer, nonce).to_vec()
    }

    /// One A record for whatever name was asked.
    fn name_answer(question: &Question, address: [u8; 4]) -> Vec<u8> {
        let mut out = question.datagram.clone();
        out[2..4].copy_from_slice(&[0x81, 0x80]);
        out[7] = 1;
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        out.extend(address);
        out
    }

    #[test]
    fn addresses_come_first_and_names_when_they_do_not_suffice() {
        let start = Instant::now();
        let mut poll = TimePoll::new(order(), start);
        let first = questions(&mut poll);
        assert_eq!(first.iter().map(|question| question.to).collect::<Vec<_>>(), order().addresses[..2]);
        let later = start + Duration::from_millis(40);
        for question in &first {
            poll.handle_answer(question.id, &time_answer(question), later, 77);
        }
        let told = reports(&mut poll);
        let [TimeReport::Sample(sample), TimeReport::Sample(_)] = told[..] else { panic!("{told:?}") };
        assert_eq!((sample.server, sample.at, sample.time), (first[0].to.ip(), 77, NOW + 20_000_000));
        assert!((20_900_000..=21_000_000).contains(&sample.error), "{}", sample.error);

        let look_ups = questions(&mut poll);
        assert_eq!(look_ups.iter().map(|question| question.to.port()).collect::<Vec<_>>(), [53, 53]);
        poll.handle_answer(look_ups[0].id, &name_answer(&look_ups[0], [192, 0, 2, 9]), later, 0);
        assert_eq!(questions(&mut poll), [], "this one wants no questions");
        poll.handle_answer(look_ups[1].id, &name_answer(&look_ups[1], [192, 0, 2, 3]), later, 0);
        assert_eq!(questions(&mut poll), [], "an A record does not answer AAAA");
        assert_eq!(reports(&mut poll), [TimeReport::Done { asked: 2 }]);
        assert_eq!(poll.poll_timeout(), None);
    }

    #[test]
    fn three_answers_are_enough() {
        let start = Instant::now();
        let addresses = ["192.0.2.1:123", "192.0.2.2:123", "192.0.2.3:123"].map(socket).to_vec();
        let mut poll = TimePoll::new(TimeOrder { addresses, ..order() }, start);
        for question in questions(&mut poll) {
            poll.handle_answer(question.id, &time_answer(&question), start, 0);
        }
        assert_eq!(questions(&mut poll), []);
        assert_eq!(reports(&mut poll).last(), Some(&TimeReport::Done { asked: 3 }));
    }

    #[test]
    fn silence_is_met_three_times_and_then_the_round_ends() {
        let start = Instant::now();
        let mut poll = TimePoll::new(order(), start);
        let mut sent = Vec::new();
        while let Some(at) = poll.poll_timeout() {
            sent.extend(questions(&mut poll));
            poll.handle_timeout(at);
            assert!(at - start < Duration::from_secs(10));
        }
        sent.extend(questions(&mut poll));
        assert_eq!(sent.len(), 2 * 3 + 2 * 3, "two servers, two kinds of address");
        let nonces: BTreeSet<Vec<u8>> = sent.iter().map(|question| question.datagram.clone()).collect();
        assert_eq!(nonces.len(), sent.len(), "no question is repeated as it was");
        let dns: BTreeSet<SocketAddr> =
            sent.iter().map(|question| question.to).filter(|to| to.port() == 53).collect();
        assert_eq!(dns.len(), 2, "the servers of names take turns");
        assert_eq!(reports(&mut poll), [TimeReport::Done { asked: 2 }]);
    }

    #[test]
    fn a_refusal_ends_the_question_and_a_stray_does_not() {
        let start = Instant::now();
        let mut poll = TimePoll::new(TimeOrder { names: Vec::new(), ..order() }, start);
        let both = questions(&mut poll);
        let mut kiss = time_answer(&both[0]);
        kiss[1] = 0;
        kiss[12..16].copy_from_slice(b"DENY");
        poll.handle_answer(both[0].id, &time_answer(&both[1]), start, 0);
        assert!(poll.is_pending(both[0].id), "the answer to another question");
        poll.handle_answer(both[0].id, &kiss, start, 0);
        assert!(!poll.is_pending(both[0].id));
        poll.handle_unreachable(both[1].id, start);
        let told = reports(&mut poll);
        assert_eq!(told, [TimeReport::Shun(both[0].to.ip()), TimeReport::Done { asked: 2 }]);
    }

    proptest! {
        #[test]
        fn no_answer_panics(datagrams in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..120)), 0..20)) {
            let start = Instant::now();
            let mut poll = TimePoll::new(order(), start);
            for (id, datagram) in datagrams {
                let known = questions(&mut poll);
                if let Some(question) = known.get(usize::from(id)) {
                    poll.handle_answer(question.id, &datagram, start, 0);
                }
                poll.handle_answer(u32::from(id), &datagram, start, 0);
                poll.handle_timeout(start + Duration::from_secs(u64::from(id)));
                prop_assert!(poll.pending.len() <= QUESTIONS_MAX);
            }
        }
    }
}
