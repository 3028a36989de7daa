//! When a text goes to the owner's partition: only when it changed, and not too often. Each write risks a file system
//! that has no journal.

use std::time::{Duration, Instant};

/// Shortest time between two writes of one file.
pub const PAUSE: Duration = Duration::from_secs(30);

/// The text of one file, as it is and as it should be.
#[derive(Debug)]
pub struct OwnerFile {
    on_card: Option<String>,
    wanted: Option<String>,
    next: Option<Instant>,
}

impl OwnerFile {
    /// With what stands there now.
    #[must_use]
    pub fn new(on_card: Option<String>) -> Self {
        Self { on_card, wanted: None, next: None }
    }

    /// The file should say `text`.
    pub fn handle_text(&mut self, text: String) {
        self.wanted = (self.on_card.as_ref() != Some(&text)).then_some(text);
    }

    /// What to write at `now`, if anything. The shell reports by [`OwnerFile::handle_written`].
    #[must_use]
    pub fn poll_write(&self, now: Instant) -> Option<&str> {
        self.wanted.as_deref().filter(|_| self.next.is_none_or(|next| next <= now))
    }

    /// What must be written before the box goes down, whenever it was last written.
    #[must_use]
    pub fn poll_last_write(&self) -> Option<&str> {
        self.wanted.as_deref()
    }

    /// The write was tried at `now`.
    pub fn handle_written(&mut self, succeeded: bool, now: Instant) {
        self.next = Some(now + PAUSE);
        if succeeded && self.wanted.is_some() {
            self.on_card = self.wanted.take();
        }
    }

    /// When there is something to write.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wanted.as_ref().and(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_stands_there_already_is_not_written() {
        let now = Instant::now();
        let mut file = OwnerFile::new(Some("a".into()));
        file.handle_text("a".into());
        assert_eq!(file.poll_write(now), None);
        file.handle_text("b".into());
        assert_eq!(file.poll_write(now), Some("b"));
        file.handle_text("a".into());
        assert_eq!(file.poll_write(now), None, "it changed its mind before it was written");
    }

    proptest! {
        #[test]
        fn the_last_text_arrives_and_never_twice_in_a_pause(texts in proptest::collection::vec((0..3_u8, 0..20_u64), 1..40)) {
            let mut now = Instant::now();
            let mut file = OwnerFile::new(None);
            let mut card = String::new();
            let mut last_write: Option<Instant> = None;
            for (text, seconds) in &texts {
                file.handle_text(text.to_string());
                if let Some(text) = file.poll_write(now).map(String::from) {
                    prop_assert!(last_write.is_none_or(|last| now >= last + PAUSE));
                    prop_assert_ne!(&text, &card);
                    card = text;
                    last_write = Some(now);
                    file.handle_written(true, now);
                }
                now += Duration::from_secs(*seconds);
            }
            if let Some(text) = file.poll_last_write() {
                card = text.to_owned();
            }
            prop_assert_eq!(Some(card), texts.last().map(|(text, _)| text.to_string()));
        }
    }
}
