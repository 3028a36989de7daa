//! How many descriptors (sockets, files) the process may hold, and whether that is enough for every ceiling.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::edge::EdgeSettings;
use crate::edge::settings::UDP_FLOWS;

/// What is open besides the edge's connections: store, admin and metrics sockets, TUN, event queues, look-ups
/// under way, the relay's pipes.
const OTHERS: usize = 320;

/// When the limit cannot be read: what Linux gives where nobody said otherwise.
const USUAL: usize = 1024;

/// Raises the soft limit to the hard one, and gives what holds from now on. The soft limit is low for programs that use
/// `select`, which this one does not.
pub fn raise() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return USUAL };
    let now = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(%error, soft, hard, "the limit of descriptors cannot be raised");
            soft
        }
    };
    usize::try_from(now).unwrap_or(usize::MAX)
}

/// UDP flows that fit beside everything else: at most a quarter of the descriptors, for any stranger can begin one with a single
/// forged datagram.
#[must_use]
pub fn udp_flows(descriptors: usize) -> usize {
    (descriptors / 4).min(UDP_FLOWS)
}

/// Says how to get more when not every ceiling can be reached.
pub fn warn_if_few(descriptors: usize, settings: &EdgeSettings) {
    let wanted = OTHERS + settings.descriptors_max();
    if descriptors < wanted {
        tracing::warn!(
            descriptors,
            wanted,
            "connections will be refused before their ceilings are reached: raise the hard limit of open files \
             (LimitNOFILE= of a systemd unit, `ulimit -Hn` of a shell)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_leave_most_descriptors_to_others() {
        assert_eq!(udp_flows(1024), 256);
        assert_eq!(udp_flows(1 << 20), UDP_FLOWS);
        let usual = EdgeSettings::new(crate::edge::core::route::EdgeConfig::default(), [0; 32]);
        assert_eq!(usual.descriptors_max(), 3 * (1 + 2 * usual.connections.total));
    }
}
