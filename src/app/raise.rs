//! What needs privileges at the start, opened before they are given up.

use super::AppError;
use crate::config::model::Model;
use crate::coordinator::core::address_pool;
use crate::tunnel::driver::{self, Raised, TunSettings, TunnelError};

/// What every path of the internet carries, and what the clients use.
const TUN_MTU: u16 = 1280;

const TUN_NAME: &str = "genkan0";

/// Opens the tunnel, on a runtime of its own that has no thread but this one. Without a tunnel the rest of the house still serves: its error is
/// for whoever would serve it.
pub fn tunnel(model: &Model) -> Result<Result<Raised, TunnelError>, AppError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| AppError::environment("no events from the kernel", error))?;
    let interface = TunSettings {
        name: TUN_NAME.into(),
        mtu: TUN_MTU,
        ipv4: address_pool::GATEWAY,
        ipv6: address_pool::ipv6_of(address_pool::GATEWAY),
        offload: true,
    };
    Ok(runtime.block_on(driver::raise(interface, model.ports.wireguard)))
}
