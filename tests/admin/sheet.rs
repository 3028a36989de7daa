//! `JOIN.txt` and `API-KEY.txt` through joining, use, expiry, restarts and changes of the policy, on a database file.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use genkan::base::secret::Secret;
use genkan::base::wall_time::{UnixTime, WallTime};
use genkan::config;
use genkan::coordinator::core::admin_view::{KeyRequest, KeyView};
use genkan::coordinator::core::change::Mutation;
use genkan::coordinator::core::join_sheet::{Doors, api_key_text, join_text};
use genkan::coordinator::core::policy::Policy;
use genkan::coordinator::ledger::{JoinSheet, Ledger};
use genkan::coordinator::store::Store;
use genkan::wire::api_key::{ApiKeyText, Pin};
use genkan::wire::control::{Hostinfo, RegisterAuth, RegisterRequest};
use genkan::wire::key::{MachinePublic, NodePublic};
use tempfile::TempDir;
use tokio::sync::watch;

use super::house::settings;

const START: i64 = 1_795_305_600;
const DAY: i64 = 24 * 3600;
const HOSTS: &str = r#""machine-a": "100.64.0.2", "machine-b": "100.64.0.3""#;

/// A box whose owner reads its card.
struct House {
    ledger: Ledger,
    sheet: watch::Receiver<Option<JoinSheet>>,
    /// Seconds since 1970; 0 is a clock that is not known.
    clock: Arc<AtomicI64>,
    path: PathBuf,
    _folder: Arc<TempDir>,
}

impl House {
    fn start(time: i64) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let path = folder.path().join("genkan.redb");
        Self::open(folder, path, time, HOSTS)
    }

    fn open(folder: Arc<TempDir>, path: PathBuf, time: i64, hosts: &str) -> Self {
        let store = Arc::new(Store::open(&path).expect("a good file"));
        let clock = Arc::new(AtomicI64::new(time));
        let read = Arc::clone(&clock);
        let wall = Arc::new(move || match read.load(Ordering::Relaxed) {
            0 => WallTime::Unknown,
            time => WallTime::Known(UnixTime(time)),
        });
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("the kernel has randomness");
        let ledger = Ledger::open(store, policy(hosts), settings(), wall, seed).expect("a good store");
        let sheet = ledger.join_sheet();
        Self { ledger, sheet, clock, path, _folder: folder }
    }

    /// The power goes and comes back; meanwhile the policy may have been edited.
    async fn restart(self, hosts: &str) -> Self {
        let Self { ledger, sheet, clock, path, _folder: folder } = self;
        drop((ledger, sheet));
        let time = clock.load(Ordering::Relaxed);
        drop(reopened(&path).await);
        Self::open(folder, path, time, hosts)
    }

    /// The sheet once it says what is `wanted`.
    async fn sheet(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while tokio::time::Instant::now() < deadline {
            if let Some(sheet) = self.sheet.borrow_and_update().as_ref() {
                last = join_text(sheet, &doors());
            }
            if wanted(&last) {
                return last;
            }
            let _ = tokio::time::timeout(Duration::from_millis(100), self.sheet.changed()).await;
        }
        panic!("the sheet stays as it is:\n{last}");
    }

    /// Time goes by, and something makes the box look at its clock.
    async fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
        self.stir().await;
    }

    async fn stir(&self) {
        let key = self.ledger.create_key(KeyRequest::default()).await.expect("a plain key");
        self.ledger.delete_key(key.id).await.expect("it is there");
    }

    /// What `tailscale up` says with the key: nothing when the machine is in.
    async fn join(&self, number: u8, key: &str) -> String {
        let request = RegisterRequest {
            version: 142,
            node_key: NodePublic::from_bytes([number; 32]),
            auth: Some(RegisterAuth { auth_key: Some(Secret::new(key.to_owned())) }),
            hostinfo: Some(Hostinfo { hostname: "pc".into(), ..Hostinfo::default() }),
            ..RegisterRequest::default()
        };
        let answer = self.ledger.register(MachinePublic::from_bytes([number; 32]), request).await;
        answer.expect("a sensible request").error
    }

    fn keys(&self, host: &str) -> Vec<KeyView> {
        self.ledger.keys().into_iter().filter(|key| key.host.as_deref() == Some(host)).collect()
    }
}

