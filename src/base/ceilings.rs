//! Ceilings on simultaneous connections or flows, per listener and per source, which come down again when something ends.

use std::collections::HashMap;

use super::source::Source;

/// How many may be open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceilings {
    /// Of the whole listener.
    pub total: usize,
    /// Of one [`Source`].
    pub per_source: usize,
}

/// Why a newcomer was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("the listener is at its ceiling")]
    Full,
    #[error("the source is at its ceiling")]
    SourceFull,
}

/// Who is inside now. Every successful `admit` is matched by exactly one `release`.
#[derive(Debug)]
pub struct Admissions {
    ceilings: Ceilings,
    total: usize,
    by_source: HashMap<Source, usize>,
}

impl Admissions {
    #[must_use]
    pub fn new(ceilings: Ceilings) -> Self {
        Self { ceilings, total: 0, by_source: HashMap::new() }
    }

    /// Counts a newcomer from `source` in.
    ///
    /// # Errors
    /// [`Denied`] when a ceiling is reached; nothing is counted then.
    pub fn admit(&mut self, source: Source) -> Result<(), Denied> {
        if self.total >= self.ceilings.total {
            return Err(Denied::Full);
        }
        self.check_source(source)?;
        *self.by_source.entry(source).or_default() += 1;
        self.total += 1;
        Ok(())
    }

    /// Whether `source` has room of its own, however full the listener is.
    ///
    /// # Errors
    /// [`Denied::SourceFull`].
    pub fn check_source(&self, source: Source) -> Result<(), Denied> {
        let open = self.by_source.get(&source).copied().unwrap_or(0);
        if open < self.ceilings.per_source { Ok(()) } else { Err(Denied::SourceFull) }
    }

    /// Counts one admitted from `source` out; unknown sources change nothing.
    pub fn release(&mut self, source: Source) {
        let Some(open) = self.by_source.get_mut(&source) else { return };
        *open -= 1;
        if *open == 0 {
            self.by_source.remove(&source);
        }
        self.total -= 1;
    }

    /// New ceilings for newcomers; those inside stay.
    pub fn set_ceilings(&mut self, ceilings: Ceilings) {
        self.ceilings = ceilings;
    }

    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(text.parse().expect("an address"))
    }

    #[test]
    fn ceilings_hold_and_come_down_again() {
        let mut admissions = Admissions::new(Ceilings { total: 3, per_source: 2 });
        let (one, two) = (source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(admissions.admit(one), Ok(()));
        assert_eq!(admissions.admit(one), Ok(()));
        assert_eq!(admissions.admit(one), Err(Denied::SourceFull));
        assert_eq!(admissions.admit(two), Ok(()));
        assert_eq!(admissions.admit(two), Err(Denied::Full));
        admissions.release(one);
        assert_eq!(admissions.admit(one), Ok(()));
        for gone in [one, one, two, two] {
            admissions.release(gone);
        }
        assert_eq!(admissions.total(), 0);
        assert!(admissions.by_source.is_empty(), "sources that left keep no memory");
    }
}
