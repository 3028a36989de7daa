//! The database at the start: opened, read through, and on the box set aside when it is damaged.

use std::path::{Path, PathBuf};

use crate::coordinator::store::{Store, StoreError};

/// In the state folder.
const DATABASE: &str = "genkan.redb";
/// What a database that was set aside is called; an older one gives way.
const ASIDE: &str = "genkan.redb.damaged";

/// An open database.
#[derive(Debug)]
pub(super) struct Opened {
    pub store: Store,
    /// What was wrong with the one that this one replaces.
    pub damage: Option<String>,
}

/// Opens the database of the state folder. With `may_replace` a damaged one is set aside and a new one begun: on the box nobody could
/// move it away, and its keys live on in the copy beside it.
///
/// # Errors
/// It cannot be used, and must not be replaced.
pub(super) fn open(state: &Path, may_replace: bool) -> Result<Opened, StoreError> {
    let path = state.join(DATABASE);
    match sound(&path) {
        Ok(store) => Ok(Opened { store, damage: None }),
        Err(StoreError::Damaged { place, what }) if may_replace => {
            let damage = format!("{place}: {what}");
            set_aside(&path, &state.join(ASIDE), &damage)?;
            Ok(Opened { store: sound(&path)?, damage: Some(damage) })
        }
        Err(error) => Err(error),
    }
}

/// Damage may also lie in what is stored.
fn sound(path: &Path) -> Result<Store, StoreError> {
    let store = Store::open(path)?;
    store.load()?;
    Ok(store)
}

fn set_aside(path: &Path, aside: &PathBuf, damage: &str) -> Result<(), StoreError> {
    tracing::error!("the database is damaged and is set aside: {damage}");
    std::fs::rename(path, aside).map_err(|error| StoreError::Unwritable {
        place: aside.display().to_string(),
        what: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::SeededRng;

    fn born(state: &Path) -> crate::coordinator::store::Identity {
        let opened = open(state, true).expect("it opens");
        let copy = state.join("identity.bak");
        opened.store.identity_beside(&copy, &mut SeededRng::new([7; 32])).expect("keys")
    }

    #[test]
    fn a_damaged_database_is_set_aside_and_the_keys_stay() {
        let state = tempfile::tempdir().expect("a folder");
        let keys = born(state.path());
        let path = state.path().join(DATABASE);
        let length = std::fs::metadata(&path).expect("it is there").len();
        std::fs::write(&path, vec![0x5a; usize::try_from(length).expect("small")]).expect("written");

        let refused = open(state.path(), false).expect_err("a person decides");
        assert!(matches!(refused, StoreError::Damaged { .. }), "{refused}");
        let opened = open(state.path(), true).expect("a new one");
        assert!(opened.damage.is_some_and(|damage| damage.contains(DATABASE)));
        assert!(state.path().join(ASIDE).exists());
        drop(opened.store);
        assert_eq!(born(state.path()), keys);
    }

    #[test]
    fn a_sound_one_stays() {
        let state = tempfile::tempdir().expect("a folder");
        born(state.path());
        assert_eq!(open(state.path(), true).expect("it opens").damage, None);
        assert!(!state.path().join(ASIDE).exists());
    }
}
