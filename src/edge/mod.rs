#![doc = include_str!("README.md")]

pub mod acme_client;
pub mod body;
pub mod core;
mod error;
pub mod front;
pub mod http_metrics;
pub mod http_proxy;
pub mod layer4;
pub mod listener;
pub mod metrics;
pub mod neighbours;
pub mod reach;
pub mod relay;
pub mod settings;
pub mod targets;
pub mod tls;
pub mod udp_proxy;
pub mod view;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand_core::RngCore;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::base::datagram_path::DatagramPath;
use crate::base::rng::SeededRng;
use crate::base::wall_time::WallTime;
use crate::health::catalogue::NOT_LISTENING;
use crate::sys::packet_thread::PacketThreads;
use acme_client::AcmeClient;
use core::acme_order::NameStanding;
use core::certificate::is_public;
use core::cipher_order::CipherOrder;
use core::host_route::SiteTable;
use core::listen_plan::{self, Door, OwnPorts};
use core::route::EdgeConfig;
use front::Front;
use http_metrics::HttpMetrics;
use http_proxy::Proxy;
use layer4::Layer4;
use listener::{Listener, Shared};
use metrics::EdgeMetrics;
use tls::{Certificates, Names};
use udp_proxy::Carriage;

pub use body::Body;
pub use error::EdgeError;
pub use neighbours::{CertificateStore, Resident, ResponseFuture, StoreFailure};
pub use settings::{AcmeSettings, EdgeSettings};
pub use view::EdgeView;

/// The area of this room's loops in a roll call.
pub const LOOPS: &str = "edge";

/// How long connections may finish what they do when the edge stops.
const GRACE: Duration = Duration::from_secs(10);

/// The running edge. Dropped without [`Edge::stop`], everything it serves ends at once.
pub struct Edge {
    settings: EdgeSettings,
    shared: Shared,
    sockets: Mutex<Sockets>,
    orderable: watch::Sender<Vec<String>>,
    standings: watch::Receiver<Vec<NameStanding>>,
    served: watch::Sender<EdgeConfig>,
    background: JoinSet<()>,
}

/// Where and how layer 4 is carried.
#[derive(Clone)]
pub struct PacketPaths {
    pub threads: PacketThreads,
    /// For datagrams to machines of the tailnet, past the kernel.
    pub datagrams: Option<Arc<dyn DatagramPath>>,
}

/// What is open, and the configuration it was opened for.
struct Sockets {
    config: EdgeConfig,
    listeners: BTreeMap<SocketAddr, Listener>,
    layer4: Layer4,
}

impl Edge {
    /// Opens every socket of the configuration and serves from now on, layer 4 by `packets`. `wall` is kept current by its sender.
    ///
    /// # Errors
    /// [`EdgeError`]; nothing is left open then.
    pub async fn start(
        mut settings: EdgeSettings,
        packets: &PacketPaths,
        resident: Arc<dyn Resident>,
        store: Arc<dyn CertificateStore>,
        metrics: EdgeMetrics,
        wall: watch::Receiver<WallTime>,
    ) -> Result<Self, EdgeError> {
        let config = std::mem::take(&mut settings.config);
        let mut rng = SeededRng::new(settings.seed);
        let names = names_of(&settings, &EdgeConfig::default(), resident.name());
        let certificates = open_certificates(Arc::clone(&store), &settings, names).await?;
        let shared = share(&settings, resident, certificates, metrics.http, &mut rng)?;
        let orderable = watch::Sender::default();
        let standings = watch::Sender::default();
        let told = standings.subscribe();
        let links = AcmeLinks { store, names: orderable.subscribe(), wall, standings };
        let background = background(&settings, &shared, links, &mut rng);
        let relay =
            relay::choose(from_ref(&packets.threads.relay), metrics.relay, fork(&mut rng), &settings.loops);
        let thread = packets.threads.tunnel.clone();
        let carriage = Carriage { thread, path: packets.datagrams.clone() };
        let layer4 =
            Layer4::new(relay, carriage, metrics.udp, settings.udp_flows, SeededRng::new(fork(&mut rng)));
        let sockets = Sockets { config: EdgeConfig::default(), listeners: BTreeMap::new(), layer4 };
        let served = watch::Sender::default();
        let sockets = Mutex::new(sockets);
        let edge = Self { settings, shared, sockets, orderable, standings: told, served, background };
        edge.reload(&config).await?;
        Ok(edge)
    }

