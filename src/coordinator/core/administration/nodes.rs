//! Commands about nodes.

use ipnet::IpNet;

use crate::base::wall_time::WallTime;
use crate::coordinator::core::admin_view::{NodeExpiry, NodeView};
use crate::coordinator::core::change::Mutation;
use crate::coordinator::core::node_name;
use crate::coordinator::core::node_record::{NodeOrigin, NodeRecord};
use crate::coordinator::core::policy::is_in_tailnet;
use crate::coordinator::core::refusal::Refusal;
use crate::coordinator::core::tailnet::Tailnet;
use crate::wire::control::NodeId;

use super::Decision;
use super::keys::check_tags;

/// What one node may route for; each route is sent to every viewer.
const ROUTES_MAX: usize = 256;

impl Tailnet {
    /// # Errors
    /// 404 for an unknown node, 403 for the gateway.
    pub fn decide_delete_node(&self, node: NodeId) -> Result<Decision<()>, Refusal> {
        self.other_node(node)?;
        Ok(((), vec![Mutation::NodeRemoved(node)]))
    }

    /// Ends the node's key now, later or never. A key that ended comes back to life by a later end, or by joining again.
    ///
    /// # Errors
    /// 404 for an unknown node, 403 for the gateway, 400 for an end in the past.
    pub fn decide_expire_node(
        &self,
        node: NodeId,
        expiry: NodeExpiry,
        wall: WallTime,
    ) -> Result<Decision<NodeView>, Refusal> {
        let before = self.other_node(node)?;
        let expiry = match expiry {
            NodeExpiry::Now => {
                let ended = NodeRecord { expired: true, expiry: wall.known(), ..before.clone() };
                return Ok(self.changed(ended));
            }
            NodeExpiry::At(end) if wall.is_past(end) => {
                return Err(Refusal::bad_request("the expiry is in the past; to end the key now, give none"));
            }
            NodeExpiry::At(end) => Some(end),
            NodeExpiry::Never => None,
        };
        Ok(self.changed(NodeRecord { expiry, expired: false, ..before.clone() }))
    }

    /// # Errors
    /// 404 for an unknown node, 403 for the gateway, 400 for what is no DNS label, 409 for a name that is taken.
    pub fn decide_rename_node(&self, node: NodeId, name: &str) -> Result<Decision<NodeView>, Refusal> {
        let before = self.other_node(node)?;
        if node_name::clean(name) != name {
            return Err(Refusal::bad_request(format!(
                "a node name is one DNS label of lower-case letters, digits and hyphens, for example {}",
                node_name::clean(name)
            )));
        }
        let is_own_host = before.host.as_deref().is_some_and(|host| self.host_label(host) == name);
        if !is_own_host && self.free_name(name, node) != name {
            return Err(Refusal::conflict(format!(
                "the name {name} belongs to another node, or to a host of the policy"
            )));
        }
        Ok(self.changed(NodeRecord { name: name.to_owned(), name_is_fixed: true, ..before.clone() }))
    }

    /// Replaces the node's tags; from then on it belongs to nobody, and its key does not end.
    ///
    /// # Errors
    /// 404 for an unknown node, 403 for the gateway, 400 for tags the policy does not know, or none.
    pub fn decide_tag_node(&self, node: NodeId, tags: Vec<String>) -> Result<Decision<NodeView>, Refusal> {
        let before = self.other_node(node)?;
        check_tags(&tags)?;
        if tags.is_empty() {
            return Err(Refusal::bad_request(
                "a tagged node cannot become a person's again; join it anew with an untagged key",
            ));
        }
        if let Some(tag) = tags.iter().find(|tag| !self.view.policy.tag_owners.contains_key(*tag)) {
            return Err(Refusal::bad_request(format!("the policy's tagOwners do not know {tag}")));
        }
        Ok(self.changed(NodeRecord { tags, user: None, expiry: None, ..before.clone() }))
    }

    /// Replaces the list of routes the node may serve; it serves those of them that it offers.
    ///
    /// # Errors
    /// 404 for an unknown node, 403 for the gateway, 400 for a route into the tailnet itself.
    pub fn decide_approve_routes(
        &self,
        node: NodeId,
        routes: &[IpNet],
    ) -> Result<Decision<NodeView>, Refusal> {
        let before = self.other_node(node)?;
        if routes.len() > ROUTES_MAX {
            return Err(Refusal::bad_request(format!("at most {ROUTES_MAX} routes for one node")));
        }
        let is_own = |route: &&IpNet| route.prefix_len() > 0 && is_in_tailnet(route.network());
        if let Some(route) = routes.iter().find(is_own) {
            return Err(Refusal::bad_request(format!("{route} is the tailnet's own range")));
        }
        let approved_routes = routes.iter().map(IpNet::trunc).collect();
        Ok(self.changed(NodeRecord { approved_routes, ..before.clone() }))
    }

    fn changed(&self, record: NodeRecord) -> Decision<NodeView> {
        (self.view.node_view(&record), vec![Mutation::Node(Box::new(record))])
    }

    fn node_or_refusal(&self, node: NodeId) -> Result<&NodeRecord, Refusal> {
        self.view.node(node).ok_or_else(|| {
            Refusal::not_found(format!("there is no node {node}; genkan nodes list shows those that are"))
        })
    }

    /// A node that is not the gateway: that one is made from the box's own settings at each start.
    fn other_node(&self, node: NodeId) -> Result<&NodeRecord, Refusal> {
        let record = self.node_or_refusal(node)?;
        if record.origin == NodeOrigin::Gateway {
            return Err(Refusal::forbidden(
                "this is the gateway itself: its name comes from the policy's hosts, its key from the box's state",
            ));
        }
        Ok(record)
    }
}
