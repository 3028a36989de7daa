//! What the rest of the process wants of the tailnet: for each kind only the newest wish counts, so nothing queues up.

use std::net::SocketAddr;

use tokio::sync::oneshot;

use crate::coordinator::core::policy::Policy;
use crate::coordinator::core::relay_map::RelaySettings;

#[derive(Debug, Default)]
pub struct Wishes {
    pub policy: Option<Policy>,
    pub relay: Option<RelaySettings>,
    pub gateway_endpoints: Option<Vec<SocketAddr>>,
    /// A key is to be ready for every host of the policy, from now on.
    pub keep_sheet: bool,
    /// Wants to know when nodes' reports are saved; one that is replaced learns by its end.
    pub save: Option<oneshot::Sender<()>>,
}
