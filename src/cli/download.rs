//! Fetching an update by http or https. What comes is believed for its signature alone; https keeps others from watching.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Request, Response, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::error::CliError;
use super::meter::Meter;
use crate::wire::update::FILE_MAX;

/// Until the server answers, and between two pieces of the file.
const PATIENCE: Duration = Duration::from_secs(30);

const REDIRECTS_MAX: usize = 5;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The file behind `url`, rewound; it has no name and goes when it is closed.
pub async fn fetch(url: &str) -> Result<File, CliError> {
    let mut uri: Uri = url.parse().map_err(|_| CliError::Usage(format!("{url} is not a URL")))?;
    for _ in 0..=REDIRECTS_MAX {
        let response = within(ask(&uri)).await?;
        match response.status().as_u16() {
            200 => return save(response).await,
            301 | 302 | 303 | 307 | 308 => uri = redirect(&uri, response.headers())?,
            status => return Err(CliError::Connection(format!("{uri} answers with status {status}"))),
        }
    }
    Err(CliError::Connection(format!("{url} leads on more than {REDIRECTS_MAX} times")))
}

async fn ask(uri: &Uri) -> Result<Response<Incoming>, CliError> {
    let (https, host) = match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) => (true, host),
        (Some("http"), Some(host)) => (false, host),
        _ => return Err(CliError::Usage(format!("{uri} is not an http or https URL"))),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    let tcp = TcpStream::connect((host, port)).await.map_err(broken)?;
    let stream: Box<dyn Stream> = if https { Box::new(secure(host, tcp).await?) } else { Box::new(tcp) };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, concat!("genkan/", env!("CARGO_PKG_VERSION")));
    sender.send_request(request.body(Empty::<Bytes>::new()).map_err(broken)?).await.map_err(broken)
}

async fn secure(host: &str, tcp: TcpStream) -> Result<impl Stream + use<>, CliError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(broken)?
        .with_root_certificates(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(broken)?;
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(broken)
}

async fn save(response: Response<Incoming>) -> Result<File, CliError> {
    let announced = response.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
    let mut meter = Meter::new("fetching", announced);
    let (mut file, mut length) = (nameless().map_err(unsaved)?, 0_u64);
    let mut body = response.into_body();
    while let Some(frame) = within(async { body.frame().await.transpose().map_err(broken) }).await? {
        let Ok(piece) = frame.into_data() else { continue };
        length += piece.len() as u64;
        if length > FILE_MAX {
            return Err(CliError::Usage(format!("the file is longer than {FILE_MAX} bytes: no update")));
        }
        file.write_all(&piece).map_err(unsaved)?;
        meter.reach(length);
    }
    if announced.is_some_and(|announced| announced != length) {
        return Err(CliError::Connection(format!("the file ended after {length} bytes")));
    }
    file.rewind().map_err(unsaved)?;
    Ok(file)
}

fn redirect(from: &Uri, headers: &HeaderMap) -> Result<Uri, CliError> {
    let unclear = || CliError::Connection(format!("{from} leads to no place that makes sense"));
    let to = headers.get(header::LOCATION).and_then(|to| to.to_str().ok()).ok_or_else(unclear)?;
    let to: Uri = to.parse().map_err(|_| unclear())?;
    if to.authority().is_some() {
        return Ok(to);
    }
    let mut parts = to.into_parts();
    parts.scheme = from.scheme().cloned().or(Some(Scheme::HTTPS));
    parts.authority = from.authority().cloned();
    Uri::from_parts(parts).map_err(|_| unclear())
}

/// For this process alone.
fn nameless() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("genkan-update-{}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

async fn within<T>(what: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let result = tokio::time::timeout(PATIENCE, what).await;
    result.unwrap_or_else(|_| Err(CliError::Connection("the server of the URL does not answer".into())))
}

fn broken(error: impl std::error::Error) -> CliError {
    CliError::Connection(error.to_string())
}

fn unsaved(cause: io::Error) -> CliError {
    CliError::File { path: std::env::temp_dir(), cause }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    /// Answers each connection with the next of `answers`; its address.
    fn server(answers: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("a client");
                let _ = stream.read(&mut [0; 4096]).expect("a request");
                stream.write_all(answer.as_bytes()).expect("the client listens");
            }
        });
        address
    }

    #[tokio::test]
    async fn a_file_comes_whole_over_redirects() {
        let answers = [
            "HTTP/1.1 302 Found\r\nlocation: /there?x=1\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        ];
        let address = server(answers.map(String::from).to_vec());
        let mut file = fetch(&format!("http://{address}/a.gku")).await.expect("fetched");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("rewound");
        assert_eq!(text, "hello");
    }

    #[tokio::test]
    async fn what_is_no_file_is_said_so() {
        let address = server(vec!["HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".into()]);
        let error = fetch(&format!("http://{address}/a")).await.expect_err("not there");
        assert!(error.to_string().contains("status 404"), "{error}");
        let around = "HTTP/1.1 301 Moved\r\nlocation: /\r\ncontent-length: 0\r\n\r\n".to_owned();
        let address = server(vec![around; REDIRECTS_MAX + 1]);
        let error = fetch(&format!("http://{address}/a")).await.expect_err("for ever");
        assert!(error.to_string().contains("leads on more than"), "{error}");
        let address = server(vec!["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello".into()]);
        assert!(fetch(&format!("http://{address}/a")).await.is_err(), "cut off");
        for url in ["ftp://127.0.0.1/a", "update.gku", ""] {
            assert!(matches!(fetch(url).await, Err(CliError::Usage(_))), "{url}");
        }
    }
}
