use super::*;
use crate::wire::dhcp::Route;
use crate::wire::errand::LeaseRoute;

const BOX: Hardware = [2, 0, 0, 0, 0, 1];
const ROUTER: Hardware = [2, 0, 0, 0, 0, 9];

fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// A client and the time.
struct House {
    client: LeaseClient,
    start: Instant,
    now: Instant,
}

impl House {
    fn new(remembered: Option<Lease>) -> Self {
        let now = Instant::now();
        let identity = Client { hardware: BOX, host_name: "genkan".into() };
        let mut client = LeaseClient::new(identity, remembered, SeededRng::new([3; 32]), now);
        client.handle_link(true, now);
        Self { client, start: now, now }
    }

    /// Lets time pass until the client sends something.
    fn next_question(&mut self) -> Transmit {
        for _ in 0..1000 {
            if let Some(transmit) = self.client.poll_transmit() {
                return transmit;
            }
            self.step();
        }
        panic!("the client gave up: {:?}", self.client);
    }

    /// Lets time pass until the client reports something, with every question unanswered.
    fn next_report(&mut self) -> LeaseReport {
        for _ in 0..1000 {
            if let Some(report) = self.client.poll_report() {
                return report;
            }
            self.client.poll_transmit();
            self.step();
        }
        panic!("nothing to report: {:?}", self.client);
    }

    fn step(&mut self) {
        let (at, _) = self.client.poll_timeout().expect("something is always due");
        assert!(at >= self.now || at >= self.start, "no deadline lies before the start");
        self.now = self.now.max(at);
        self.client.handle_timeout(self.now);
    }

    fn answer(&mut self, question: &Transmit, kind: Kind) {
        let answer = answer(&question.message, kind);
        self.client.handle_message(&answer, ROUTER, self.now);
    }

    /// From nothing to an address, with a router that answers at once.
    fn bind(&mut self) -> Lease {
        let discover = self.next_question();
        self.answer(&discover, Kind::Offer);
        let request = self.next_question();
        self.answer(&request, Kind::Ack);
        let Some(LeaseReport::Bound(lease)) = self.client.poll_report() else { panic!("no lease") };
        lease
    }

    fn waited(&self) -> Duration {
        self.now - self.start
    }
}

fn answer(question: &Message, kind: Kind) -> Message {
    let options = Options {
        mask: Some(ip("255.255.255.0")),
        routers: vec![ip("192.168.1.1")],
        dns: vec![ip("192.168.1.1")],
        lease: Some(1000),
        server: Some(ip("192.168.1.1")),
        ..Options::default()
    };
    Message { is_reply: true, kind, given: ip("192.168.1.10"), options, ..question.clone() }
}

#[test]
fn an_address_is_had_by_four_messages() {
    let mut house = House::new(None);
    let discover = house.next_question();
    assert!(house.waited() < seconds(1), "{:?}", house.waited());
    assert_eq!((discover.message.kind, discover.destination), (Kind::Discover, Destination::Everybody));
    assert_eq!(discover.source, Ipv4Addr::UNSPECIFIED);
    assert_eq!(discover.message.options.host_name.as_deref(), Some("genkan"));
    house.answer(&discover, Kind::Offer);
    let request = house.next_question();
    assert_eq!(request.message.kind, Kind::Request);
    assert_eq!(request.message.options.requested, Some(ip("192.168.1.10")));
    assert_eq!(request.message.options.server, Some(ip("192.168.1.1")));
    assert_eq!(request.message.transaction, discover.message.transaction);
    house.answer(&request, Kind::Ack);
    let Some(LeaseReport::Bound(lease)) = house.client.poll_report() else { panic!("no lease") };
    assert_eq!(lease.address.to_string(), "192.168.1.10/24");
    assert_eq!(
        lease.routes,
        [LeaseRoute { prefix: "0.0.0.0/0".parse().expect("all"), via: Some(ip("192.168.1.1")) }]
    );
    assert_eq!(house.client.poll_timeout(), Some((house.now + seconds(500), Due::Renew)));
}

#[test]
fn a_router_that_comes_late_is_waited_for() {
    let mut house = House::new(None);
    let mut asked = 0;
    while house.waited() < seconds(600) {
        let question = house.next_question();
        assert_eq!(question.message.kind, Kind::Discover);
        asked += 1;
        assert!(house.client.poll_timeout().is_some_and(|(at, _)| at - house.now <= seconds(17)));
    }
    assert!((36..60).contains(&asked), "{asked} questions in ten minutes");
    let late = house.next_question();
    assert!(late.message.seconds >= 600);
    house.answer(&late, Kind::Offer);
    let request = house.next_question();
    house.answer(&request, Kind::Ack);
    assert!(matches!(house.client.poll_report(), Some(LeaseReport::Bound(_))));
}

