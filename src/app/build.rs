//! Builds the rooms from the model and joins them: netmap, relay link, resident, certificate store.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::house::House;
use super::join::{pass_endpoints, pass_net_map, pass_relay};
use super::pulse::{self, Pace};
use super::resident::{Certificates, Coordinator};
use super::state::{self, Opened};
use super::surroundings::Surroundings;
use super::{AppError, descriptors, lan, monitor, policy, processor, reload};
use crate::base::datagram_path::DatagramPath;
use crate::base::rng::SeededRng;
use crate::base::roll_call::RollCall;
use crate::base::wall_time::WallTime;
use crate::config::model::Model;
use crate::coordinator::admin_api::{self, AdminApi, Certificate, UpdateDesk, UpdateSeam};
use crate::coordinator::core::relay_map::{REGION, RelaySettings};
use crate::coordinator::core::tailnet::TailnetSettings;
use crate::coordinator::ledger::Ledger;
use crate::coordinator::metrics::ControlMetrics;
use crate::coordinator::relay_server::{RelayMetrics, RelayServer};
use crate::coordinator::server::Server;
use crate::coordinator::store::{Identity, Store};
use crate::coordinator::stun_server::{self, StunMetrics};
use crate::edge::metrics::EdgeMetrics;
use crate::edge::reach::Reach;
use crate::edge::{AcmeSettings, Edge, EdgeSettings, PacketPaths};
use crate::health::Health;
use crate::health::catalogue::{DATABASE_LOST, TUNNEL_DOWN};
use crate::sys::packet_thread::PacketThreads;
use crate::tunnel::driver::{self, Links, Raised, TunnelConfig, TunnelError};
use crate::tunnel::metrics::TunnelMetrics;
use crate::web;
use crate::web::metrics::Pages;
use crate::wire::api_key::Pin;
use crate::wire::key::DiscoPrivate;

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
    /// What clients of the admin interface know this box by.
    pub(super) pin: Pin,
    /// What the owner is shown.
    pub(super) house: Arc<House>,
    server: Server,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// What the rooms share while they are built.
