use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;

#[derive(Default)]
struct MemoryStore(Mutex<BTreeMap<String, Vec<u8>>>);

impl CertificateStore for MemoryStore {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StoreFailure> {
        Ok(self.0.lock().expect("not poisoned").get(name).cloned())
    }

    fn save(&self, name: &str, value: &[u8]) -> Result<(), StoreFailure> {
        self.0.lock().expect("not poisoned").insert(name.to_owned(), value.to_vec());
        Ok(())
    }

    fn delete(&self, name: &str) -> Result<(), StoreFailure> {
        self.0.lock().expect("not poisoned").remove(name);
        Ok(())
    }
}

const HS: &str = "hs.example.com";
const APP: &str = "app.example.com";

fn names() -> Names {
    Names {
        resident: Some(HS.to_owned()),
        address: None,
        sites: vec![APP.to_owned(), "*.example.org".to_owned()],
    }
}

fn open(store: &Arc<MemoryStore>, authority: Option<&str>) -> Certificates {
    Certificates::open(store.clone(), authority.map(str::to_owned), &names()).expect("opened")
}

#[test]
fn each_name_has_its_certificate_and_every_other_the_residents() {
    let certificates = open(&Arc::default(), None);
    for (sni, presented) in [
        (Some(APP), Presented::Site(APP.to_owned())),
        (Some("APP.example.com"), Presented::Site(APP.to_owned())),
        (Some("x.example.org"), Presented::Site("*.example.org".to_owned())),
        (Some("x.y.example.org"), Presented::Resident),
        (Some("example.org"), Presented::Resident),
        (Some(HS), Presented::Resident),
        (Some("stranger"), Presented::Resident),
        (None, Presented::Resident),
    ] {
        assert_eq!(certificates.presented(sni), presented, "{sni:?}");
    }
}

#[test]
fn the_pin_goes_when_the_authority_has_spoken_and_stays_away() {
    let store = Arc::new(MemoryStore::default());
    let certificates = open(&store, Some("acme/test"));
    let mut pin = certificates.pin();
    assert!(pin.borrow_and_update().is_some());

    let validity = certificates.install(HS, &self_signed::create(HS).expect("made")).expect("installed");
    assert_eq!(*pin.borrow_and_update(), None);
    assert_eq!(certificates.issued(), [(HS.to_owned(), validity)]);

    certificates.set_names(&names()).expect("set");
    assert!(!pin.has_changed().expect("the sender lives"));
    let again = open(&store, Some("acme/test"));
    assert_eq!((*again.pin().borrow(), again.issued().len()), (None, 1));
    let elsewhere = open(&store, Some("acme/other"));
    assert!(elsewhere.pin().borrow().is_some(), "another authority's certificates are not used");
}

#[test]
fn a_damaged_blob_is_replaced() {
    let store = Arc::new(MemoryStore::default());
    let before = *open(&store, None).pin().borrow();
    let blob = format!("self-signed/{HS}");
    store.save(&blob, b"-----BEGIN nonsense").expect("saved");
    let after = *open(&store, None).pin().borrow();
    assert!(after.is_some() && after != before);
    assert_eq!(*open(&store, None).pin().borrow(), after);
}

#[test]
fn a_nameless_resident_is_known_by_its_address() {
    let store = Arc::new(MemoryStore::default());
    let names = Names { address: Some([192, 168, 1, 2].into()), ..Names::default() };
    let certificates = Certificates::open(store.clone(), None, &names).expect("opened");
    assert!(certificates.pin().borrow().is_some());
    assert!(store.load("self-signed/192.168.1.2").expect("works").is_some());
}
