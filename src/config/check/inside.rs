//! What machines in the house must do when the router does not lead its own public address back in (hairpin NAT).

use serde::Serialize;

use super::Assembled;
use super::dns;

/// What stands where the machine's address in the house, when it is not configured, belongs.
const LAN_ADDRESS: &str = "<LAN address of this machine>";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inside {
    /// `join`, or the name that is to be looked up.
    pub subject: String,
    pub action: String,
    pub why: String,
}

pub fn derive(assembled: &Assembled) -> Vec<Inside> {
    let model = &assembled.model;
    let address = model.lan.address.map_or_else(|| LAN_ADDRESS.to_owned(), |address| address.to_string());
    let join = Inside {
        subject: "join".to_owned(),
        action: format!("tailscale up --login-server http://{address}:{}", model.ports.control),
        why: "Joins by the address in the house, without leaving it.".to_owned(),
    };
    let names = dns::derive(assembled).into_iter().map(|record| Inside {
        action: format!("{address} {}", record.name),
        subject: record.name,
        why: "In the router's DNS, or as a line of each machine's hosts file.".to_owned(),
    });
    std::iter::once(join).chain(names).collect()
}