/// The store, once the ledger's writer has ended.
pub async fn reopened(path: &Path) -> Store {
    for _ in 0..250 {
        match Store::open(path) {
            Ok(store) => return store,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    panic!("the store stays in use");
}

fn policy(hosts: &str) -> Policy {
    config::policy::parse("acl.json", &format!("{{\"hosts\": {{{hosts}}}, \"acls\": []}}")).expect("valid")
}

fn doors() -> Doors {
    Doors {
        lan: Some(Ipv4Addr::new(192, 168, 1, 10)),
        name: None,
        control_port: 8080,
        https_port: 443,
        api_port: 9443,
    }
}

/// The part of the sheet about `host`.
fn part<'a>(sheet: &'a str, host: &str) -> &'a str {
    sheet.split("\n\n").find(|part| part.starts_with(host)).unwrap_or_default()
}

/// The key on the line of `host`.
fn key_of(sheet: &str, host: &str) -> Option<String> {
    let line = part(sheet, host).lines().find(|line| line.trim().starts_with("tailscale up "))?;
    assert!(line.contains("--login-server http://192.168.1.10:8080 "), "{line}");
    line.split_once("--auth-key ").map(|(_, key)| key.to_owned())
}

fn both_open(sheet: &str) -> bool {
    ["machine-a", "machine-b"].iter().all(|host| key_of(sheet, host).is_some())
}

#[tokio::test]
async fn each_host_has_a_key_that_is_its_own_works_once_and_is_marked_then() {
    let mut house = House::start(START);
    let sheet = house.sheet(both_open).await;
    let [a, b] = ["machine-a", "machine-b"].map(|host| key_of(&sheet, host).expect("a key"));
    let key = house.keys("machine-a").remove(0);
    assert_eq!(
        (key.reusable, key.ephemeral, key.expiration),
        (false, false, Some(UnixTime(START + 7 * DAY)))
    );

    house.clock.fetch_add(3600, Ordering::Relaxed);
    assert_eq!(house.join(7, &a).await, "");
    let sheet = house.sheet(|sheet| sheet.contains("Joined")).await;
    assert_eq!(
        part(&sheet, "machine-a"),
        "machine-a (100.64.0.2)\n   Joined as machine-a at 2026-11-22T01:00:00Z; its key is used."
    );
    assert_eq!(key_of(&sheet, "machine-b"), Some(b));
    assert!(!sheet.contains(&a) && house.join(8, &a).await.contains("used already"));

    // The text of a used key is nowhere any more; the other's is still there after a restart, and no further key was made.
    let mut house = house.restart(HOSTS).await;
    assert_eq!(house.sheet(|text| text == sheet).await, sheet);
    assert_eq!((house.keys("machine-a").len(), house.keys("machine-b").len()), (1, 1));
    let House { ledger, sheet: watched, path, _folder, .. } = house;
    drop((ledger, watched));
    let stored = reopened(&path).await.load().expect("a good file");
    let texts =
        stored.iter().filter_map(|one| if let Mutation::JoinLine(line) = one { Some(line) } else { None });
    let texts: Vec<_> = texts.map(|line| (line.host.as_str(), line.text.is_some())).collect();
    assert_eq!(texts, [("machine-a", false), ("machine-b", true)]);
}

#[tokio::test]
async fn a_key_that_opens_nothing_more_is_replaced() {
    let mut house = House::start(START);
    let sheet = house.sheet(both_open).await;
    let first = key_of(&sheet, "machine-a").expect("a key");
    house.pass(7 * DAY - 1).await;
    assert_eq!(house.sheet(both_open).await, sheet, "it holds to its last second");
    house.pass(1).await;
    let is_new = |old: &str| {
        let old = old.to_owned();
        move |sheet: &str| key_of(sheet, "machine-a").is_some_and(|key| key != old)
    };
    let second = key_of(&house.sheet(is_new(&first)).await, "machine-a").expect("a key");
    assert!(house.join(7, &first).await.contains("not known"), "the old one is gone");
    assert_eq!(house.keys("machine-a").len(), 1);

    // Ended by hand, deleted by hand, run out while the power was off.
    house.ledger.expire_key(house.keys("machine-a")[0].id).await.expect("it is there");
    let third = key_of(&house.sheet(is_new(&second)).await, "machine-a").expect("a key");
    house.ledger.delete_key(house.keys("machine-a")[0].id).await.expect("it is there");
    let fourth = key_of(&house.sheet(is_new(&third)).await, "machine-a").expect("a key");
    house.clock.fetch_add(8 * DAY, Ordering::Relaxed);
    let mut house = house.restart(HOSTS).await;
    let fifth = key_of(&house.sheet(is_new(&fourth)).await, "machine-a").expect("a key");
    assert_eq!((house.keys("machine-a").len(), house.join(7, &fifth).await.as_str()), (1, ""));
}

