//! Clients of the edge: TLS with or without a name, HTTP of either version, and the bare socket.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::net::SocketAddr;
use std::sync::Arc;

use genkan::edge::body::Body;
use genkan::edge::tls;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// One connection that speaks HTTP.
pub enum Client {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Client {
    pub async fn send(&mut self, request: Request<Body>) -> Response<Incoming> {
        self.try_send(request).await.expect("an answer")
    }

    pub async fn try_send(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

/// Without TLS.
pub async fn plain(to: SocketAddr) -> Client {
    http1_on(TcpStream::connect(to).await.expect("a connection")).await
}

/// HTTP/1.1 over TLS, trusting the certificates in `pem`.
pub async fn https1(to: SocketAddr, name: &str, pem: &[u8]) -> Client {
    http1_on(tls_on(to, Some(name), pem, &[b"http/1.1"]).await.expect("a handshake")).await
}

/// HTTP/2 over TLS, trusting the certificates in `pem`.
pub async fn https2(to: SocketAddr, name: &str, pem: &[u8]) -> Client {
    let stream = tls_on(to, Some(name), pem, &[b"h2", b"http/1.1"]).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2 begins");
    tokio::spawn(connection);
    Client::Http2(sender)
}

pub async fn http1_on<I: AsyncRead + AsyncWrite + Send + Unpin + 'static>(io: I) -> Client {
    let (sender, connection) = http1::handshake(TokioIo::new(io)).await.expect("HTTP/1.1 begins");
    tokio::spawn(connection.with_upgrades());
    Client::Http1(sender)
}

/// TLS; without a name the client sends no SNI and takes any certificate named `hs.example.com`.
pub async fn tls_on(
    to: SocketAddr,
    name: Option<&str>,
    pem: &[u8],
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.expect("PEM")).expect("a root");
    }
    let mut config = tls::client_config(roots).expect("a configuration");
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.enable_sni = name.is_some();
    let name = ServerName::try_from(name.unwrap_or("hs.example.com").to_owned()).expect("a name");
    let stream = TcpStream::connect(to).await?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Sends bytes as they are, and returns everything that comes until the other side closes.
pub async fn raw(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.expect("a connection");
    stream.write_all(bytes).await.expect("sent");
    let mut answer = Vec::new();
    // A reset is an answer too: the bytes until then count.
    stream.read_to_end(&mut answer).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}
