//! Power cuts, damage, and the identity.

use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

use super::*;
use crate::base::rng::SeededRng;
use crate::base::secret::Secret;
use crate::base::wall_time::UnixTime;
use crate::coordinator::core::api_key::ApiKey;
use crate::coordinator::core::auth_key::KeyId;
use crate::coordinator::core::join_line::{JoinLine, Joined};
use crate::coordinator::core::node_record::{NodeOrigin, NodeRecord};
use crate::coordinator::core::user::UserRecord;
use crate::wire::control::{Hostinfo, NodeId, UserId};
use crate::wire::key::{DiscoPublic, MachinePublic, NodePublic};
use rand_core::RngCore;

/// A disk with a write cache that is lost when the power is cut. It gives every byte that was synced, and of what was
/// written since an arbitrary part, in pieces the size of a sector.
#[derive(Debug, Clone, Default)]
struct FlakyDisk(Arc<Mutex<Platters>>);

#[derive(Debug, Default)]
struct Platters {
    synced: Vec<u8>,
    cached: Vec<u8>,
    /// Operations until the power fails.
    fuse: Option<u32>,
}

const SECTOR: usize = 512;

impl FlakyDisk {
    fn platters(&self) -> std::sync::MutexGuard<'_, Platters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn burn(&self) -> std::io::Result<std::sync::MutexGuard<'_, Platters>> {
        let mut platters = self.platters();
        match &mut platters.fuse {
            Some(0) => Err(std::io::Error::other("no power")),
            Some(fuse) => {
                *fuse -= 1;
                Ok(platters)
            }
            None => Ok(platters),
        }
    }

    /// The disk as the next start finds it.
    fn after_cut(&self, rng: &mut SeededRng) -> Self {
        let platters = self.platters();
        let mut left = platters.synced.clone();
        if rng.next_u32().is_multiple_of(2) {
            left.resize(platters.cached.len(), 0);
        }
        for (index, sector) in platters.cached.chunks(SECTOR).enumerate() {
            let start = index * SECTOR;
            if rng.next_u32().is_multiple_of(3) && start + sector.len() <= left.len() {
                left[start..start + sector.len()].copy_from_slice(sector);
            }
        }
        Self(Arc::new(Mutex::new(Platters { cached: left.clone(), synced: left, fuse: None })))
    }
}

impl StorageBackend for FlakyDisk {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.platters().cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let platters = self.platters();
        let start = usize::try_from(offset).expect("a small disk");
        let bytes = platters.cached.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.burn()?.cached.resize(usize::try_from(len).expect("a small disk"), 0);
        Ok(())
    }

    fn sync_data(&self) -> std::io::Result<()> {
        let mut platters = self.burn()?;
        let Platters { synced, cached, .. } = &mut *platters;
        synced.clone_from(cached);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        let start = usize::try_from(offset).expect("a small disk");
        let mut platters = self.burn()?;
        let place = platters.cached.get_mut(start..start + data.len());
        place.ok_or(std::io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        Ok(())
    }
}

/// Two records that must appear together.
fn pair(number: i64) -> [Mutation; 2] {
    let user =
        |id| Mutation::User(UserRecord { id: UserId(id), name: format!("user{id}"), ..UserRecord::first() });
    [user(number * 2), user(number * 2 + 1)]
}

fn user_numbers(store: &Store) -> Vec<i64> {
    let all = store.load().expect("what was synced is whole");
    all.iter().filter_map(|one| if let Mutation::User(user) = one { Some(user.id.0) } else { None }).collect()
}

