//! Pure state machines of the edge.

pub mod acme_order;
pub mod balance;
pub mod bulk;
pub mod certificate;
pub mod cipher_order;
pub mod dispatch;
pub mod external_account;
pub mod headers;
pub mod host_route;
pub mod listen_plan;
pub mod proxy_header;
pub mod relay_flow;
pub mod route;
pub mod udp_flows;
