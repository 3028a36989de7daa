//! A pre-auth key opens: which node the machine becomes, with which owner, name and address.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::base::wall_time::WallTime;
use crate::coordinator::core::address_pool;
use crate::coordinator::core::auth_key::AuthKey;
use crate::coordinator::core::change::{Issued, Mutation};
use crate::coordinator::core::node_record::{NodeOrigin, NodeRecord};
use crate::coordinator::core::policy::Subject;
use crate::coordinator::core::report::{self, TAGS_MAX};
use crate::coordinator::core::tailnet::Tailnet;
use crate::wire::control::{Hostinfo, NodeId, RegisterRequest};
use crate::wire::key::{DiscoPublic, MachinePublic, NodePublic};

use super::{Decision, GO_ZERO, expired_answer};

/// Nodes in all, the gateway included: far above a household, and each costs every other a line of its netmap. A reusable key in the
/// wrong hands makes no more than these.
pub(super) const NODES_MAX: usize = 1024;

impl Tailnet {
    /// Joins the machine by `key`.
    ///
    /// # Errors
    /// A sentence for the person at the machine.
    pub(super) fn admit(
        &self,
        machine: MachinePublic,
        request: &RegisterRequest,
        key: &AuthKey,
        wall: WallTime,
    ) -> Result<Decision, String> {
        key.check(wall).map_err(|problem| problem.to_string())?;
        let tags = self.granted_tags(request, key)?;
        let before = self.node_to_renew(machine, key, &tags);
        let holder = self.view.node_by_key(request.node_key);
        if holder.is_some_and(|holder| before.is_none_or(|before| before.id != holder.id)) {
            // One node key cannot stand for two nodes: with a fresh one the same machine may be both.
            return Ok((expired_answer(), Vec::new()));
        }
        let mut record = self.renewed_or_new(machine, request, key, before, wall)?;
        record.tags = tags;
        let is_tagged = !record.tags.is_empty();
        record.user = key.user.filter(|_| !is_tagged);
        // The key of a tagged node does not end.
        record.expiry = request.expiry.filter(|end| *end > GO_ZERO && !is_tagged);
        let displaced = self.displaced_by(&record.name, record.id, &self.reservations);
        let mut mutations: Vec<_> =
            displaced.into_iter().map(|node| Mutation::Node(Box::new(node))).collect();
        mutations.extend(self.others_of(machine, record.id));
        mutations.push(Mutation::Key(AuthKey { used: true, ..key.clone() }));
        if before.is_none() {
            mutations.push(Mutation::Issued(self.issued_with(&record)));
        }
        let answer = self.accepted(&record);
        mutations.push(Mutation::Node(Box::new(record)));
        Ok((answer, mutations))
    }

    /// The key's tags win; without any, the machine gets those it asks for if the key's user may give them.
    fn granted_tags(&self, request: &RegisterRequest, key: &AuthKey) -> Result<Vec<String>, String> {
        if !key.tags.is_empty() {
            return Ok(key.tags.clone());
        }
        let wanted: BTreeSet<&String> = request.hostinfo.iter().flat_map(|info| &info.request_tags).collect();
        if wanted.len() > TAGS_MAX {
            return Err(format!("more than {TAGS_MAX} tags: ask for fewer with --advertise-tags"));
        }
        let giver = Subject {
            id: NodeId(0),
            user: key.user.and_then(|user| self.view.user(user)).map(|user| user.login_name()),
            tags: Vec::new(),
            ipv4: Ipv4Addr::UNSPECIFIED,
            ipv6: std::net::Ipv6Addr::UNSPECIFIED,
            routes: Vec::new(),
        };
        match wanted.iter().find(|tag| !self.view.policy.lets_tag(&giver, tag)) {
            Some(_) => Err("tags not allowed: the policy's tagOwners do not let this key's user give the tags asked for; make a key with --tags, or leave --advertise-tags out".into()),
            None => Ok(wanted.into_iter().cloned().collect()),
        }
    }

    /// The machine's node that this key renews: the one of the same owner, or one that changes between being a person's
    /// and being tagged. A different person's node stays apart.
    fn node_to_renew(&self, machine: MachinePublic, key: &AuthKey, tags: &[String]) -> Option<&NodeRecord> {
        let user = if tags.is_empty() { key.user } else { None };
        let same = self.nodes_of(machine).find(|node| node.user == user);
        same.or_else(|| self.nodes_of(machine).find(|node| user.is_none() || node.user.is_none()))
    }

