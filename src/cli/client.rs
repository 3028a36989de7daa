//! One request to the running genkan: HTTP/1.1 with JSON over its Unix socket.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::error::CliError;
use super::upload::{Sent, Upload};
use crate::wire::admin::{ErrorBody, SOCKET};

/// Longer than any command takes on the slowest card.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Longer than the longest file takes over a slow line.
const UPLOAD_TIMEOUT: Duration = Duration::from_mins(30);

/// Longest answer, in bytes: thousands of nodes.
const MAX_ANSWER: usize = 64 << 20;

pub struct Client {
    state: PathBuf,
}

impl Client {
    pub fn new(state: &Path) -> Self {
        Self { state: state.to_owned() }
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

    /// Posts the file as it is; `sent` is told how far it is. A refusal that comes before all of it was sent may break the
    /// connection, so what can be asked before should be.
    pub async fn send_file<T: DeserializeOwned>(
        &self,
        path: &str,
        file: &Path,
        sent: Sent,
    ) -> Result<T, CliError> {
        let upload = Upload::open(file, sent).await;
        let upload = upload.map_err(|cause| CliError::File { path: file.to_owned(), cause })?;
        let request = Request::post(format!("/api/v1{path}"))
            .header(header::HOST, "genkan")
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(upload)
            .map_err(broken)?;
        let exchange = async {
            let stream = TokioIo::new(self.connect().await?);
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(stream).await.map_err(broken)?;
            tokio::spawn(connection);
            collect(sender.send_request(request).await.map_err(broken)?).await
        };
        let answer = tokio::time::timeout(UPLOAD_TIMEOUT, exchange).await;
        judge(answer.map_err(|_| CliError::Slow(UPLOAD_TIMEOUT.as_secs()))??)
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, CliError> {
        let exchange = self.exchange(method, path, body);
        let answer = tokio::time::timeout(TIMEOUT, exchange).await;
        judge(answer.map_err(|_| CliError::Slow(TIMEOUT.as_secs()))??)
    }

    /// Whether the answer is a success, and its body.
    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<(bool, Bytes), CliError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(header::HOST, "genkan")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(broken)?;
        let stream = self.connect().await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // How the connection ends is told by the answer, or by its absence.
        tokio::spawn(connection);
        collect(sender.send_request(request).await.map_err(broken)?).await
    }

    async fn connect(&self) -> Result<UnixStream, CliError> {
        let socket = self.state.join(SOCKET);
        UnixStream::connect(&socket).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                CliError::NotRunning { state: self.state.clone() }
            }
            ErrorKind::PermissionDenied => CliError::NoPermission(socket),
            _ => CliError::File { path: socket, cause: error },
        })
    }
}

fn judge<T: DeserializeOwned>((ok, body): (bool, Bytes)) -> Result<T, CliError> {
    if !ok {
        let error: ErrorBody = serde_json::from_slice(&body).map_err(broken)?;
        return Err(CliError::Refused(error.message));
    }
    serde_json::from_slice(&body).map_err(broken)
}

async fn collect(response: Response<Incoming>) -> Result<(bool, Bytes), CliError> {
    let ok = response.status().is_success();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    Ok((ok, body.map_err(|error| CliError::Connection(error.to_string()))?.to_bytes()))
}

fn broken(error: impl std::error::Error) -> CliError {
    CliError::Connection(error.to_string())
}
