//! Which interface is the house's.

use super::{Interface, Present};
use crate::appliance::core::settings::NetworkSettings;

/// What was chosen, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// There is no interface for a cable, or not the one the owner names.
    Nothing,
    /// No cable leads anywhere; this one would be taken.
    NoLink(u32),
    Linked(u32),
}

impl Choice {
    #[must_use]
    pub fn index(&self) -> Option<u32> {
        match self {
            Self::Nothing => None,
            Self::NoLink(index) | Self::Linked(index) => Some(*index),
        }
    }

    #[must_use]
    pub fn is_linked(&self) -> bool {
        matches!(self, Self::Linked(_))
    }
}

/// The owner's interface, else the first wired one with a link. The one chosen before, `before`, is kept while it has a link
/// or no other has.
#[must_use]
pub fn choose(settings: &NetworkSettings, present: &Present, before: Option<u32>) -> Choice {
    let is_kept = |interface: &&Interface| Some(interface.index) == before;
    let linked: Vec<&Interface> =
        candidates(settings, present).filter(|interface| interface.has_link).collect();
    if let Some(interface) = linked.iter().copied().find(is_kept).or(linked.first().copied()) {
        return Choice::Linked(interface.index);
    }
    let kept = candidates(settings, present).find(is_kept);
    let first = kept.or_else(|| candidates(settings, present).next());
    first.map_or(Choice::Nothing, |interface| Choice::NoLink(interface.index))
}

/// All interfaces that may be chosen. They have to be switched on for their link to be seen.
pub(super) fn candidates<'a>(
    settings: &'a NetworkSettings,
    present: &'a Present,
) -> impl Iterator<Item = &'a Interface> {
    present.interfaces.iter().filter(|interface| match &settings.interface {
        Some(name) => interface.name == *name,
        None => interface.is_wired,
    })
}