#[test]
fn a_lease_is_renewed_by_its_server_then_by_anybody_and_then_ends() {
    let mut house = House::new(None);
    let lease = house.bind();
    let bound = house.now;
    let renewal = house.next_question();
    assert_eq!(house.now - bound, seconds(500));
    let server = Destination::Server { address: ip("192.168.1.1"), hardware: ROUTER };
    assert_eq!((renewal.destination, renewal.source), (server, ip("192.168.1.10")));
    assert_eq!((renewal.message.client, renewal.message.options.requested), (ip("192.168.1.10"), None));
    house.answer(&renewal, Kind::Ack);
    assert_eq!(house.client.poll_report(), Some(LeaseReport::Bound(lease)));

    let renewed = house.now;
    let mut last = house.next_question();
    while last.destination == server {
        last = house.next_question();
    }
    assert_eq!(last.destination, Destination::Everybody);
    assert_eq!(house.now - renewed, seconds(875));
    assert_eq!(house.next_report(), LeaseReport::Lost(LeaseEnd::Expired));
    assert_eq!(house.now - renewed, seconds(1000));
    assert_eq!(house.next_question().message.kind, Kind::Discover, "at once");
}

#[test]
fn rebinding_is_answered_by_another_server() {
    let mut house = House::new(None);
    house.bind();
    let mut question = house.next_question();
    while question.destination != Destination::Everybody {
        question = house.next_question();
    }
    let mut other = answer(&question.message, Kind::Ack);
    other.options.server = Some(ip("192.168.1.2"));
    house.client.handle_message(&other, ROUTER, house.now);
    let Some(LeaseReport::Bound(lease)) = house.client.poll_report() else { panic!("no lease") };
    assert_eq!(lease.server, ip("192.168.1.2"));
}

#[test]
fn the_address_of_the_last_time_is_asked_for_first() {
    let lease = House::new(None).bind();
    let mut house = House::new(Some(lease.clone()));
    let request = house.next_question();
    assert_eq!(request.message.kind, Kind::Request);
    assert_eq!(
        (request.message.options.requested, request.message.options.server),
        (Some(ip("192.168.1.10")), None)
    );
    house.answer(&request, Kind::Ack);
    assert_eq!(house.client.poll_report(), Some(LeaseReport::Bound(lease.clone())));

    let mut silent = House::new(Some(lease));
    assert_eq!(silent.next_question().message.kind, Kind::Request);
    assert_eq!(silent.next_question().message.kind, Kind::Request);
    assert_eq!(silent.next_question().message.kind, Kind::Discover);
    assert!(silent.waited() < seconds(10), "{:?}", silent.waited());
}

#[test]
fn a_refusal_begins_anew_and_ever_slower() {
    let lease = House::new(None).bind();
    let mut house = House::new(Some(lease));
    let mut waits = Vec::new();
    let request = house.next_question();
    house.answer(&request, Kind::Nak);
    assert_eq!(house.client.poll_report(), Some(LeaseReport::Lost(LeaseEnd::Refused)));
    for _ in 0..7 {
        let refused = house.now;
        let discover = house.next_question();
        assert_eq!(discover.message.kind, Kind::Discover);
        waits.push((house.now - refused).as_secs());
        house.answer(&discover, Kind::Offer);
        let request = house.next_question();
        house.answer(&request, Kind::Nak);
    }
    assert_eq!(waits, [0, 2, 4, 8, 16, 32, 32]);
}

#[test]
fn another_server_may_not_refuse() {
    let mut house = House::new(None);
    let discover = house.next_question();
    house.answer(&discover, Kind::Offer);
    let request = house.next_question();
    let mut refusal = answer(&request.message, Kind::Nak);
    refusal.options.server = Some(ip("192.168.1.66"));
    house.client.handle_message(&refusal, ROUTER, house.now);
    assert_eq!(house.client.poll_report(), None);
    house.answer(&request, Kind::Ack);
    assert!(matches!(house.client.poll_report(), Some(LeaseReport::Bound(_))));
}

#[test]
fn an_offer_that_is_not_kept_is_forgotten() {
    let mut house = House::new(None);
    let discover = house.next_question();
    house.answer(&discover, Kind::Offer);
    let kinds: Vec<Kind> = (0..5).map(|_| house.next_question().message.kind).collect();
    assert_eq!(kinds, [Kind::Request, Kind::Request, Kind::Request, Kind::Request, Kind::Discover]);
}

