//! Whether the machine behind an address can be there at all.

use std::net::IpAddr;

use crate::base::condition::Condition;
use crate::base::wall_time::{UnixTime, WallTime};
use crate::coordinator::core::address_pool;
use crate::coordinator::core::node_record::NodeRecord;
use crate::coordinator::ledger::Snapshot;
use crate::health::catalogue::{NODE_EXPIRED, NODE_MISSING, NODE_OFFLINE};

/// How the machine stands that something leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Not of the tailnet: nothing is known of it.
    Outside,
    Online(String),
    Offline(String, Option<UnixTime>),
    Expired(String),
    /// No machine has the address; with the name that the policy keeps it for.
    Missing(Option<String>),
}

/// Of `host`, an address or a name as an upstream has it.
pub fn of(host: &str, snapshot: &Snapshot, wall: WallTime) -> Standing {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let Some(address) = host.parse::<IpAddr>().ok().filter(|address| is_of_tailnet(*address)) else {
        return Standing::Outside;
    };
    let Some(record) = node_at(address, snapshot) else {
        return Standing::Missing(snapshot.policy().reserved_name(address).map(str::to_owned));
    };
    let name = record.name.clone();
    match (record.is_expired(wall), record.online) {
        (true, _) => Standing::Expired(name),
        (false, true) => Standing::Online(name),
        (false, false) => Standing::Offline(name, record.last_seen),
    }
}

/// The node that has `address`; the gateway's own is not asked for, it is here.
pub fn node_at(address: IpAddr, snapshot: &Snapshot) -> Option<&NodeRecord> {
    let has = |record: &&NodeRecord| match address {
        IpAddr::V4(address) => record.ipv4 == address,
        IpAddr::V6(address) => record.ipv6() == address,
    };
    snapshot.entries().map(|entry| &entry.record).find(has)
}

/// Inside the ranges of a tailnet: 100.64.0.0/10 as far as nodes have it, and `fd7a:115c:a1e0::/48`.
pub fn is_of_tailnet(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address_pool::is_assignable(address),
        IpAddr::V6(address) => address.segments()[..3] == [0xfd7a, 0x115c, 0xa1e0],
    }
}

impl Standing {
    /// What the owner is told of a machine at `host` that services lead to; `None` when it is there.
    pub fn condition(&self, host: &str) -> Option<Condition> {
        let condition = match self {
            Self::Outside | Self::Online(_) => return None,
            Self::Offline(name, last_seen) => {
                let since = last_seen.map(|at| format!(", since {}", at.to_minute())).unwrap_or_default();
                NODE_OFFLINE
                    .condition(format!("there is no connection to {name}"))
                    .because(format!("Services lead to it ({host}), and it is not connected{since}."))
                    .cure("Switch it on; on it, `tailscale status` tells what it sees.")
            }
            Self::Expired(name) => NODE_EXPIRED
                .condition(format!("the key of {name} is over"))
                .because(format!("Services lead to it ({host})."))
                .cure("Let it join again with a new key: `tailscale up --force-reauth --auth-key ...`."),
            Self::Missing(name) => {
                let name = name.as_deref();
                NODE_MISSING
                    .condition(format!("no machine has joined as {}", name.unwrap_or(host)))
                    .because(format!("Services lead to {host}, and no machine of the tailnet has that address."))
                    .cure("Let it join with a key made for it (`genkan preauthkeys create --host NAME`; on the card: JOIN.txt).")
            }
        };
        Some(condition.about(host))
    }

    /// The machine's name, where it has one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Online(name) | Self::Offline(name, _) | Self::Expired(name) => Some(name),
            Self::Missing(name) => name.as_deref(),
            Self::Outside => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_machine_that_is_not_there_is_told() {
        let told = |standing: Standing| {
            standing.condition("100.64.0.2").map(|one| format!("{} {}", one.code, one.what))
        };
        assert_eq!(told(Standing::Outside), None);
        assert_eq!(told(Standing::Online("a".into())), None);
        let offline = Standing::Offline("machine-a".into(), Some(UnixTime(1_800_000_000)));
        assert_eq!(told(offline.clone()).as_deref(), Some("JOIN-02 there is no connection to machine-a"));
        assert!(offline.condition("x").expect("told").why.contains("2027-01-15"));
        assert_eq!(told(Standing::Expired("a".into())).as_deref(), Some("JOIN-03 the key of a is over"));
        assert_eq!(
            told(Standing::Missing(None)).as_deref(),
            Some("JOIN-04 no machine has joined as 100.64.0.2")
        );
        assert_eq!(
            told(Standing::Missing(Some("a".into()))).as_deref(),
            Some("JOIN-04 no machine has joined as a")
        );
    }

    #[test]
    fn the_tailnet_has_its_ranges() {
        for (address, expected) in [
            ("100.64.0.2", true),
            ("100.64.0.1", false),
            ("192.168.1.2", false),
            ("fd7a:115c:a1e0::2", true),
            ("fd00::2", false),
        ] {
            assert_eq!(is_of_tailnet(address.parse().expect("an address")), expected, "{address}");
        }
    }
}
