//! Pure state machines of the coordinator.

pub mod address_pool;
pub mod admin_view;
pub mod administration;
pub mod api_key;
pub mod auth_key;
pub mod change;
pub mod digest;
pub mod join_line;
pub mod join_sheet;
pub mod map_builder;
pub mod map_delta;
pub mod map_session;
pub mod naming;
pub mod node_name;
pub mod node_record;
pub mod policy;
pub mod presence;
pub mod refusal;
pub mod registration;
pub mod relay;
pub mod relay_map;
pub mod relocation;
pub mod report;
pub mod reservation;
pub mod route_election;
pub mod snapshot;
pub mod tailnet;
pub mod upkeep;
pub mod user;

#[cfg(test)]
pub(in crate::coordinator) mod test_support;
