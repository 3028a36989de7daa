//! The admin port: the status page, `/metrics` (OpenMetrics text) and `/health` over plain HTTP/1.1, for the LAN and the tailnet only.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use http::{HeaderName, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{audience, status};

/// Scrapers and a few people; each connection costs little, but strangers on the LAN are not trusted to stop.
const MAX_CONNECTIONS: usize = 32;
/// A scraper sends its few header lines at once.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than any scrape; a connection kept alive beyond it is closed and opened again by its client.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(10);
/// After an error of `accept`, which is usually "no more file descriptors": time for one to come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Names the loops of the process that stand still; none when all is well.
pub type Stuck = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What is shown.
pub struct Pages {
    pub registry: Registry,
    pub status: Arc<dyn status::Source>,
    pub stuck: Stuck,
}

/// Serves until `stop`. Connections open then are dropped: every answer is short.
pub async fn serve(listener: TcpListener, pages: Arc<Pages>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Some(place) = stop.run_until_cancelled(Arc::clone(&places).acquire_owned()).await else {
            return;
        };
        let place = place.expect("the semaphore is never closed");
        match stop.run_until_cancelled(listener.accept()).await {
            None => return,
            Some(Ok((stream, peer))) => {
                let answers = converse(stream, peer.ip(), Arc::clone(&pages), place);
                tokio::spawn(stop.clone().run_until_cancelled_owned(answers));
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "accepting a metrics connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, peer: IpAddr, pages: Arc<Pages>, _place: OwnedSemaphorePermit) {
    let service = service_fn(move |request| {
        let response = answer(&request, peer, &pages);
        async { Ok::<_, Infallible>(response) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        tracing::debug!(%error, "metrics connection failed");
    }
}

fn answer<B>(request: &Request<B>, peer: IpAddr, pages: &Pages) -> Response<Full<Bytes>> {
    if !audience::admits(peer) {
        tracing::debug!(%peer, "metrics refused to an address outside");
        return with_header(
            plain(StatusCode::FORBIDDEN, "for the LAN and the tailnet only\n"),
            CONNECTION,
            "close",
        );
    }
    if !hosts(request).all(audience::is_house_name) {
        tracing::debug!(%peer, "metrics refused under a public name");
        return plain(
            StatusCode::FORBIDDEN,
            "ask by IP address or by a local name (gateway, gateway.local, localhost), not by a public name\n",
        );
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return with_header(plain(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n"), ALLOW, "GET, HEAD");
    }
    match request.uri().path() {
        "/metrics" => metrics(&pages.registry),
        "/health" => health(&(pages.stuck)()),
        path => status::answer(path, &*pages.status)
            .unwrap_or_else(|| plain(StatusCode::NOT_FOUND, "/, /status.json, /metrics or /health\n")),
    }
}

/// What the request says it was sent to: the header, and the target when it is a whole URL. Text that is none counts as a bad name.
fn hosts<B>(request: &Request<B>) -> impl Iterator<Item = &str> {
    let headers = request.headers().get_all(HOST).into_iter().map(|host| host.to_str().unwrap_or(""));
    headers.chain(request.uri().authority().map(http::uri::Authority::as_str))
}

fn health(stuck: &[String]) -> Response<Full<Bytes>> {
    if stuck.is_empty() {
        return plain(StatusCode::OK, "ok\n");
    }
    plain(StatusCode::SERVICE_UNAVAILABLE, format!("stuck: {}\n", stuck.join(", ")))
}

fn metrics(registry: &Registry) -> Response<Full<Bytes>> {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => with_header(plain(StatusCode::OK, text), CONTENT_TYPE, OPENMETRICS),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be encoded");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be encoded\n")
        }
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    with_header(response, CONTENT_TYPE, TEXT)
}

fn with_header(
    mut response: Response<Full<Bytes>>,
    name: HeaderName,
    value: &'static str,
) -> Response<Full<Bytes>> {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Empty;

    impl status::Source for Empty {
        fn status(&self) -> status::Status {
            status::Status::default()
        }
    }

    fn pages(stuck: &[&str]) -> Arc<Pages> {
        let stuck: Vec<String> = stuck.iter().map(|&name| name.to_owned()).collect();
        let mut registry = Registry::default();
        let counter = Counter::<u64>::default();
        counter.inc_by(3);
        registry.register("genkan_test_things", "Things", counter);
        Arc::new(Pages { registry, status: Arc::new(Empty), stuck: Arc::new(move || stuck.clone()) })
    }

    #[tokio::test]
    async fn a_scraper_on_loopback_reads_the_counters() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, pages(&[]), stop.clone()));
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("answered and closed");
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
        assert!(text.contains("content-type: application/openmetrics-text"), "{text}");
        assert!(text.contains("genkan_test_things_total 3\n# EOF\n"), "{text}");
        stop.cancel();
        server.await.expect("no panic");
    }

    #[test]
    fn strangers_get_nothing_and_the_house_only_what_exists() {
        let ask = |method: &str, path: &str, peer: &str| {
            let request = Request::builder().method(method).uri(path).body(()).expect("a request");
            answer(&request, peer.parse().expect("an address"), &pages(&[]))
        };
        let refused = ask("GET", "/metrics", "8.8.8.8");
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        assert_eq!(refused.headers()[CONNECTION], "close");
        assert_eq!(ask("GET", "/health", "8.8.8.8").status(), StatusCode::FORBIDDEN);
        assert_eq!(ask("GET", "/health", "192.168.1.2").status(), StatusCode::OK);
        assert_eq!(ask("HEAD", "/metrics", "100.64.0.2").status(), StatusCode::OK);
        assert_eq!(ask("POST", "/metrics", "127.0.0.1").status(), StatusCode::METHOD_NOT_ALLOWED);
        for path in ["/", "/status.json", "/style.css"] {
            assert_eq!(ask("GET", path, "::1").status(), StatusCode::OK);
            assert_eq!(ask("GET", path, "8.8.8.8").status(), StatusCode::FORBIDDEN);
            assert_eq!(ask("POST", path, "::1").status(), StatusCode::METHOD_NOT_ALLOWED);
        }
        assert_eq!(ask("GET", "/other", "::1").status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn a_public_name_that_leads_into_the_house_reads_nothing() {
        let ask = |uri: &str, hosts: &[&str]| {
            let request = Request::builder().uri(uri);
            let request = hosts.iter().fold(request, |request, host| request.header(HOST, *host));
            let request = request.body(()).expect("a request");
            answer(&request, "192.168.1.2".parse().expect("an address"), &pages(&[])).status()
        };
        for (uri, hosts) in [
            ("/metrics", &["attacker.example:9090"][..]),
            ("/health", &["attacker.example"]),
            ("/", &["attacker.example"]),
            ("/status.json", &["attacker.example:9090"]),
            ("/metrics", &["192.168.1.1", "attacker.example"]),
            ("http://attacker.example/metrics", &["192.168.1.1"]),
            ("/metrics", &["ä.local"]),
        ] {
            assert_eq!(ask(uri, hosts), StatusCode::FORBIDDEN, "{uri} {hosts:?}");
        }
        assert_eq!(ask("/metrics", &["192.168.1.1:9090"]), StatusCode::OK);
        assert_eq!(ask("http://gateway.local/metrics", &["gateway.local"]), StatusCode::OK);
    }

    #[tokio::test]
    async fn health_names_the_loops_that_stand_still() {
        let request = Request::builder().uri("/health").body(()).expect("a request");
        let peer = "127.0.0.1".parse().expect("an address");
        let answer = answer(&request, peer, &pages(&["tunnel", "edge"]));
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.expect("whole").to_bytes();
        assert_eq!(&body[..], b"stuck: tunnel, edge\n");
    }
}
