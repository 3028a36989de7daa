//! genkan: the entrance of a home network in one binary.
//!
//! | room | what lives there |
//! |---|---|
//! | [`coordinator`] | The Headscale part: unmodified Tailscale clients join it and receive their netmap; DERP relay and STUN. |
//! | [`tunnel`] | The Tailscale-client part: this process is node 100.64.0.1 and reaches the others by WireGuard. |
//! | [`edge`] | The Caddy and caddy-l4 part: HTTPS sites with automatic certificates, TCP and UDP ports. |
//! | [`appliance`] | The box: PID 1, partitions, network, clock, watchdog, updates, the worker's sandbox. |
//! | [`config`] | Three files to one model; every problem at once; what follows from them (port forwards, DNS, access). |
//! | [`app`] | The only module that knows all rooms: builds them from the model, wires them, drains them. |
//! | [`wire`], [`base`], [`sys`] | Bytes to types; small pieces without protocol nouns; raw system calls. |
//! | [`health`] | What holds now and concerns the owner: named conditions with cures, and their catalogue. |
//! | [`web`], [`cli`], [`log`] | Status page, metrics and health; `genkan check` and admin commands; the one structured log. |
//!
//! # The core contract
//!
//! Inside `wire`, `base` and every room's `core` there are no sockets, files, environment, threads, async or clocks. Time
//! comes in as an argument (`now: Instant`; wall-clock time is a [`base::wall_time::WallTime`] that may be unknown),
//! randomness as a [`base::rng::SeededRng`]. `handle_*` takes something in, `poll_*` hands something out, `poll_timeout`
//! tells the next deadline and its reason. Every queue and table has a limit. A spurious call changes nothing. The shells
//! beside a core own sockets and clocks and decide nothing about the protocol. `tests/architecture.rs` holds the tree to it;
//! the one exception is [`tunnel::core::wireguard`], because boringtun reads clocks by itself.
//!
//! # How data flows
//!
//! ```text
//!  stranger ──:2222──▶ edge::relay ──TCP──▶ kernel ──▶ TUN ──▶ tunnel ──WireGuard/UDP──▶ machine
//!  stranger ──:27015─▶ edge::udp_proxy ──UDP──▶ kernel (as above)
//!  stranger ──:443───▶ edge::tls ─SNI─▶ edge::http_proxy ──────┘   └──DERP──▶ coordinator::relay_server ──▶ machine
//!                            └─own name─▶ coordinator::server
//!  machine ──POST /ts2021──▶ coordinator::server ──▶ ledger (one writer) ──▶ map streams ──▶ machines, and the tunnel
//! ```

pub mod app;
pub mod appliance;
pub mod base;
pub mod cli;
pub mod config;
pub mod coordinator;
pub mod edge;
pub mod health;
pub mod log;
pub mod sys;
pub mod tunnel;
pub mod web;
pub mod wire;