    /// SHA-256 of the resident's certificate while it is self-signed, for clients to pin; `None` once a public one stands.
    #[must_use]
    pub fn pin(&self) -> watch::Receiver<Option<[u8; 32]>> {
        self.shared.certificates.pin()
    }

    /// What is served from now on, for those who only look.
    #[must_use]
    pub fn view(&self) -> EdgeView {
        let certificates = Arc::clone(&self.shared.certificates);
        EdgeView { certificates, standings: self.standings.clone(), served: self.served.subscribe() }
    }

    /// The addresses bound for HTTP, with the ports taken.
    pub async fn listening(&self) -> Vec<(SocketAddr, Door)> {
        let sockets = self.sockets.lock().await;
        sockets.listeners.values().map(|listener| (listener.address(), listener.door())).collect()
    }

    /// Serves another configuration. Open connections stay, and follow the new routes from their next request on.
    ///
    /// # Errors
    /// [`EdgeError`]; everything is as it was then.
    pub async fn reload(&self, config: &EdgeConfig) -> Result<(), EdgeError> {
        let mut sockets = self.sockets.lock().await;
        let names = names_of(&self.settings, config, self.shared.front.resident.name());
        let applied = match self.listen(&mut sockets, config).await {
            Ok(()) => self.certify(names.clone()).await,
            error => error,
        };
        if let Err(error) = applied {
            error.condition().into_iter().for_each(|told| self.settings.health.set(told, Instant::now()));
            let before = sockets.config.clone();
            self.listen(&mut sockets, &before)
                .await
                .inspect_err(|error| warn!(%error, "cannot go back"))
                .ok();
            return Err(error);
        }
        self.shared.front.set_sites(SiteTable::new(config));
        self.orderable.send_replace(orderable(&names));
        info!(
            sites = names.sites.len(),
            layer4 = config.layer4_servers.len(),
            "edge serves its configuration"
        );
        sockets.config = config.clone();
        self.served.send_replace(config.clone());
        self.settings.health.keep_only(NOT_LISTENING.code, &[]);
        Ok(())
    }

    /// Takes no more connections, lets those that are open finish for a while, ends the rest.
    pub async fn stop(mut self) {
        self.background.abort_all();
        self.shared.drain.cancel();
        self.shared.tasks.close();
        let mut sockets = self.sockets.lock().await;
        sockets.listeners.clear();
        let http = async {
            if tokio::time::timeout(GRACE, self.shared.tasks.wait()).await.is_err() {
                self.shared.abort.cancel();
                self.shared.tasks.wait().await;
            }
        };
        tokio::join!(http, sockets.layer4.stop(GRACE));
    }

    /// Has a certificate for each of `names`, or changes nothing.
    async fn certify(&self, names: Names) -> Result<(), EdgeError> {
        let certificates = Arc::clone(&self.shared.certificates);
        let set = tokio::task::spawn_blocking(move || certificates.set_names(&names));
        Ok(set.await.map_err(|_| EdgeError::Stopping)??)
    }

    /// Makes the open sockets those of `config`.
    async fn listen(&self, sockets: &mut Sockets, config: &EdgeConfig) -> Result<(), EdgeError> {
        let EdgeSettings {
            bind, http_port: http, https_port: https, control_port: control, connections, ..
        } = self.settings;
        let wanted = listen_plan::sockets(config, OwnPorts { bind, http, https, control });
        let listeners = &mut sockets.listeners;
        let stays = |at: &SocketAddr, listener: &Listener| wanted.get(at) == Some(&listener.door());
        let stale: Vec<SocketAddr> =
            listeners.iter().filter(|(at, listener)| !stays(at, listener)).map(|(at, _)| *at).collect();
        // Closed first, because the kernel does not let a wide and a narrow socket share a port.
        for at in stale {
            if let Some(listener) = listeners.remove(&at) {
                listener.close().await;
            }
        }
        for (address, door) in wanted {
            if let Entry::Vacant(vacant) = listeners.entry(address) {
                let listener = Listener::open(address, door, connections, self.shared.clone());
                vacant.insert(listener.map_err(|source| EdgeError::Listen { address, source })?);
            }
        }
        sockets.layer4.set_connections(config.layer4_connections);
        Ok(sockets.layer4.set(&config.layer4_servers, GRACE).await?)
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.shared.drain.cancel();
        self.shared.abort.cancel();
    }
}