#[test]
fn what_was_acknowledged_survives_a_cut_and_nothing_is_half_there() {
    let mut most = 0;
    for seed in 0..200_u8 {
        let mut rng = SeededRng::new([seed; 32]);
        let disk = FlakyDisk::default();
        let store = Store::open_backend(disk.clone()).expect("a new disk");
        disk.platters().fuse = Some(rng.next_u32() % 120);
        let mut acknowledged = 0;
        while store.append(&pair(acknowledged)).is_ok() {
            acknowledged += 1;
        }
        most = most.max(acknowledged);
        let found_disk = disk.after_cut(&mut rng);
        std::mem::forget(store);
        let found = user_numbers(&Store::open_backend(found_disk).expect("a cut is no damage"));
        let whole = i64::try_from(found.len()).expect("small") / 2;
        assert!((acknowledged..=acknowledged + 1).contains(&whole), "seed {seed}: {acknowledged} {whole}");
        assert_eq!(found, (0..whole * 2).collect::<Vec<_>>(), "seed {seed}: pairs are whole");
    }
    assert!(most > 5, "the power fails too early to test anything: {most}");
}

/// A certificate as large as they are: several pages of the database.
fn certificate(number: usize) -> Vec<u8> {
    format!("certificate {number:04}\n").repeat(400).into_bytes()
}

#[test]
fn a_certificate_survives_a_cut_whole_and_is_never_half_of_two() {
    let mut most = 0;
    for seed in 0..100_u8 {
        let mut rng = SeededRng::new([seed; 32]);
        let disk = FlakyDisk::default();
        let store = Store::open_backend(disk.clone()).expect("a new disk");
        store.put_blob("certificate/old", &certificate(0)).expect("power is on");
        disk.platters().fuse = Some(rng.next_u32() % 200);
        let mut acknowledged = 0;
        // It is renewed under its name, and what was before it goes.
        while store.put_blob("certificate/a", &certificate(acknowledged + 1)).is_ok() {
            acknowledged += 1;
            if acknowledged == 2 && store.delete_blob("certificate/old").is_err() {
                break;
            }
        }
        most = most.max(acknowledged);
        let found_disk = disk.after_cut(&mut rng);
        std::mem::forget(store);
        let store = Store::open_backend(found_disk).expect("a cut is no damage");
        let found = store.blob("certificate/a").expect("what was synced is whole");
        let either = [acknowledged, acknowledged + 1].map(|number| (number > 0).then(|| certificate(number)));
        assert!(either.contains(&found), "seed {seed}: {acknowledged}");
        let old = store.blob("certificate/old").expect("what was synced is whole");
        let is_gone = old.is_none() && acknowledged >= 2;
        assert!(is_gone || (old == Some(certificate(0)) && acknowledged <= 2), "seed {seed}: {acknowledged}");
    }
    assert!(most > 5, "the power fails too early to test anything: {most}");
}

#[test]
fn a_newer_blob_is_named_as_such() {
    let store = Store::open_backend(redb::backends::InMemoryBackend::new()).expect("memory");
    let newer = |transaction: &WriteTransaction| {
        transaction.open_table(BLOBS)?.insert("certificate/a", [9_u8, 0, 0].as_slice())?;
        Ok(())
    };
    store.write(newer).expect("memory");
    let error = store.blob("certificate/a").expect_err("unknown version");
    assert!(matches!(error, StoreError::Newer { version: 9, .. }), "{error}");
}

#[test]
fn damage_is_an_error_with_a_cure_and_never_a_panic() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state.redb");
    let store = Store::open(&path).expect("a new file");
    (0..50).for_each(|number| store.append(&pair(number)).expect("a good disk"));
    drop(store);
    let good = std::fs::read(&path).expect("it is there");
    let mut refused = 0;
    for seed in 0..60_u8 {
        let mut rng = SeededRng::new([seed; 32]);
        let mut bytes = good.clone();
        let start = rng.next_u32() as usize % bytes.len().min(64 * 1024);
        let end = (start + 2000).min(bytes.len());
        rng.fill_bytes(&mut bytes[start..end]);
        if seed % 4 == 0 {
            bytes.truncate(start);
        }
        std::fs::write(&path, &bytes).expect("a good disk");
        if let Err(error) = Store::open(&path).and_then(|store| store.load()) {
            refused += 1;
            let text = error.to_string();
            assert!(text.contains("state.redb") && text.contains("backup"), "seed {seed}: {text}");
        }
    }
    assert!(refused > 10, "the damage was mostly outside what is read: {refused}");
}

