//! HTTPS to the certificate authority. An order makes a dozen small requests every two months: each gets a connection of its own, so
//! that nothing is pooled, and nothing is trusted but the roots given.

use std::error::Error as StdError;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::OrderError;
use crate::edge::tls;

/// For one request and its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer: a chain of certificates is a few kilobytes.
const MAX_ANSWER: usize = 256 * 1024;

type BoxError = Box<dyn StdError + Send + Sync>;

/// See the module.
#[derive(Clone)]
pub struct HttpsClient {
    tls: TlsConnector,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("the authority's URL is not https://host/...")]
    Url,
    #[error("the certificate authority does not answer in time")]
    Timeout,
    #[error("cannot reach the certificate authority: {0}")]
    Connect(std::io::Error),
    #[error("talking to the certificate authority failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("the certificate authority's answer cannot be read: {0}")]
    Answer(BoxError),
}

impl HttpsClient {
    /// Trusts the PEM roots in `ca_file`, or the public ones.
    pub async fn new(ca_file: Option<&Path>) -> Result<Self, OrderError> {
        let roots = match ca_file {
            Some(path) => {
                let pem = tokio::fs::read(path).await;
                let file = || path.display().to_string();
                roots_of(&pem.map_err(|error| OrderError::Roots(file(), error.to_string()))?)
                    .map_err(|error| OrderError::Roots(file(), error.to_string()))?
            }
            None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        };
        let config =
            tls::client_config(roots).map_err(|error| instant_acme::Error::Other(Box::new(error)))?;
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    async fn exchange(self, request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, RequestError> {
        let (host, port) = match (request.uri().scheme_str(), request.uri().host()) {
            (Some("https"), Some(host)) => (bare(host), request.uri().port_u16().unwrap_or(443)),
            _ => return Err(RequestError::Url),
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| RequestError::Url)?;
        let stream = TcpStream::connect((host, port)).await.map_err(RequestError::Connect)?;
        let stream = self.tls.connect(name, stream).await.map_err(RequestError::Connect)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let exchange = async {
            let (parts, body) = sender.send_request(origin_form(request)?).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(RequestError::Answer)?;
            Ok(Response::from_parts(parts, Full::new(body.to_bytes())))
        };
        let mut connection = std::pin::pin!(connection);
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            answer = exchange.as_mut() => answer,
            ended = connection.as_mut() => { ended?; exchange.await }
        }
    }
}

impl HttpClient for HttpsClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Ok(body) = body.collect().await;
            let request = Request::from_parts(parts, Full::new(body.to_bytes()));
            let answer = tokio::time::timeout(REQUEST_TIMEOUT, client.exchange(request)).await;
            let answer = answer.unwrap_or(Err(RequestError::Timeout));
            answer.map(BytesResponse::from).map_err(|error| instant_acme::Error::Other(Box::new(error)))
        })
    }
}

fn roots_of(pem: &[u8]) -> Result<RootCertStore, BoxError> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(pem) {
        roots.add(root?)?;
    }
    if roots.is_empty() { Err("no certificate in it".into()) } else { Ok(roots) }
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Moves the authority from the URL to `Host` (RFC 9112 section 3.2.1).
fn origin_form(mut request: Request<Full<Bytes>>) -> Result<Request<Full<Bytes>>, RequestError> {
    let authority = request.uri().authority().ok_or(RequestError::Url)?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| RequestError::Url)?;
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    request.headers_mut().insert(HOST, host);
    Ok(request)
}
