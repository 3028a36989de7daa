//! What of root the worker keeps.

/// A capability's number (`capabilities(7)`).
type Capability = u32;

const NET_BIND_SERVICE: Capability = 10;

/// Ports below 1024, also those that a reload adds. `CAP_NET_ADMIN` made the tunnel before and is not needed any more.
pub const KEPT: [Capability; 1] = [NET_BIND_SERVICE];

/// Highest number that a kernel may know; the sets are 64 bits wide.
pub const HIGHEST: Capability = 63;

/// [`KEPT`] as the kernel's bit set: what `CapEff` of `/proc/<pid>/status` shows for a worker that was given them.
pub const KEPT_SET: u64 = set(&KEPT);

const fn set(capabilities: &[Capability]) -> u64 {
    let (mut bits, mut index) = (0, 0);
    while index < capabilities.len() {
        bits |= 1 << capabilities[index];
        index += 1;
    }
    bits
}

/// The numbers to be taken out of the bounding set.
pub fn dropped() -> impl Iterator<Item = Capability> {
    (0..=HIGHEST).filter(|capability| !KEPT.contains(capability))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_one_are_dropped() {
        assert_eq!(KEPT_SET, 0x400);
        assert_eq!(dropped().count(), 63);
        assert!(dropped().all(|capability| KEPT_SET & (1 << capability) == 0));
    }
}