#[test]
fn a_second_process_is_told_that_the_first_one_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state.redb");
    let _first = Store::open(&path).expect("a new file");
    let error = Store::open(&path).expect_err("in use");
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
}

#[test]
fn only_the_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state.redb");
    drop(Store::open(&path).expect("a new file"));
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_newer_record_is_named_as_such() {
    let store = Store::open_backend(redb::backends::InMemoryBackend::new()).expect("memory");
    store
        .write(|transaction| {
            transaction.open_table(USERS)?.insert(1, [9_u8, 0, 0].as_slice())?;
            Ok(())
        })
        .expect("memory");
    let error = store.load().expect_err("unknown version");
    assert!(matches!(error, StoreError::Newer { version: 9, .. }), "{error}");
}

#[test]
fn the_identity_is_made_once_and_never_beside_nodes() {
    let mut rng = SeededRng::new([1; 32]);
    let store = Store::open_backend(redb::backends::InMemoryBackend::new()).expect("memory");
    let first = store.identity(&mut rng).expect("a new box");
    assert_eq!(store.identity(&mut rng).expect("the same box"), first);

    let other = Store::open_backend(redb::backends::InMemoryBackend::new()).expect("memory");
    other
        .write(|transaction| {
            transaction.open_table(NODES)?.insert(2, [1_u8].as_slice())?;
            Ok(())
        })
        .expect("memory");
    let error = other.identity(&mut rng).expect_err("its clients would be stranded");
    assert!(matches!(error, StoreError::IdentityLost { .. }), "{error}");
}

#[test]
fn a_lost_database_takes_the_keys_of_the_copy_and_one_with_nodes_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("identity.bak");
    let empty = || Store::open_backend(redb::backends::InMemoryBackend::new()).expect("memory");
    let mut rng = SeededRng::new([1; 32]);
    let first = empty().identity_beside(&copy, &mut rng).expect("a new box");
    assert_eq!(empty().identity_beside(&copy, &mut rng).expect("its data was lost"), first);

    let other = empty();
    let own = other.identity(&mut rng).expect("a box of its own");
    assert_eq!(other.identity_beside(&copy, &mut rng).expect("it has keys"), own, "the database goes first");
    assert_eq!(empty().identity_beside(&copy, &mut rng).expect("data was lost"), own, "the copy follows it");

    let stranded = empty();
    let node = |transaction: &WriteTransaction| {
        transaction.open_table(NODES)?.insert(2, [1_u8].as_slice())?;
        Ok(())
    };
    stranded.write(node).expect("memory");
    assert!(stranded.identity_beside(&copy, &mut rng).is_err(), "its nodes know other keys");
}

#[test]
fn a_torn_copy_is_replaced_and_only_its_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("identity.bak");
    let store = Store::open_backend(redb::backends::InMemoryBackend::new()).expect("memory");
    let mut rng = SeededRng::new([1; 32]);
    let identity = store.identity_beside(&copy, &mut rng).expect("a new box");
    let whole = std::fs::read_to_string(&copy).expect("it was written");
    assert_eq!(std::fs::metadata(&copy).expect("it is there").permissions().mode() & 0o777, 0o600);
    for end in 0..whole.len() - 1 {
        let torn = format!("{}{}", &whole[..end], "0".repeat(whole.len() - end));
        std::fs::write(&copy, torn).expect("a file");
        let other = Store::open_backend(redb::backends::InMemoryBackend::new()).expect("memory");
        let found = other.identity_beside(&copy, &mut rng).expect("new keys");
        // Zeros may be what stood there.
        assert!(found != identity || whole[end..].trim().bytes().all(|byte| byte == b'0'), "cut at {end}");
    }
}

#[test]
fn blobs_are_kept_and_forgotten_by_name() {
    let store = Store::open_backend(redb::backends::InMemoryBackend::new()).expect("memory");
    store.put_blob("certificate/a", b"pem").expect("memory");
    assert_eq!(store.blob("certificate/a").expect("memory").as_deref(), Some(&b"pem"[..]));
    store.delete_blob("certificate/a").expect("memory");
    store.delete_blob("certificate/a").expect("forgotten already");
    assert_eq!(store.blob("certificate/a").expect("memory"), None);
}

