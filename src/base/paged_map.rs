//! A sorted map whose copies share what they have in common, for state of which readers keep old versions.
//!
//! Values lie in pages of [`PAGE`] neighbouring keys, each behind an `Arc`. A copy costs one reference count for each page,
//! and a change to a copy costs one page.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Keys of one page: copying the page and copying the list of pages cost about the same for some thousand entries.
const PAGE: i64 = 64;

#[derive(Debug, Clone)]
pub struct PagedMap<V> {
    pages: BTreeMap<i64, Arc<BTreeMap<i64, V>>>,
    len: usize,
}

impl<V> Default for PagedMap<V> {
    fn default() -> Self {
        Self { pages: BTreeMap::new(), len: 0 }
    }
}

impl<V: Clone> PagedMap<V> {
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[must_use]
    pub fn value(&self, key: i64) -> Option<&V> {
        self.pages.get(&page_of(key))?.get(&key)
    }

    /// Gives back the value that was there before.
    pub fn insert(&mut self, key: i64, value: V) -> Option<V> {
        let page = self.pages.entry(page_of(key)).or_default();
        let before = Arc::make_mut(page).insert(key, value);
        self.len += usize::from(before.is_none());
        before
    }

    pub fn remove(&mut self, key: i64) -> Option<V> {
        let page = self.pages.get_mut(&page_of(key))?;
        if !page.contains_key(&key) {
            return None;
        }
        let before = Arc::make_mut(page).remove(&key);
        if page.is_empty() {
            self.pages.remove(&page_of(key));
        }
        self.len -= 1;
        before
    }

    /// In the order of the keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.pages.values().flat_map(|page| page.values())
    }
}

fn page_of(key: i64) -> i64 {
    key.div_euclid(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_copy_does_not_see_later_changes_and_shares_untouched_pages() {
        let mut map = PagedMap::default();
        map.insert(1, "a");
        map.insert(1000, "b");
        let copy = map.clone();
        assert_eq!(map.insert(1, "c"), Some("a"));
        assert_eq!((copy.value(1), map.value(1)), (Some(&"a"), Some(&"c")));
        assert!(Arc::ptr_eq(&copy.pages[&page_of(1000)], &map.pages[&page_of(1000)]));
    }

    proptest! {
        #[test]
        fn behaves_as_a_sorted_map(steps in prop::collection::vec((-200i64..200, any::<Option<u8>>()), 0..200)) {
            let (mut map, mut model) = (PagedMap::default(), BTreeMap::new());
            for (key, value) in steps {
                if let Some(value) = value {
                    prop_assert_eq!(map.insert(key, value), model.insert(key, value));
                } else {
                    prop_assert_eq!(map.remove(key), model.remove(&key));
                }
                prop_assert_eq!(map.len(), model.len());
            }
            prop_assert!(map.values().eq(model.values()));
        }
    }
}
