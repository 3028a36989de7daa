//! The layer 4 servers being served: one route per transport and listening address.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rand_core::RngCore;
use tokio::task::JoinSet;

use super::core::proxy_header::ProxyProtocol;
use super::core::route::{LAYER4_CONNECTIONS, Layer4Server, Listen, Transport, Upstream};
use super::metrics::UdpMetrics;
use super::relay::{Relay, RelayError, RelayHandle, RelayRoute};
use super::udp_proxy::{self, Carriage, UdpError, UdpHandle, UdpRoute};
use crate::base::ceilings::Ceilings;
use crate::base::rng::SeededRng;

/// How often, and how long apart, a taken address is tried again.
const PATIENT_TRIES: usize = 20;
const PATIENCE: Duration = Duration::from_millis(50);

/// Why a route is not served.
#[derive(Debug, thiserror::Error)]
pub enum Layer4Error {
    #[error(transparent)]
    Tcp(#[from] RelayError),
    #[error(transparent)]
    Udp(#[from] UdpError),
}

/// See the module. Dropped, every route ends at once.
pub struct Layer4 {
    relay: Arc<dyn Relay>,
    carriage: Carriage,
    udp: UdpMetrics,
    udp_flows: usize,
    connections: Ceilings,
    rng: SeededRng,
    routes: BTreeMap<Listen, Route>,
}

struct Route {
    upstreams: Vec<Upstream>,
    proxy_protocol: Option<ProxyProtocol>,
    handle: Handle,
}

enum Handle {
    Tcp(RelayHandle),
    Udp(UdpHandle),
}

impl Layer4 {
    /// Datagrams go by `carriage`, `udp_flows` at once over all routes.
    #[must_use]
    pub fn new(
        relay: Arc<dyn Relay>,
        carriage: Carriage,
        udp: UdpMetrics,
        udp_flows: usize,
        rng: SeededRng,
    ) -> Self {
        Self {
            relay,
            carriage,
            udp,
            udp_flows,
            connections: LAYER4_CONNECTIONS,
            rng,
            routes: BTreeMap::new(),
        }
    }

    /// How many connections may be open at once on each TCP route from now on.
    pub fn set_connections(&mut self, ceilings: Ceilings) {
        self.connections = ceilings;
        for route in self.routes.values() {
            if let Handle::Tcp(handle) = &route.handle {
                handle.set_connections(ceilings);
            }
        }
    }

    /// Makes the routes those of `servers`. A route that keeps its address keeps its connections and flows (and its name in the
    /// counters); one that goes gives its connections `grace`.
    ///
    /// # Errors
    /// [`Layer4Error`]; everything is as it was then, but for routes whose port went to the one that failed.
    pub async fn set(&mut self, servers: &[Layer4Server], grace: Duration) -> Result<(), Layer4Error> {
        let wanted = wanted(servers);
        let gone: Vec<Listen> = self.routes.keys().filter(|at| !wanted.contains_key(at)).copied().collect();
        let new = wanted.iter().filter(|(at, _)| !self.routes.contains_key(at));
        let (heirs, others): (Vec<_>, Vec<_>) =
            new.partition(|(at, _)| gone.iter().any(|gone| shares_port(gone, at)));
        // What can fail comes first, while nothing has been given up for it.
        let mut begun = BTreeMap::new();
        for (at, server) in others {
            begun.insert(*at, self.start_patiently(*at, server).await?);
        }
        for route in gone.iter().filter_map(|at| self.routes.remove(at)) {
            tokio::spawn(route.stop(grace));
        }
        self.routes.append(&mut begun);
        for (at, server) in heirs {
            let route = self.start_patiently(*at, server).await?;
            self.routes.insert(*at, route);
        }
        for (at, server) in wanted {
            self.routes.entry(at).and_modify(|route| route.follow(server));
        }
        self.share_flows();
        Ok(())
    }

    /// Each UDP route gets the same part of the flows there may be, so that a flood on one takes nothing from the others.
    fn share_flows(&self) {
        let udp = || self.routes.values().filter_map(|route| route.udp());
        let share = self.udp_flows / udp().count().max(1);
        udp().for_each(|handle| handle.set_total(share));
    }

    /// Ends every route, giving connections `grace`.
    pub async fn stop(&mut self, grace: Duration) {
        let routes = std::mem::take(&mut self.routes);
        let ending: JoinSet<()> = routes.into_values().map(|route| route.stop(grace)).collect();
        ending.join_all().await;
    }

    /// A route that has just ended may hold this address, or a wider or narrower one of the same port, for a moment longer.
    async fn start_patiently(&mut self, at: Listen, server: &Layer4Server) -> Result<Route, Layer4Error> {
        for _ in 0..PATIENT_TRIES {
            match self.try_start(at, server) {
                Err(error) if error.is_taken() => tokio::time::sleep(PATIENCE).await,
                other => return other,
            }
        }
        self.try_start(at, server)
    }

    fn try_start(&mut self, at: Listen, server: &Layer4Server) -> Result<Route, Layer4Error> {
        let upstreams = server.upstreams.clone();
        let handle = match at.transport {
            Transport::Tcp => {
                let mut route = RelayRoute::new(&server.name, at.address, upstreams);
                route.proxy_protocol = server.proxy_protocol;
                route.limits.connections = self.connections;
                Handle::Tcp(self.relay.start(route)?)
            }
            Transport::Udp => {
                let route = UdpRoute::new(&server.name, at.address, upstreams);
                let mut seed = [0; 32];
                self.rng.fill_bytes(&mut seed);
                Handle::Udp(udp_proxy::start(&route, &self.carriage, &self.udp, SeededRng::new(seed))?)
            }
        };
        let (upstreams, proxy_protocol) = (server.upstreams.clone(), server.proxy_protocol);
        Ok(Route { upstreams, proxy_protocol, handle })
    }
}

impl Route {
    fn udp(&self) -> Option<&UdpHandle> {
        match &self.handle {
            Handle::Tcp(_) => None,
            Handle::Udp(handle) => Some(handle),
        }
    }

    fn follow(&mut self, server: &Layer4Server) {
        if self.upstreams == server.upstreams && self.proxy_protocol == server.proxy_protocol {
            return;
        }
        self.upstreams.clone_from(&server.upstreams);
        self.proxy_protocol = server.proxy_protocol;
        let upstreams = server.upstreams.clone();
        match &self.handle {
            Handle::Tcp(handle) => handle.set_upstreams(upstreams, server.proxy_protocol),
            Handle::Udp(handle) => handle.set_upstreams(upstreams),
        }
    }

    async fn stop(self, grace: Duration) {
        match self.handle {
            Handle::Tcp(handle) => handle.stop(grace).await,
            // Datagrams have no end to wait for.
            Handle::Udp(handle) => handle.stop().await,
        }
    }
}

impl Layer4Error {
    fn is_taken(&self) -> bool {
        match self {
            Self::Tcp(RelayError::Listen { source, .. }) | Self::Udp(UdpError::Listen { source, .. }) => {
                source.kind() == io::ErrorKind::AddrInUse
            }
            Self::Tcp(_) | Self::Udp(_) => false,
        }
    }
}

/// Whether only one of the two may be able to listen.
fn shares_port(one: &Listen, other: &Listen) -> bool {
    one.transport == other.transport && one.address.port() == other.address.port()
}

/// The servers by where they listen; of two on one address the first is served.
fn wanted(servers: &[Layer4Server]) -> BTreeMap<Listen, &Layer4Server> {
    let mut wanted = BTreeMap::new();
    for server in servers {
        for listen in &server.listen {
            wanted.entry(*listen).or_insert(server);
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use prometheus_client::registry::Registry;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;
    use crate::edge::core::proxy_header::header;
    use crate::edge::metrics::EdgeMetrics;
    use crate::edge::relay::CopyRelay;
    use crate::sys::packet_thread::PacketThread;

    fn server(port: u16) -> Layer4Server {
        let upstream = Upstream { transport: Transport::Udp, host: "127.0.0.1".into(), port: 9 };
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let listen = vec![Listen { transport: Transport::Udp, address }];
        Layer4Server { name: port.to_string(), listen, upstreams: vec![upstream], proxy_protocol: None }
    }

    fn free_port() -> u16 {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.local_addr().expect("bound").port()
    }

    fn layer4() -> Layer4 {
        let metrics = EdgeMetrics::new(&mut Registry::default());
        let relay = Arc::new(CopyRelay::new(metrics.relay, SeededRng::new([1; 32])));
        let carriage = Carriage { thread: PacketThread::start("datagrams").expect("a thread"), path: None };
        Layer4::new(relay, carriage, metrics.udp, 8, SeededRng::new([2; 32]))
    }

    #[tokio::test]
    async fn a_header_that_is_wanted_from_now_on_goes_before_new_connections() {
        let service = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut server = server(free_port());
        server.listen[0].transport = Transport::Tcp;
        server.upstreams[0] = Upstream {
            transport: Transport::Tcp,
            host: "127.0.0.1".into(),
            port: service.local_addr().expect("bound").port(),
        };
        let mut layer4 = layer4();
        for version in [None, Some(ProxyProtocol::V1), Some(ProxyProtocol::V2), None] {
            server.proxy_protocol = version;
            layer4.set(std::slice::from_ref(&server), Duration::ZERO).await.expect("served");
            let client = TcpStream::connect(server.listen[0].address).await.expect("listens");
            let (mut upstream, _) = service.accept().await.expect("dialled");
            let (from, to) = (client.local_addr().expect("bound"), client.peer_addr().expect("connected"));
            drop(client);
            let mut told = Vec::new();
            upstream.read_to_end(&mut told).await.expect("a clean end");
            assert_eq!(told, version.map(|version| header(version, from, to)).unwrap_or_default());
        }
    }

    #[tokio::test]
    async fn a_ceiling_that_is_wanted_from_now_on_holds_for_a_route_that_runs() {
        let service = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut server = server(free_port());
        server.listen[0].transport = Transport::Tcp;
        let port = service.local_addr().expect("bound").port();
        server.upstreams[0] = Upstream { transport: Transport::Tcp, host: "127.0.0.1".into(), port };
        let mut layer4 = layer4();
        layer4.set(std::slice::from_ref(&server), Duration::ZERO).await.expect("served");
        let connect = || TcpStream::connect(server.listen[0].address);
        let _first = connect().await.expect("listens");
        service.accept().await.expect("dialled");
        layer4.set_connections(Ceilings { total: 1, per_source: 1 });
        let mut second = connect().await.expect("listens");
        assert!(second.read_u8().await.is_err(), "turned away");
        layer4.set_connections(Ceilings { total: 2, per_source: 2 });
        let _third = connect().await.expect("listens");
        service.accept().await.expect("dialled");
    }

    #[tokio::test]
    async fn the_flows_of_all_routes_together_keep_to_their_total() {
        let mut layer4 = layer4();
        let servers = [server(free_port()), server(free_port())];
        layer4.set(&servers, Duration::ZERO).await.expect("served");
        let mut clients = Vec::new();
        for index in 0..16 {
            let client = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
            client.send_to(b"x", servers[index % 2].listen[0].address).await.expect("sent");
            clients.push(client);
        }
        let open = || layer4.routes.values().filter_map(Route::udp).map(UdpHandle::open).collect::<Vec<_>>();
        let begun = Instant::now();
        while open() != [4, 4] && begun.elapsed() < Duration::from_secs(2) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(open(), [4, 4]);
    }
}
