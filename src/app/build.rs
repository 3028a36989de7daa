//! Builds the rooms from the model and joins them: netmap, relay link, resident, certificate store.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::join::{pass_endpoints, pass_net_map, pass_pin};
use super::resident::{Certificates, Coordinator};
use super::{AppError, clock, lan, policy, reload};
use crate::base::rng::SeededRng;
use crate::base::wall_time::WallTime;
use crate::config::model::Model;
use crate::coordinator::admin_api::{self, AdminApi};
use crate::coordinator::core::address_pool;
use crate::coordinator::core::relay_map::{REGION, RelaySettings};
use crate::coordinator::core::tailnet::TailnetSettings;
use crate::coordinator::ledger::Ledger;
use crate::coordinator::metrics::ControlMetrics;
use crate::coordinator::relay_server::{RelayMetrics, RelayServer};
use crate::coordinator::server::Server;
use crate::coordinator::store::{Identity, Store};
use crate::coordinator::stun_server::{self, StunMetrics};
use crate::edge::metrics::EdgeMetrics;
use crate::edge::{AcmeSettings, Edge, EdgeSettings};
use crate::tunnel::driver::{self, Links, TunnelConfig};
use crate::tunnel::metrics::TunnelMetrics;
use crate::web;
use crate::wire::key::DiscoPrivate;

/// What every path of the internet carries, and what the clients use.
const TUN_MTU: u16 = 1280;

const TUN_NAME: &str = "genkan0";

/// Messages that wait between rooms; a sender waits when the other side is busy.
const LINK_QUEUE: usize = 64;

/// For the storage to take what nodes last reported: it may be lost, so a slow card does not hold up the end.
const SAVE_TIME: Duration = Duration::from_secs(3);

/// The running house.
pub struct App {
    pub(super) ledger: Ledger,
    pub(super) edge: Edge,
    pub(super) store: Arc<Store>,
    /// What a reload cannot change.
    pub(super) fixed: Model,
    server: Server,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// What the rooms share while they are built.
struct Site {
    model: Model,
    state: PathBuf,
    lan: Option<lan::Lan>,
    store: Arc<Store>,
    identity: Identity,
    rng: SeededRng,
    registry: Registry,
    wall: watch::Receiver<WallTime>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl App {
    /// Raises every room. What cannot be raised ends the attempt with the cause and a cure.
    pub async fn build(model: Model, config: &Path, state: &Path) -> Result<Self, AppError> {
        let mut site = Site::prepare(model, state)?;
        let (ledger, disco_key) = site.open_ledger(config)?;
        let relay = site.open_relay(&ledger);
        let control_metrics = ControlMetrics::new(&mut site.registry);
        let seed = site.rng.bytes();
        let server =
            Server::new(ledger.clone(), site.identity.noise.clone(), relay.clone(), control_metrics, seed);
        site.start_stun().await?;
        site.start_tunnel(&ledger, &relay, disco_key);
        site.start_admin(&ledger, config)?;
        let edge = site.start_edge(server.clone()).await?;
        let relay_settings = site.relay_settings();
        site.spawn(pass_pin(edge.pin(), ledger.clone(), relay_settings));
        let Site { registry, model, store, mut tasks, stop, .. } = site;
        start_metrics(&model, registry, &mut tasks, &stop).await?;
        Ok(Self { ledger, edge, store, fixed: reload::fixed(model), server, tasks, stop })
    }

    /// Stops accepting, lets what is open finish for a few seconds, and leaves the tailnet.
    pub async fn drain(mut self) {
        self.server.close();
        self.edge.stop().await;
        if tokio::time::timeout(SAVE_TIME, self.ledger.save()).await.is_err() {
            tracing::warn!("what nodes last reported is not saved yet");
        }
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Site {
    fn prepare(model: Model, state: &Path) -> Result<Self, AppError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|error| AppError::environment("the kernel gives no randomness", error.to_string()))?;
        let mut rng = SeededRng::new(seed);
        create_private(state)?;
        let store =
            Store::open(&state.join("genkan.redb")).map_err(|error| AppError::environment("state", error))?;
        let identity = store
            .identity_beside(&state.join("identity.bak"), &mut rng)
            .map_err(|error| AppError::environment("identity", error))?;
        let stop = CancellationToken::new();
        let wall = clock::watch(stop.clone());
        let lan = lan::find(&model.lan);
        if lan.is_none() {
            tracing::warn!("no LAN address found: machines in the house are given the public name only");
        }
        Ok(Self {
            model,
            state: state.to_owned(),
            lan,
            store: Arc::new(store),
            identity,
            rng,
            registry: Registry::default(),
            wall,
            tasks: JoinSet::new(),
            stop,
        })
    }

    fn open_ledger(&mut self, config: &Path) -> Result<(Ledger, DiscoPrivate), AppError> {
        let disco_key = DiscoPrivate::generate(&mut self.rng);
        let settings = TailnetSettings {
            base_domain: self.model.base_domain.clone(),
            gateway_node: self.identity.gateway_node.public(),
            gateway_machine: self.identity.gateway_machine.public(),
            gateway_disco: disco_key.public(),
            relay: self.relay_settings(),
        };
        let policy = policy::in_force(&self.model, config, &self.store)?;
        let seed = self.rng.bytes();
        let ledger = Ledger::open(self.store.clone(), policy, settings, Arc::new(clock::read), seed)
            .map_err(|error| AppError::environment("state", error))?;
        Ok((ledger, disco_key))
    }

    /// Runs `task` until it ends or the house closes.
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// How clients reach the relay while nothing is known of a public certificate.
    fn relay_settings(&self) -> RelaySettings {
        let address = self.lan.map(|lan| lan.address.to_string());
        RelaySettings {
            host_name: self.model.name.clone().or(address).unwrap_or_else(|| "localhost".into()),
            certificate_pin: None,
            lan: self.lan.map(|lan| lan.prefix),
            lan_address: self.lan.map(|lan| lan.address),
            derp_port: self.model.ports.https,
            stun_port: self.model.ports.stun,
        }
    }

    fn open_relay(&mut self, ledger: &Ledger) -> RelayServer {
        let admission = ledger.clone();
        let metrics = RelayMetrics::new(&mut self.registry);
        RelayServer::new(self.identity.relay.clone(), Arc::new(move |node| admission.admits(node)), metrics)
    }

    async fn start_stun(&mut self) -> Result<(), AppError> {
        let socket = bind_udp(self.model.ports.stun).await?;
        let metrics = StunMetrics::new(&mut self.registry);
        self.spawn(stun_server::run(socket, metrics));
        Ok(())
    }

    /// The admin socket in the state directory.
    fn start_admin(&mut self, ledger: &Ledger, config: &Path) -> Result<(), AppError> {
        let listener =
            admin_api::bind(&self.state).map_err(|error| AppError::environment("admin socket", error))?;
        let api = AdminApi::new(ledger.clone(), self.store.clone(), policy::source(config));
        self.tasks.spawn(admin_api::serve(listener, api, self.stop.clone()));
        Ok(())
    }

    /// Joins the tunnel to the coordinator (netmap, endpoints) and to the relay.
    fn start_tunnel(&mut self, ledger: &Ledger, relay: &RelayServer, disco_key: DiscoPrivate) {
        let node_key = self.identity.gateway_node.clone();
        let port = relay.attach(node_key.public());
        let (net_map_sender, net_map) = mpsc::channel(LINK_QUEUE);
        let (endpoints, endpoint_receiver) = mpsc::channel(LINK_QUEUE);
        let links = Links { net_map, relay_out: port.outbound, relay_in: port.inbound, endpoints };
        let config = TunnelConfig {
            node_key,
            disco_key,
            ipv4: address_pool::GATEWAY,
            ipv6: address_pool::ipv6_of(address_pool::GATEWAY),
            interface: TUN_NAME.into(),
            mtu: TUN_MTU,
            port: self.model.ports.wireguard,
            home_region: REGION,
            public_endpoint: self.model.name.clone().map(|name| (name, self.model.ports.wireguard)),
            seed: self.rng.bytes(),
        };
        self.spawn(pass_net_map(ledger.attach_gateway(), net_map_sender));
        self.spawn(pass_endpoints(endpoint_receiver, ledger.clone()));
        let metrics = TunnelMetrics::new(&mut self.registry);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            if let Err(error) = driver::run(config, links, metrics, stop.clone()).await {
                tracing::error!(%error, "the tunnel does not run: upstreams in the tailnet cannot be reached");
            }
        });
    }
}

