//! One request to a running genkan: HTTP/1.1 with JSON over its Unix socket, or over TLS with an API key.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::request::Builder;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::connect;
use super::destination::Target;
use super::error::CliError;
use super::upload::{Sent, Upload};
use crate::wire::admin::ErrorBody;

/// Longer than any command takes on the slowest card.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Longer than the longest file takes over a slow line.
const UPLOAD_TIMEOUT: Duration = Duration::from_mins(30);

/// Longest answer, in bytes: thousands of nodes.
const MAX_ANSWER: usize = 64 << 20;

type Body = BoxBody<Bytes, io::Error>;

/// Asks one genkan; each request has a connection of its own.
pub struct Client {
    target: Target,
}

impl Client {
    pub fn new(target: Target) -> Self {
        Self { target }
    }

    /// `path` below `/api/v1`, percent-encoded.
    pub async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    pub async fn write<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        let body = serde_json::to_vec(body).map_err(|error| CliError::Usage(error.to_string()))?;
        self.ask(method, path, body.into()).await
    }

    /// Posts the file as it is; `sent` is told how far it is. What can be refused without it should be asked
    /// before.
    pub async fn send_file<T: DeserializeOwned>(
        &self,
        path: &str,
        file: &Path,
        sent: Sent,
    ) -> Result<T, CliError> {
        let upload = Upload::open(file, sent).await;
        let upload = upload.map_err(|cause| CliError::File { path: file.to_owned(), cause })?;
        let request =
            self.request(Method::POST, path).header(header::CONTENT_TYPE, "application/octet-stream");
        self.answer(request, upload.boxed(), UPLOAD_TIMEOUT).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, CliError> {
        let request = self.request(method, path).header(header::CONTENT_TYPE, "application/json");
        self.answer(request, Full::new(body).map_err(|never| match never {}).boxed(), TIMEOUT).await
    }

    fn request(&self, method: Method, path: &str) -> Builder {
        let request =
            Request::builder().method(method).uri(format!("/api/v1{path}")).header(header::HOST, "genkan");
        let Target::There { key, .. } = &self.target else { return request };
        let bearer = HeaderValue::try_from(format!("Bearer {}", key.whole().expose()));
        let mut bearer = bearer.expect("a key is hexadecimal digits and hyphens");
        bearer.set_sensitive(true);
        request.header(header::AUTHORIZATION, bearer)
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        request: Builder,
        body: Body,
        limit: Duration,
    ) -> Result<T, CliError> {
        let request = request.body(body).map_err(broken)?;
        let exchange = tokio::time::timeout(limit, self.exchange(request)).await;
        let (ok, body) = exchange.map_err(|_| CliError::Slow(limit.as_secs()))??;
        if !ok {
            let error: ErrorBody = serde_json::from_slice(&body).map_err(broken)?;
            return Err(CliError::Refused(error.message));
        }
        serde_json::from_slice(&body).map_err(broken)
    }

    /// Whether the answer is a success, and its body.
    async fn exchange(&self, request: Request<Body>) -> Result<(bool, Bytes), CliError> {
        let stream = connect::open(&self.target).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // How the connection ends is told by the answer, or by its absence.
        tokio::spawn(connection);
        collect(sender.send_request(request).await.map_err(broken)?).await
    }
}

async fn collect(response: Response<Incoming>) -> Result<(bool, Bytes), CliError> {
    let ok = response.status().is_success();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    Ok((ok, body.map_err(|error| CliError::Connection(error.to_string()))?.to_bytes()))
}

fn broken(error: impl std::error::Error) -> CliError {
    CliError::Connection(error.to_string())
}