#[tokio::test]
async fn the_sheet_follows_the_policy_and_the_nodes() {
    let mut house = House::start(START);
    let sheet = house.sheet(both_open).await;
    let b = key_of(&sheet, "machine-b").expect("a key");
    // By a key that somebody made by hand: the sheet's own is not needed any more.
    let request = KeyRequest { host: Some("machine-a".into()), ..KeyRequest::default() };
    let by_hand = house.ledger.create_key(request).await.expect("a key");
    assert_eq!(house.join(7, &by_hand.key).await, "");
    let sheet = house.sheet(|sheet| sheet.contains("Joined as machine-a.\n")).await;
    assert!(key_of(&sheet, "machine-a").is_none());
    assert_eq!(house.keys("machine-a").iter().map(|key| key.id).collect::<Vec<_>>(), [by_hand.id]);

    house.ledger.set_policy(policy(r#""machine-a": "100.64.0.2", "machine-c": "100.64.0.4""#));
    let sheet = house.sheet(|sheet| key_of(sheet, "machine-c").is_some()).await;
    assert_eq!((part(&sheet, "machine-b"), house.keys("machine-b").len()), ("", 0));
    assert!(house.join(8, &b).await.contains("not known"));

    // The machine is given up: the next may take its place.
    let node = house.ledger.nodes().into_iter().find(|node| node.given_name == "machine-a").expect("joined");
    house.ledger.delete_node(node.id).await.expect("it is there");
    let sheet = house.sheet(|sheet| key_of(sheet, "machine-a").is_some()).await;
    assert_eq!(house.join(9, &key_of(&sheet, "machine-a").expect("a key")).await, "");

    let mut house = house.restart("").await;
    house.sheet(|sheet| sheet.contains("names no hosts")).await;
    assert!(house.keys("machine-c").is_empty());
}

#[tokio::test]
async fn keys_made_without_a_clock_get_their_end_when_it_is_known() {
    let mut house = House::start(0);
    let sheet = house.sheet(both_open).await;
    assert!(part(&sheet, "machine-a").contains("for a week"), "{sheet}");
    let (key, until) = house.ledger.create_card_key(Pin::of(b"key")).await.expect("a key");
    assert_eq!((house.keys("machine-a")[0].expiration, until), (None, None));
    house.clock.store(START, Ordering::Relaxed);
    house.stir().await;
    let dated = house.sheet(|sheet| sheet.contains("until 2026-11-29T00:00:00Z")).await;
    assert_eq!(key_of(&dated, "machine-a"), key_of(&sheet, "machine-a"), "the same key");
    assert_eq!(house.ledger.api_keys()[0].expiration, Some(UnixTime(START + 90 * DAY)));
    house.ledger.authenticate(key.expose()).await.expect("a good key");
}

#[tokio::test]
async fn a_key_for_the_card_replaces_the_one_that_never_reached_anybody() {
    let house = House::start(START);
    let pin = Pin::of(b"key");
    let (lost, _) = house.ledger.create_card_key(pin).await.expect("a key");
    let (used, until) = house.ledger.create_card_key(pin).await.expect("a key");
    let text = api_key_text(&used, until, &doors());
    let command = text.lines().find(|line| line.contains("--api-key")).expect("a command line");
    let shown = command.split(' ').find(|word| word.starts_with("gkapi-")).expect("the key");
    assert_eq!(ApiKeyText::parse(shown).expect("whole").pin, pin);
    house.ledger.authenticate(shown).await.expect("a good key");
    assert!(house.ledger.authenticate(lost.expose()).await.is_err(), "nobody can have it");
    let (next, _) = house.ledger.create_card_key(pin).await.expect("a key");
    for key in [&used, &next] {
        house.ledger.authenticate(key.expose()).await.expect("both have owners");
    }
    // The use survives a power cut: the key is not taken for one that was lost.
    let house = house.restart(HOSTS).await;
    house.ledger.create_card_key(pin).await.expect("a key");
    house.ledger.authenticate(used.expose()).await.expect("it is in use");
}
