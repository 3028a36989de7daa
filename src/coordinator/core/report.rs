//! What a node reports of itself with a map request: how it can be reached, what it is, what it offers.

use std::sync::Arc;

use crate::wire::control::{ENDPOINTS_MAX, Hostinfo, MapRequest, NodeId};
use crate::wire::key::MachinePublic;

use super::change::Mutation;
use super::node_record::NodeRecord;
use super::refusal::Refusal;
use super::registration::check_version;
use super::tailnet::Tailnet;

/// Bounds of a description that is kept and sent to every peer.
const ROUTES_MAX: usize = 256;
const SERVICES_MAX: usize = 64;
/// Of one node.
pub(super) const TAGS_MAX: usize = 32;
const SSH_KEYS_MAX: usize = 16;
const TEXT_MAX: usize = 1024;
/// Members not understood here are kept while their text is no longer than this.
const REST_MAX: usize = 16 * 1024;

impl Tailnet {
    /// The node that asks for its map, and what it reported that is new.
    ///
    /// # Errors
    /// 404 for a node key that is unknown or another machine's: which of the two is nobody's business.
    pub fn decide_report(
        &self,
        machine: MachinePublic,
        request: &MapRequest,
    ) -> Result<(NodeId, Vec<Mutation>), Refusal> {
        check_version(request.version)?;
        let own = self.view.node_by_key(request.node_key).filter(|node| node.machine == machine);
        let node = own.ok_or_else(|| {
            Refusal::not_found(
                "this node is not known here: it was deleted; join again with a pre-auth key: tailscale up --force-reauth --auth-key KEY",
            )
        })?;
        let record = self.reported(node, request);
        Ok((node.id, mutation(node, record).into_iter().collect()))
    }

    fn reported(&self, before: &NodeRecord, request: &MapRequest) -> NodeRecord {
        let mut record = NodeRecord { capability: request.version, ..before.clone() };
        if !request.disco_key.is_zero() {
            record.disco = request.disco_key;
        }
        // A long poll may leave endpoints out; an update without any means that there are none.
        if !request.stream || !request.endpoints.is_empty() {
            record.endpoints = request.endpoints.iter().copied().take(ENDPOINTS_MAX).collect();
        }
        if let Some(told) = &request.hostinfo {
            let merged = merge_hostinfo(&before.hostinfo, told.clone());
            record.home_derp = merged.net_info.as_ref().map_or(0, |info| info.preferred_derp.max(0));
            if !before.name_is_fixed && merged.hostname != before.hostinfo.hostname {
                record.name = self.free_name(&merged.hostname, before.id);
            }
            if merged != *before.hostinfo {
                record.hostinfo = Arc::new(merged);
            }
        }
        record
    }
}

/// A new name must survive a power cut; everything else the node reports again by itself.
fn mutation(before: &NodeRecord, after: NodeRecord) -> Option<Mutation> {
    match (after == *before, after.name == before.name) {
        (true, _) => None,
        (false, true) => Some(Mutation::Observed(Box::new(after))),
        (false, false) => Some(Mutation::Node(Box::new(after))),
    }
}

/// The newer description, with what it leaves out taken from the older, within bounds.
pub(super) fn merge_hostinfo(before: &Hostinfo, told: Hostinfo) -> Hostinfo {
    let mut merged = told;
    if merged.hostname.is_empty() {
        merged.hostname.clone_from(&before.hostname);
    }
    if merged.net_info.is_none() {
        merged.net_info.clone_from(&before.net_info);
    }
    shorten(&mut merged);
    merged
}

fn shorten(hostinfo: &mut Hostinfo) {
    hostinfo.routable_ips.truncate(ROUTES_MAX);
    hostinfo.services.truncate(SERVICES_MAX);
    hostinfo.request_tags.truncate(TAGS_MAX);
    hostinfo.ssh_host_keys.truncate(SSH_KEYS_MAX);
    for text in [&mut hostinfo.hostname, &mut hostinfo.os, &mut hostinfo.ipn_version] {
        shorten_text(text);
    }
    let services = hostinfo.services.iter_mut();
    services.flat_map(|service| [&mut service.proto, &mut service.description]).for_each(shorten_text);
    hostinfo.ssh_host_keys.iter_mut().chain(&mut hostinfo.request_tags).for_each(shorten_text);
    let net_info = hostinfo.net_info.as_mut().map(|info| &mut info.rest);
    for rest in [&mut hostinfo.rest].into_iter().chain(net_info) {
        if serde_json::to_string(rest).is_ok_and(|text| text.len() > REST_MAX) {
            rest.clear();
        }
    }
}

fn shorten_text(text: &mut String) {
    text.truncate(text.floor_char_boundary(TEXT_MAX));
}
