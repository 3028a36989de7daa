//! Numbered places that are used again, where an old number never reaches the new tenant.

/// Places that are made together. Pages stay where they are: a table that grows copies nothing and leaves no holes behind.
const PAGE: usize = 64;

/// A bounded table. A removed value's id is dead for ever, even when its place is taken again.
#[derive(Debug)]
pub struct Slots<T> {
    /// Each of at most [`PAGE`]; all but the last are full.
    pages: Vec<Vec<Place<T>>>,
    made: usize,
    vacant: Vec<u32>,
    limit: usize,
}

/// Names one value for its lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    /// Room for `limit` values; memory is taken as they come.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { pages: Vec::new(), made: 0, vacant: Vec::new(), limit: limit.min(u32::MAX as usize) }
    }

    /// # Errors
    /// Gives the value back when the table is full.
    pub fn insert(&mut self, value: T) -> Result<SlotId, T> {
        if let Some(index) = self.vacant.pop() {
            let place = self.place_mut(index).expect("a vacant place has been made");
            place.value = Some(value);
            return Ok(SlotId { index, generation: place.generation });
        }
        if self.made >= self.limit {
            return Err(value);
        }
        let index = u32::try_from(self.made).expect("the limit fits 32 bits");
        if self.made.is_multiple_of(PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        self.made += 1;
        self.pages[index as usize / PAGE].push(Place { generation: 0, value: Some(value) });
        Ok(SlotId { index, generation: 0 })
    }

    #[must_use]
    pub fn get(&self, id: SlotId) -> Option<&T> {
        let place = self.pages.get(id.index as usize / PAGE)?.get(id.index as usize % PAGE)?;
        place.value.as_ref().filter(|_| place.generation == id.generation)
    }

    pub fn get_mut(&mut self, id: SlotId) -> Option<&mut T> {
        let place = self.place_mut(id.index)?;
        place.value.as_mut().filter(|_| place.generation == id.generation)
    }

    pub fn remove(&mut self, id: SlotId) -> Option<T> {
        let place = self.place_mut(id.index).filter(|place| place.generation == id.generation)?;
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.vacant.push(id.index);
        Some(value)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.made - self.vacant.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every value with its id.
    pub fn iter(&self) -> impl Iterator<Item = (SlotId, &T)> {
        (0..).zip(self.pages.iter().flatten()).filter_map(|(index, place)| {
            let id = SlotId { index, generation: place.generation };
            place.value.as_ref().map(|value| (id, value))
        })
    }

    fn place_mut(&mut self, index: u32) -> Option<&mut Place<T>> {
        self.pages.get_mut(index as usize / PAGE)?.get_mut(index as usize % PAGE)
    }
}

impl SlotId {
    /// One number, for interfaces that carry 64 bits.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    pub fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_id_does_not_reach_the_new_tenant() {
        let mut slots = Slots::new(2);
        let first = slots.insert("first").expect("room");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second").expect("room");
        assert_eq!(first.index, second.index, "the place is used again");
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(SlotId::from_bits(second.to_bits())), Some(&"second"));
        assert_eq!(slots.get(SlotId::from_bits(u64::MAX)), None);
    }

    #[test]
    fn a_table_of_many_pages_finds_all() {
        let mut slots = Slots::new(10 * PAGE);
        let ids: Vec<_> = (0..=3 * PAGE).map(|value| slots.insert(value).expect("room")).collect();
        assert!(ids.iter().enumerate().all(|(value, id)| slots.get(*id) == Some(&value)));
        assert_eq!((slots.len(), slots.iter().count()), (3 * PAGE + 1, 3 * PAGE + 1));
        assert_eq!(slots.remove(ids[2 * PAGE]), Some(2 * PAGE));
        assert_eq!(
            slots.iter().map(|(id, _)| id).collect::<Vec<_>>(),
            [&ids[..2 * PAGE], &ids[2 * PAGE + 1..]].concat()
        );
    }

    #[test]
    fn the_limit_holds_and_ids_are_listed() {
        let mut slots = Slots::new(2);
        let one = slots.insert(1).expect("room");
        let two = slots.insert(2).expect("room");
        assert_eq!(slots.insert(3), Err(3));
        assert_eq!(slots.iter().collect::<Vec<_>>(), [(one, &1), (two, &2)]);
        slots.remove(one);
        assert_eq!((slots.len(), slots.is_empty()), (1, false));
        assert!(slots.insert(4).is_ok());
    }
}
