//! The HTTP half of the edge over loopback sockets.

#[path = "edge/asking.rs"]
mod asking;
#[path = "edge/client.rs"]
mod client;
#[path = "edge/house.rs"]
mod house;
#[path = "edge/limits.rs"]
mod limits;
#[path = "edge/proxying.rs"]
mod proxying;
#[path = "edge/reloading.rs"]
mod reloading;
#[path = "edge/routing.rs"]
mod routing;