#[test]
fn without_a_link_nothing_is_asked_and_with_it_the_same_address() {
    let mut house = House::new(None);
    house.bind();
    house.client.handle_link(false, house.now);
    house.client.handle_link(false, house.now);
    assert_eq!((house.client.poll_timeout(), house.client.poll_transmit()), (None, None));
    house.now += seconds(300);
    house.client.handle_link(true, house.now);
    house.client.handle_link(true, house.now);
    let request = house.next_question();
    assert_eq!(
        (request.message.kind, request.message.options.requested),
        (Kind::Request, Some(ip("192.168.1.10")))
    );
    house.answer(&request, Kind::Nak);
    assert_eq!(house.client.poll_report(), Some(LeaseReport::Lost(LeaseEnd::Refused)), "another network");
    house.bind();
}

#[test]
fn what_could_not_be_sent_is_said_again_soon() {
    let mut house = House::new(Some(House::new(None).bind()));
    for _ in 0..20 {
        let before = house.now;
        assert_eq!(house.next_question().message.kind, Kind::Request, "none of these tries counts");
        assert!(house.now - before <= UNSENT);
        house.client.handle_unsent(house.now);
    }
    let mut bound = House::new(None);
    bound.bind();
    let first = bound.next_question();
    bound.client.handle_unsent(bound.now);
    let (at, second) = (bound.now, bound.next_question());
    assert_eq!((second.destination, bound.now - at), (first.destination, UNSENT));
}

#[test]
fn what_is_no_answer_to_the_question_is_passed_over() {
    let mut house = House::new(None);
    let discover = house.next_question();
    let offer = answer(&discover.message, Kind::Offer);
    let strays = [
        Message { is_reply: false, ..offer.clone() },
        Message { transaction: offer.transaction.wrapping_add(1), ..offer.clone() },
        Message { hardware: ROUTER, ..offer.clone() },
        Message { kind: Kind::Ack, ..offer.clone() },
        Message { kind: Kind::Nak, ..offer.clone() },
        Message { given: ip("127.0.0.1"), ..offer.clone() },
        Message { given: ip("192.168.1.255"), ..offer.clone() },
        Message { options: Options { server: None, ..offer.options.clone() }, ..offer.clone() },
        Message { options: Options { lease: Some(1), ..offer.options.clone() }, ..offer.clone() },
        Message {
            options: Options { mask: Some(ip("255.0.255.0")), ..offer.options.clone() },
            ..offer.clone()
        },
    ];
    for stray in strays {
        house.client.handle_message(&stray, ROUTER, house.now);
        assert_eq!((house.client.poll_transmit(), house.client.poll_report()), (None, None), "{stray:?}");
    }
    house.client.handle_message(&offer, ROUTER, house.now);
    assert!(house.client.poll_transmit().is_some());
    assert!(house.client.poll_transmit().is_none());
}

#[test]
fn a_lease_without_end_needs_nothing_more() {
    let mut house = House::new(None);
    let discover = house.next_question();
    house.answer(&discover, Kind::Offer);
    let request = house.next_question();
    let mut ack = answer(&request.message, Kind::Ack);
    ack.options.lease = Some(terms::FOREVER);
    house.client.handle_message(&ack, ROUTER, house.now);
    assert!(matches!(house.client.poll_report(), Some(LeaseReport::Bound(_))));
    assert_eq!(house.client.poll_timeout(), None);
}

#[test]
fn terms_are_cut_down_to_what_is_sound() {
    let mut house = House::new(None);
    let discover = house.next_question();
    let mut message = answer(&discover.message, Kind::Ack);
    message.options.dns =
        vec![ip("0.0.0.0"), ip("1.1.1.1"), ip("224.0.0.1"), ip("1.1.1.2"), ip("1.1.1.3"), ip("1.1.1.4")];
    message.options.domain = Some("lan; rm".into());
    message.options.mtu = Some(68);
    message.options.renewal = Some(999);
    message.options.rebinding = Some(10);
    message.options.routes = Some(vec![
        Route { prefix: "10.0.0.0/8".parse().expect("a prefix"), via: ip("0.0.0.0") },
        Route { prefix: "0.0.0.0/0".parse().expect("a prefix"), via: ip("192.168.1.10") },
    ]);
    let lease = terms::read(&message).expect("a lease");
    assert_eq!(lease.dns, [ip("1.1.1.1"), ip("1.1.1.2"), ip("1.1.1.3")]);
    assert_eq!((lease.domain.clone(), lease.mtu), (None, None));
    assert_eq!((lease.renew_after, lease.rebind_after), (500, 875));
    assert_eq!(
        lease.routes.iter().map(|route| route.via).collect::<Vec<_>>(),
        [None],
        "the routers do not hold beside it"
    );
    assert_eq!(terms::check(lease.clone()), Some(lease), "checked twice is the same");
}
