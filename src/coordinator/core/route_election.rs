//! Which of several routers serves a subnet: clients must see each prefix at one peer only.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::wire::control::NodeId;

use super::node_record::NodeRecord;

/// The router of each approved and offered prefix.
pub type Primaries = BTreeMap<IpNet, NodeId>;

/// A router keeps a prefix while it is online; otherwise the online one with the lowest number takes over, and where none
/// is online nothing moves. `nodes` come in the order of their numbers.
#[must_use]
pub fn elect<'a>(nodes: impl Iterator<Item = &'a NodeRecord>, before: &Primaries) -> Primaries {
    let mut offers: BTreeMap<IpNet, Vec<(NodeId, bool)>> = BTreeMap::new();
    for node in nodes.filter(|node| !node.expired) {
        for route in node.routes().into_iter().filter(|route| !is_exit(route)) {
            offers.entry(route).or_default().push((node.id, node.online));
        }
    }
    let choose = |(prefix, routers): (IpNet, Vec<(NodeId, bool)>)| {
        let holder = before.get(&prefix).and_then(|id| routers.iter().find(|(router, _)| router == id));
        let online =
            holder.filter(|(_, online)| *online).or_else(|| routers.iter().find(|(_, online)| *online));
        online.or(holder).or_else(|| routers.first()).map(|(router, _)| (prefix, *router))
    };
    offers.into_iter().filter_map(choose).collect()
}

/// A way to the internet may be offered by several at once: its user picks one.
#[must_use]
pub fn is_exit(route: &IpNet) -> bool {
    route.prefix_len() == 0
}