/// A node as version 1 lays it out. When this fails, stored nodes of running boxes no longer decode: give the record a new
/// version and keep decoding this one.
#[test]
fn the_layout_of_a_stored_node_does_not_change() {
    let decoded: NodeRecord = record::decode(&hex::decode(NODE_VERSION_1).expect("hex")).expect("version 1");
    assert_eq!(decoded, node());
    assert_eq!(hex::encode(record::encode(&node()).expect("plain data")), NODE_VERSION_1);
}

/// The same for what `JOIN.txt` and the admin interface need.
#[test]
fn the_layout_of_stored_keys_does_not_change() {
    let key = ApiKey {
        id: 3,
        prefix: "0a0b".into(),
        digest: [7; 32],
        expiration: Some(UnixTime(1_800_000_000)),
        revoked: false,
        created: None,
        used: true,
        last_seen: Some(UnixTime(1_700_000_000)),
        from_card: true,
    };
    let text = Some(Secret::new("hskey".to_owned()));
    let open = JoinLine { host: "a".into(), key: KeyId(5), text, joined: None };
    let used = JoinLine { text: None, joined: Some(Joined { at: Some(UnixTime(1)) }), ..open.clone() };
    assert_eq!(hex::encode(record::encode(&key).expect("plain data")), API_KEY_VERSION_1);
    let lines = [&open, &used].map(|line| hex::encode(record::encode(line).expect("plain data")));
    assert_eq!(lines, JOIN_LINES_VERSION_1);
    let store = Store::open_backend(redb::backends::InMemoryBackend::new()).expect("memory");
    let all = [Mutation::ApiKey(key), Mutation::JoinLine(open)];
    store.append(&all).expect("memory");
    assert_eq!(store.load().expect("memory"), all);
    let gone = [Mutation::ApiKeyRemoved("0a0b".into()), Mutation::JoinLineRemoved("a".into())];
    store.append(&gone).expect("memory");
    assert_eq!(store.load().expect("memory"), []);
}

const API_KEY_VERSION_1: &str = concat!(
    "0103043061306207070707070707070707070707070707070707070707070707070707070707070180c8ceb40d0000",
    "010180c49fd50c01",
);

const JOIN_LINES_VERSION_1: [&str; 2] = ["01016105010568736b657900", "0101610500010102"];

const NODE_VERSION_1: &str = concat!(
    "010401010101010101010101010101010101010101010101010101010101010101010202020202020202020202020202",
    "020202020202020202020202020202020202010201057461673a610270690101096d616368696e652d61644000020100",
    "c0a80100180103000180c8ceb40d00001e7b22486f73746e616d65223a225069222c224f53223a226c696e7578227d8e",
    "0103030303030303030303030303030303030303030303030303030303030303030100c0000201a9c502ce0f010180c4",
    "9fd50c",
);

fn node() -> NodeRecord {
    let hostinfo = Hostinfo { hostname: "Pi".into(), os: "linux".into(), ..Hostinfo::default() };
    NodeRecord {
        id: NodeId(2),
        machine: MachinePublic::from_bytes([1; 32]),
        node_key: NodePublic::from_bytes([2; 32]),
        user: Some(UserId(1)),
        tags: vec!["tag:a".into()],
        name: "pi".into(),
        name_is_fixed: true,
        host: Some("machine-a".into()),
        ipv4: [100, 64, 0, 2].into(),
        approved_routes: vec!["192.168.1.0/24".parse().expect("a test prefix")],
        origin: NodeOrigin::AuthKey(KeyId(3)),
        ephemeral: false,
        expiry: Some(UnixTime(1_800_000_000)),
        expired: false,
        created: None,
        hostinfo: Arc::new(hostinfo),
        capability: 142,
        disco: DiscoPublic::from_bytes([3; 32]),
        endpoints: vec!["192.0.2.1:41641".parse().expect("a test address")],
        home_derp: 999,
        online: true,
        last_seen: Some(UnixTime(1_700_000_000)),
    }
}