impl Site {
    async fn start_edge(&mut self, server: Server) -> Result<Edge, AppError> {
        let resident = Arc::new(Coordinator { name: self.model.name.clone(), server });
        let certificates = Arc::new(Certificates(self.store.clone()));
        let metrics = EdgeMetrics::new(&mut self.registry);
        let settings = self.edge_settings();
        Edge::start(settings, resident, certificates, metrics, self.wall.clone())
            .await
            .map_err(|error| AppError::environment("edge", error))
    }

    fn edge_settings(&mut self) -> EdgeSettings {
        let ports = self.model.ports;
        let acme = &self.model.acme;
        EdgeSettings {
            http_port: ports.http,
            https_port: ports.https,
            control_port: ports.control,
            lan_address: self.lan.map(|lan| IpAddr::V4(lan.address)),
            acme: Some(AcmeSettings {
                directory: acme.directory.clone(),
                ca_file: acme.ca_file.clone(),
                email: acme.email.clone(),
            }),
            ..EdgeSettings::new(self.model.edge.clone(), self.rng.bytes())
        }
    }
}

/// Metrics come last: the registry is complete only when every room has been built.
async fn start_metrics(
    model: &Model,
    registry: Registry,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> Result<(), AppError> {
    let port = model.ports.admin;
    let bound = TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await;
    let listener = bound.map_err(|error| port_taken(port, "metrics", error))?;
    tasks.spawn(web::metrics::serve(listener, Arc::new(registry), stop.clone()));
    Ok(())
}

fn port_taken(port: u16, what: &str, error: std::io::Error) -> AppError {
    AppError::environment(
        format!("port {port} for {what} (see `ss -lnp`; [ports] in genkan.toml moves it)"),
        error,
    )
}

async fn bind_udp(port: u16) -> Result<UdpSocket, AppError> {
    let bound = UdpSocket::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await;
    bound.map_err(|error| port_taken(port, "STUN", error))
}

/// Only the owner of the process reads the state; a folder that was there before keeps its mode.
fn create_private(folder: &Path) -> Result<(), AppError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let found = made.and_then(|()| std::fs::metadata(folder)).map_err(|error| {
        AppError::environment(
            format!("the state folder {} (choose another with --state)", folder.display()),
            error,
        )
    })?;
    if found.permissions().mode() & 0o077 != 0 {
        tracing::warn!(folder = %folder.display(), "others may enter the state folder; it holds keys: chmod 700 it");
    }
    Ok(())
}
