//! Each request's way to who answers it: facts are gathered here, [`crate::edge::core::dispatch`] decides.

use std::sync::{Arc, PoisonError, RwLock};

use http::header::{CONNECTION, HOST, LOCATION};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;

use super::Resident;
use super::acme_client::Challenges;
use super::body::{self, Body};
use super::core::dispatch::{Answer, Facts, decide};
use super::core::host_route::{Found, SiteTable, host_of};
use super::http_metrics::HttpMetrics;
use super::http_proxy::Proxy;
use super::listener::Connection;

/// Everything that can answer a request.
pub struct Front {
    pub resident: Arc<dyn Resident>,
    pub challenges: Challenges,
    pub proxy: Proxy,
    pub metrics: HttpMetrics,
    pub https_port: u16,
    sites: RwLock<Arc<SiteTable>>,
}

/// Why a request cannot be understood; the peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum BadRequest {
    #[error("the request needs exactly one valid Host")]
    Host,
    #[error("this server is no forward proxy")]
    Connect,
}

/// Where a request wants to go: the authority as written, and the host in it.
struct Target {
    authority: String,
    host: String,
}

impl Front {
    /// Without any site yet.
    #[must_use]
    pub fn new(resident: Arc<dyn Resident>, proxy: Proxy, metrics: HttpMetrics, https_port: u16) -> Self {
        Self {
            resident,
            challenges: Challenges::default(),
            proxy,
            metrics,
            https_port,
            sites: RwLock::default(),
        }
    }

    /// Requests from now on follow `sites`; those under way go on as they began.
    pub fn set_sites(&self, sites: SiteTable) {
        *self.sites.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(sites);
    }

    /// Answers one request, whatever it is.
    pub async fn answer(&self, request: Request<Incoming>, connection: &Connection) -> Response<Body> {
        let target = match target_of(&request) {
            Ok(target) => target,
            Err(error) => return self.refuse(request.version(), error),
        };
        let sites = Arc::clone(&self.sites.read().unwrap_or_else(PoisonError::into_inner));
        let found = sites.find(connection.local, &target.host);
        let path = request.uri().path();
        let challenge = self.challenges.answer(path);
        let answer = decide(&Facts {
            door: connection.door,
            presented: &connection.presented,
            host: &target.host,
            resident_name: self.resident.name(),
            claimed: self.resident.claims(path),
            site: found.as_ref().map(|found| found.by_name),
            challenge: challenge.is_some(),
            has_https: sites.names(self.https_port, &target.host),
        });
        match (answer, found, challenge) {
            (Answer::Resident, ..) => self.ask_resident(request, connection).await,
            (Answer::Site, Some(Found { site, .. }), _) => {
                let response = self.proxy.forward(request, &target.authority, &site, connection).await;
                self.metrics.count_request(&site.server, response.status());
                response
            }
            (Answer::Challenge, _, Some(proof)) => self.own(StatusCode::OK, &proof),
            (Answer::Redirect, ..) => self.redirect(&target.host, request.uri()),
            (Answer::Misdirected, ..) => self.own(
                StatusCode::MISDIRECTED_REQUEST,
                "this connection was opened for another name; ask again on a connection of its own",
            ),
            _ => self.own(StatusCode::NOT_FOUND, "nothing here answers to this name and path"),
        }
    }

    async fn ask_resident(&self, request: Request<Incoming>, connection: &Connection) -> Response<Body> {
        let response = self.resident.handle(request, connection.peer, connection.local).await;
        self.metrics.count_request("resident", response.status());
        response
    }

    /// What follows a request that cannot be understood on the same connection cannot be trusted either.
    fn refuse(&self, version: Version, error: BadRequest) -> Response<Body> {
        let mut response = self.own(StatusCode::BAD_REQUEST, &error.to_string());
        if version < Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn own(&self, status: StatusCode, line: &str) -> Response<Body> {
        self.metrics.count_request("edge", status);
        body::text(status, line)
    }

    /// The same place by https. The host comes from the request, but only hosts of the configuration get here.
    fn redirect(&self, host: &str, uri: &Uri) -> Response<Body> {
        let port = if self.https_port == 443 { String::new() } else { format!(":{}", self.https_port) };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let Ok(location) = HeaderValue::from_str(&format!("https://{host}{port}{path}")) else {
            return self.own(StatusCode::BAD_REQUEST, "the request's target cannot be redirected");
        };
        let mut response = self.own(StatusCode::PERMANENT_REDIRECT, "this name is served by https");
        response.headers_mut().insert(LOCATION, location);
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

/// The target of a request (RFC 9112 section 3.2): an absolute target or `:authority` goes before `Host`, and must not disagree with it in HTTP/2
/// (RFC 9113 section 8.3.1). HTTP/1.0 may come without any.
fn target_of(request: &Request<Incoming>) -> Result<Target, BadRequest> {
    if request.method() == Method::CONNECT {
        return Err(BadRequest::Connect);
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, further) = (hosts.next(), hosts.next());
    let host = host.map(|host| host.to_str().map_err(|_| BadRequest::Host)).transpose()?;
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let disagree =
        request.version() == Version::HTTP_2 && authority.is_some() && host.is_some() && host != authority;
    if further.is_some() || disagree {
        return Err(BadRequest::Host);
    }
    match authority.or(host) {
        Some(authority) => {
            let host = host_of(authority).ok_or(BadRequest::Host)?;
            Ok(Target { authority: authority.to_owned(), host })
        }
        None if request.version() < Version::HTTP_11 => {
            Ok(Target { authority: String::new(), host: String::new() })
        }
        None => Err(BadRequest::Host),
    }
}