async fn open_certificates(
    store: Arc<dyn CertificateStore>,
    settings: &EdgeSettings,
    names: Names,
) -> Result<Arc<Certificates>, EdgeError> {
    let authority = settings.acme.as_ref().map(|acme| acme_client::store_prefix(&acme.directory));
    let opened = tokio::task::spawn_blocking(move || Certificates::open(store, authority, &names));
    Ok(Arc::new(opened.await.map_err(|_| EdgeError::Stopping)??))
}

/// Whose certificates a configuration needs: the hosts of every server that is reached by TLS, and the resident's.
fn names_of(settings: &EdgeSettings, config: &EdgeConfig, resident: Option<&str>) -> Names {
    let plain = [settings.http_port, settings.control_port];
    let servers = config
        .http_servers
        .iter()
        .filter(|server| server.listen.iter().any(|listen| !plain.contains(&listen.port())));
    let mut sites: Vec<String> =
        servers.flat_map(|server| &server.routes).flat_map(|route| route.hosts.iter().cloned()).collect();
    sites.sort();
    sites.dedup();
    Names { resident: resident.map(str::to_owned), address: settings.lan_address, sites }
}

/// The names among them that an authority would certify.
fn orderable(names: &Names) -> Vec<String> {
    let mut all: Vec<String> =
        names.resident.iter().chain(&names.sites).filter(|name| is_public(name)).cloned().collect();
    all.dedup();
    all
}

/// What every listener needs.
fn share(
    settings: &EdgeSettings,
    resident: Arc<dyn Resident>,
    certificates: Arc<Certificates>,
    metrics: HttpMetrics,
    rng: &mut SeededRng,
) -> Result<Shared, EdgeError> {
    let (tasks, drain, abort) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
    let proxy = Proxy::new(metrics.clone(), SeededRng::new(fork(rng)), tasks.clone(), abort.clone());
    let front = Arc::new(Front::new(resident, proxy, metrics.clone(), settings.https_port));
    let tls = TlsAcceptor::from(Arc::new(tls::server_config(
        certificates.clone(),
        CipherOrder::of(settings.processor),
    )?));
    let loops = settings.loops.clone();
    Ok(Shared { front, certificates, tls, metrics, loops, tasks, drain, abort })
}

/// The ends of what the ordering of certificates hangs on.
struct AcmeLinks {
    store: Arc<dyn CertificateStore>,
    names: watch::Receiver<Vec<String>>,
    wall: watch::Receiver<WallTime>,
    standings: watch::Sender<Vec<NameStanding>>,
}

/// What goes on beside the connections: looking after those to upstreams, and ordering certificates.
fn background(
    settings: &EdgeSettings,
    shared: &Shared,
    links: AcmeLinks,
    rng: &mut SeededRng,
) -> JoinSet<()> {
    let mut background = JoinSet::new();
    let front = Arc::clone(&shared.front);
    background.spawn(async move { front.proxy.sweep().await });
    if let Some(acme) = settings.acme.clone() {
        let AcmeLinks { store, names, wall, standings } = links;
        let client = AcmeClient {
            settings: acme,
            certificates: Arc::clone(&shared.certificates),
            challenges: shared.front.challenges.clone(),
            store,
            names,
            wall,
            metrics: shared.metrics.clone(),
            health: settings.health.clone(),
            standings,
        };
        background.spawn(client.run(SeededRng::new(fork(rng))));
    }
    background
}

/// An independent seed out of one seed.
fn fork(rng: &mut SeededRng) -> [u8; 32] {
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    seed
}
