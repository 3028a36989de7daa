//! A DHCP server whose leases are shorter than dnsmasq's shortest, and which can be told to keep silent or to refuse.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use genkan::wire::dhcp::{Kind, Message, Options, SERVER_PORT};
use nix::sys::socket::{setsockopt, sockopt};

use crate::house::House;

/// Renewed after 6 s.
const LEASE: u32 = 12;
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 99);

const ANSWER: u8 = 0;
const SILENT: u8 = 1;
const REFUSE: u8 = 2;
const STOP: u8 = 3;

pub struct ShortLeases {
    mood: Arc<AtomicU8>,
    renewals: Arc<AtomicUsize>,
}

impl ShortLeases {
    pub fn start(house: &House) -> Self {
        let server = Self { mood: Arc::new(AtomicU8::new(ANSWER)), renewals: Arc::new(AtomicUsize::new(0)) };
        let (mood, renewals, router) = (server.mood.clone(), server.renewals.clone(), house.router_name());
        std::thread::spawn(move || {
            House::enter(&router);
            serve(&mood, &renewals);
        });
        server
    }

    /// Requests from an address that was lent before.
    pub fn renewals(&self) -> usize {
        self.renewals.load(Ordering::Relaxed)
    }

    pub fn fall_silent(&self) {
        self.mood.store(SILENT, Ordering::Relaxed);
    }

    pub fn refuse(&self) {
        self.mood.store(REFUSE, Ordering::Relaxed);
    }

    pub fn answer(&self) {
        self.mood.store(ANSWER, Ordering::Relaxed);
    }
}

impl Drop for ShortLeases {
    fn drop(&mut self) {
        self.mood.store(STOP, Ordering::Relaxed);
    }
}

fn serve(mood: &AtomicU8, renewals: &AtomicUsize) {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, SERVER_PORT)).expect("root");
    socket.set_broadcast(true).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket");
    setsockopt(&socket, sockopt::BindToDevice, &"lan0".into()).expect("root");
    let mut buffer = [0; 1500];
    loop {
        let mood = mood.load(Ordering::Relaxed);
        if mood == STOP {
            return;
        }
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let Ok(question) = Message::decode(&buffer[..length]) else { continue };
        let Some(kind) = answer_kind(&question, mood) else { continue };
        let is_renewal = question.client == CLIENT;
        renewals.fetch_add(usize::from(is_renewal), Ordering::Relaxed);
        let to = if is_renewal { from.ip() } else { Ipv4Addr::BROADCAST.into() };
        socket.send_to(&answer(&question, kind).encode(), (to, 68)).expect("the cable");
    }
}

fn answer_kind(question: &Message, mood: u8) -> Option<Kind> {
    match (question.kind, mood) {
        (_, SILENT) => None,
        (Kind::Discover, _) => Some(Kind::Offer),
        (Kind::Request, REFUSE) => Some(Kind::Nak),
        (Kind::Request, _) => Some(Kind::Ack),
        _ => None,
    }
}

fn answer(question: &Message, kind: Kind) -> Message {
    let lent = Options {
        mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
        routers: vec![SERVER],
        dns: vec![SERVER],
        lease: Some(LEASE),
        server: Some(SERVER),
        ..Options::default()
    };
    let options =
        if kind == Kind::Nak { Options { server: Some(SERVER), ..Options::default() } } else { lent };
    Message { is_reply: true, kind, given: CLIENT, options, ..question.clone() }
}
