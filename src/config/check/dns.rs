//! The public DNS records that the names need.

use serde::Serialize;

use super::Assembled;
use super::names::sites;

/// What stands in a record where the house's public address, which only its owner knows, belongs.
const PUBLIC_ADDRESS: &str = "<public IPv4 address of the house, or CNAME to a DDNS name>";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DnsRecord {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub value: String,
}

/// The coordinator's name first, then the sites in the order of their routes.
pub fn derive(assembled: &Assembled) -> Vec<DnsRecord> {
    let mut names: Vec<&String> = Vec::new();
    for name in assembled.model.name.iter().chain(sites(assembled).map(|site| &site.value)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let record =
        |name: &String| DnsRecord { name: name.clone(), kind: "A", value: PUBLIC_ADDRESS.to_owned() };
    names.into_iter().map(record).collect()
}