struct Site {
    model: Model,
    state: PathBuf,
    lan: watch::Receiver<Option<lan::Lan>>,
    store: Arc<Store>,
    identity: Identity,
    rng: SeededRng,
    /// Descriptors the process may hold.
    descriptors: usize,
    registry: Registry,
    clock: Clock,
    wall: watch::Receiver<WallTime>,
    loops: RollCall,
    health: Health,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl App {
    /// Raises every room. What cannot be raised ends the attempt with the cause and a cure.
    pub async fn build(
        model: Model,
        config: &Path,
        state: &Path,
        around: &Surroundings,
        tunnel: Result<Raised, TunnelError>,
    ) -> Result<Self, AppError> {
        let packets = packet_paths(tunnel.as_ref().ok())?;
        let mut site = Site::prepare(model, state, around)?;
        let (ledger, disco_key) = site.open_ledger(config)?;
        let relay = site.open_relay(&ledger);
        let control_metrics = ControlMetrics::new(&mut site.registry);
        let seed = site.rng.bytes();
        let server =
            Server::new(ledger.clone(), site.identity.noise.clone(), relay.clone(), control_metrics, seed);
        site.start_stun().await?;
        site.start_tunnel(tunnel, &packets.threads, &ledger, &relay, disco_key);
        let pin = site.start_admin(&ledger, config, around.updates.clone()).await?;
        let edge = site.start_edge(server.clone(), &packets).await?;
        let known = site.model.clone();
        let settings = move |lan| relay_settings(&known, lan);
        site.spawn(pass_relay(edge.pin(), site.lan.clone(), ledger.clone(), settings));
        let house = site.open_house(&ledger, &edge);
        site.spawn(monitor::publish(house.clone(), around.conditions.clone(), around.summary.clone()));
        let Site { registry, model, store, mut tasks, stop, .. } = site;
        let pulse = around.pulse.clone();
        let stuck = Arc::new(move || pulse.borrow().stuck.clone());
        let pages = Pages { registry, status: house.clone(), stuck };
        start_pages(&model, pages, &mut tasks, &stop).await?;
        Ok(Self { ledger, edge, store, fixed: reload::fixed(model), pin, house, server, tasks, stop })
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
    fn prepare(model: Model, state: &Path, around: &Surroundings) -> Result<Self, AppError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|error| AppError::environment("the kernel gives no randomness", error.to_string()))?;
        let mut rng = SeededRng::new(seed);
        let opened = state::open(state, around.supervision.is_some());
        let Opened { store, damage } = opened.map_err(|error| AppError::environment("state", error))?;
        let identity = store
            .identity_beside(&state.join("identity.bak"), &mut rng)
            .map_err(|error| AppError::environment("identity", error))?;
        let stop = CancellationToken::new();
        let wall = around.clock.watch(stop.clone());
        let lan = lan::watch(model.lan.clone(), stop.clone());
        if lan.borrow().is_none() {
            tracing::warn!("no LAN address found: machines in the house are given the public name only");
        }
        let health = Health::default();
        if let Some(damage) = damage {
            let told = DATABASE_LOST.condition(
                "What the box knew of its machines was damaged, and is set aside; it has kept its keys.",
            );
            let cure = "Let every machine join again with a new key; replace the card if this comes again.";
            health.set(told.because(damage).cure(cure), Instant::now());
        }
        Ok(Self {
            model,
            state: state.to_owned(),
            lan,
            store: Arc::new(store),
            identity,
            rng,
            descriptors: around.descriptors,
            registry: Registry::default(),
            clock: around.clock.clone(),
            wall,
            loops: around.loops.clone(),
            health,
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
        let clock = self.clock.clone();
        let ledger = Ledger::open(self.store.clone(), policy, settings, Arc::new(move || clock.read()), seed)
            .map_err(|error| AppError::environment("state", error))?;
        self.spawn(pulse::ask_ledger(ledger.clone(), self.loops.clone(), Pace::default()));
        self.spawn(pulse::ask_store(self.store.clone(), self.loops.clone(), Pace::default()));
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
        relay_settings(&self.model, *self.lan.borrow())
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

    /// The admin interface: on the socket in the state directory, and over TLS for the house.
    async fn start_admin(
        &mut self,
        ledger: &Ledger,
        config: &Path,
        updates: Option<UpdateSeam>,
    ) -> Result<Pin, AppError> {
        let socket =
            admin_api::bind(&self.state).map_err(|error| AppError::environment("admin socket", error))?;
        let certificate = Certificate::open(&self.store)
            .map_err(|error| AppError::environment("certificate of the admin interface", error))?;
        let pin = certificate.pin();
        let updates = UpdateDesk::new(&self.state, updates);
        let api = AdminApi::new(ledger.clone(), self.store.clone(), policy::source(config), pin, updates);
        let listener = bind_tcp(self.model.ports.api, "the admin interface").await?;
        self.tasks.spawn(admin_api::serve(socket, api.clone(), self.stop.clone()));
        self.tasks.spawn(admin_api::serve_tls(listener, api, certificate, self.stop.clone()));
        Ok(pin)
    }

    /// Joins the tunnel to the coordinator (netmap, endpoints) and to the relay.
    fn start_tunnel(
        &mut self,
        raised: Result<Raised, TunnelError>,
        threads: &PacketThreads,
        ledger: &Ledger,
        relay: &RelayServer,
        disco_key: DiscoPrivate,
    ) {
        let node_key = self.identity.gateway_node.clone();
        let port = relay.attach(node_key.public());
        let (net_map_sender, net_map) = mpsc::channel(LINK_QUEUE);
        let (endpoints, endpoint_receiver) = mpsc::channel(LINK_QUEUE);
        let links = Links { net_map, relay_out: port.outbound, relay_in: port.inbound, endpoints };
        let config = TunnelConfig {
            node_key,
            disco_key,
            home_region: REGION,
            public_endpoint: self.model.name.clone().map(|name| (name, self.model.ports.wireguard)),
            loops: self.loops.clone(),
            seed: self.rng.bytes(),
        };
        self.spawn(pass_net_map(ledger.attach_gateway(), net_map_sender));
        self.spawn(pass_endpoints(endpoint_receiver, ledger.clone()));
        let metrics = TunnelMetrics::new(&mut self.registry);
        let (thread, stop, health) = (threads.tunnel.clone(), self.stop.clone(), self.health.clone());
        self.tasks.spawn(async move {
            let result = match raised {
                Ok(raised) => {
                    let end = thread.run(move || driver::serve(config, raised, links, metrics, stop));
                    // An error is a panic, which the roll call tells as a loop that stands still.
                    end.await.unwrap_or(Ok(()))
                }
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                tracing::error!(%error, "the tunnel does not run: upstreams in the tailnet cannot be reached");
                let told = TUNNEL_DOWN.condition("the tunnel does not run").because(error.to_string());
                let cure = "Remove the cause and start genkan again; machines of the tailnet are not reached until then.";
                health.set(told.cure(cure), Instant::now());
            }
        });
    }
}

impl Site {
    async fn start_edge(&mut self, server: Server, packets: &PacketPaths) -> Result<Edge, AppError> {
        let resident = Arc::new(Coordinator { name: self.model.name.clone(), server });
        let certificates = Arc::new(Certificates(self.store.clone()));
        let reach = Reach::telling(self.health.clone(), self.wall.clone());
        let metrics = EdgeMetrics::new(&mut self.registry).telling(&reach);
        let mut settings = self.edge_settings();
        settings.udp_flows = descriptors::udp_flows(self.descriptors);
        descriptors::warn_if_few(self.descriptors, &settings);
        Edge::start(settings, packets, resident, certificates, metrics, self.wall.clone())
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
            lan_address: self.lan.borrow().map(|lan| IpAddr::V4(lan.address)),
            acme: Some(AcmeSettings {
                directory: acme.directory.clone(),
                ca_file: acme.ca_file.clone(),
                email: acme.email.clone(),
                external_account: acme.external_account.clone(),
            }),
            loops: self.loops.clone(),
            processor: processor::find(),
            health: self.health.clone(),
            ..EdgeSettings::new(self.model.edge.clone(), self.rng.bytes())
        }
    }

    /// What the owner is shown, and who looks after it.
    fn open_house(&mut self, ledger: &Ledger, edge: &Edge) -> Arc<House> {
        let rooms = (self.health.clone(), ledger.clone(), edge.view());
        let house = Arc::new(House::new(&self.model, self.lan.clone(), rooms, self.wall.clone()));
        self.spawn(monitor::watch(house.clone()));
        house
    }
}

fn packet_paths(tunnel: Option<&Raised>) -> Result<PacketPaths, AppError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = PacketThreads::start(cores).map_err(|error| {
        AppError::environment(
            "a thread for packets (raise TasksMax= of the systemd unit, or `ulimit -u`)",
            error,
        )
    })?;
    let datagrams = tunnel.map(|raised| Arc::new(raised.path()) as Arc<dyn DatagramPath>);
    Ok(PacketPaths { threads, datagrams })
}

fn relay_settings(model: &Model, lan: Option<lan::Lan>) -> RelaySettings {
    let address = lan.map(|lan| lan.address.to_string());
    RelaySettings {
        host_name: model.name.clone().or(address).unwrap_or_else(|| "localhost".into()),
        certificate_pin: None,
        lan: lan.map(|lan| lan.prefix),
        lan_address: lan.map(|lan| lan.address),
        derp_port: model.ports.https,
        stun_port: model.ports.stun,
    }
}

/// The pages come last: the registry is complete only when every room has been built.
async fn start_pages(
    model: &Model,
    pages: Pages,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> Result<(), AppError> {
    let listener = bind_tcp(model.ports.admin, "status and metrics").await?;
    tasks.spawn(web::metrics::serve(listener, Arc::new(pages), stop.clone()));
    Ok(())
}

fn port_taken(port: u16, what: &str, error: std::io::Error) -> AppError {
    AppError::environment(
        format!("port {port} for {what} (see `ss -lnp`; [ports] in genkan.toml moves it)"),
        error,
    )
}

async fn bind_tcp(port: u16, what: &str) -> Result<TcpListener, AppError> {
    let bound = TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await;
    bound.map_err(|error| port_taken(port, what, error))
}

async fn bind_udp(port: u16) -> Result<UdpSocket, AppError> {
    let bound = UdpSocket::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await;
    bound.map_err(|error| port_taken(port, "STUN", error))
}

/// Only the owner of the process reads the state; a folder that was there before keeps its mode.
pub(super) fn create_private(folder: &Path) -> Result<(), AppError> {
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