    fn nodes_of(&self, machine: MachinePublic) -> impl Iterator<Item = &NodeRecord> {
        let range = (machine, NodeId(i64::MIN))..=(machine, NodeId(i64::MAX));
        let nodes = self.machines.range(range).filter_map(|(_, node)| self.view.node(*node));
        nodes.filter(|node| node.origin != NodeOrigin::Gateway)
    }

    fn renewed_or_new(
        &self,
        machine: MachinePublic,
        request: &RegisterRequest,
        key: &AuthKey,
        before: Option<&NodeRecord>,
        wall: WallTime,
    ) -> Result<NodeRecord, String> {
        let told = request.hostinfo.clone().unwrap_or_default();
        let mut record = match before {
            Some(node) => node.clone(),
            None => self.blank(machine, &told, key, wall)?,
        };
        let hostinfo = report::merge_hostinfo(&record.hostinfo, told);
        if before.is_some() && !record.name_is_fixed && hostinfo.hostname != record.hostinfo.hostname {
            record.name = self.free_name(&hostinfo.hostname, record.id);
        }
        record.hostinfo = Arc::new(hostinfo);
        record.node_key = request.node_key;
        record.origin = NodeOrigin::AuthKey(key.id);
        record.ephemeral = key.ephemeral || request.ephemeral;
        record.expired = false;
        record.capability = request.version;
        if let Some(host) = &key.host {
            record.ipv4 = self.claim(host, record.id)?;
            record.name = self.host_label(host);
            record.name_is_fixed = true;
            record.host = Some(host.clone());
        }
        Ok(record)
    }

    /// A node that never was: the next number, a free name and a free address.
    fn blank(
        &self,
        machine: MachinePublic,
        told: &Hostinfo,
        key: &AuthKey,
        wall: WallTime,
    ) -> Result<NodeRecord, String> {
        if self.view.nodes.len() >= NODES_MAX {
            return Err(format!(
                "this coordinator has {NODES_MAX} nodes and takes no more: delete some that are not used any more with \"genkan nodes delete\""
            ));
        }
        let id = NodeId(self.issued.node.0 + 1);
        let ipv4 = match &key.host {
            Some(host) => self.claim(host, id)?,
            None => self.free_address()?,
        };
        Ok(NodeRecord {
            id,
            machine,
            node_key: NodePublic::default(),
            user: None,
            tags: Vec::new(),
            name: self.free_name(&told.hostname, id),
            name_is_fixed: false,
            host: None,
            ipv4,
            approved_routes: Vec::new(),
            origin: NodeOrigin::AuthKey(key.id),
            ephemeral: false,
            expiry: None,
            expired: false,
            created: wall.known(),
            hostinfo: Arc::default(),
            capability: 0,
            disco: DiscoPublic::default(),
            endpoints: Vec::new(),
            home_derp: 0,
            online: false,
            last_seen: None,
        })
    }

    pub(in crate::coordinator::core) fn free_address(&self) -> Result<Ipv4Addr, String> {
        let is_taken =
            |address| self.addresses.contains_key(&address) || self.reservations.holds_address(address);
        address_pool::choose(self.issued.address, is_taken)
            .ok_or_else(|| "no address is left: delete nodes that are not used any more".to_owned())
    }

    /// What was given out, with a new node counted in. Addresses set aside for hosts are not given out in turn.
    fn issued_with(&self, record: &NodeRecord) -> Issued {
        let address = if record.host.is_some() { self.issued.address } else { record.ipv4 };
        Issued { node: record.id, address, ..self.issued }
    }

    /// The address that the policy sets aside for `host`, if no other node has it.
    fn claim(&self, host: &str, node: NodeId) -> Result<Ipv4Addr, String> {
        let address = self.reservations.address(host).ok_or_else(|| {
            format!("the policy has no host {host} with one address any more; make a key for another host")
        })?;
        match self.addresses.get(&address).filter(|holder| **holder != node) {
            None => Ok(address),
            Some(holder) => Err(format!(
                "the host {host} is already taken by node {holder}; if that machine is gone: genkan nodes delete {holder}"
            )),
        }
    }

    /// The machine is now one node: keys of the others it was end.
    fn others_of(&self, machine: MachinePublic, node: NodeId) -> impl Iterator<Item = Mutation> {
        let others = self.nodes_of(machine).filter(move |other| other.id != node && !other.expired);
        others.map(|other| Mutation::Node(Box::new(NodeRecord { expired: true, ..other.clone() })))
    }
}
