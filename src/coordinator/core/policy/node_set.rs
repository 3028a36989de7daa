//! A set of nodes by their position among the subjects of one compilation: one bit each.

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeSet {
    /// No trailing zero words, so that equal sets are equal.
    words: Vec<u64>,
}

impl NodeSet {
    pub fn insert(&mut self, position: usize) {
        let word = position / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (position % 64);
    }

    pub fn contains(&self, position: usize) -> bool {
        self.words.get(position / 64).is_some_and(|word| word >> (position % 64) & 1 == 1)
    }

    pub fn meets(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(a, b)| a & b != 0)
    }

    pub fn extend_from(&mut self, other: &Self) {
        if other.words.len() > self.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (own, more) in self.words.iter_mut().zip(&other.words) {
            *own |= more;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let bits = |(index, word): (usize, &u64)| {
            let word = *word;
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index * 64 + bit)
        };
        self.words.iter().enumerate().flat_map(bits)
    }
}

impl FromIterator<usize> for NodeSet {
    fn from_iter<I: IntoIterator<Item = usize>>(positions: I) -> Self {
        let mut set = Self::default();
        for position in positions {
            set.insert(position);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::NodeSet;

    #[test]
    fn holds_what_was_put_in() {
        let set: NodeSet = [0, 63, 64, 700].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 700]);
        assert!(set.contains(64) && !set.contains(65) && !set.contains(100_000));
        assert!(set.meets(&[700].into_iter().collect()));
        assert!(!set.meets(&[1, 65].into_iter().collect()));
    }

    #[test]
    fn union_is_the_same_set_in_either_order() {
        let (a, b): (NodeSet, NodeSet) = ([1, 200].into_iter().collect(), [3].into_iter().collect());
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.extend_from(&b);
        ba.extend_from(&a);
        assert_eq!(ab, ba);
    }
}
