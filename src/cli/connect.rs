//! A connection to the genkan a command is for, and what it means when there is none.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::destination::{Address, Target};
use super::error::CliError;
use super::pinned;
use crate::wire::admin::SOCKET;
use crate::wire::api_key::Pin;

/// For a box in the same house to take a connection, and for the handshake.
const DEADLINE: Duration = Duration::from_secs(8);

/// What every box is called inside TLS; the pin tells them apart.
const SERVER_NAME: &str = "genkan.internal";

/// Bytes both ways, over whatever it is.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub async fn open(target: &Target) -> Result<Box<dyn Stream>, CliError> {
    match target {
        Target::Here(state) => Ok(Box::new(open_socket(state).await?)),
        Target::There { address, key } => open_tls(address, key.pin).await,
    }
}

async fn open_socket(state: &Path) -> Result<UnixStream, CliError> {
    let socket = state.join(SOCKET);
    UnixStream::connect(&socket).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            CliError::NotRunning { state: state.to_owned() }
        }
        ErrorKind::PermissionDenied => CliError::NoPermission(socket),
        _ => CliError::File { path: socket, cause: error },
    })
}

async fn open_tls(address: &Address, pin: Pin) -> Result<Box<dyn Stream>, CliError> {
    let unreachable = |cause: String| CliError::Unreachable { address: address.to_string(), cause };
    let late = |_| unreachable(format!("no answer within {} s", DEADLINE.as_secs()));
    let connecting = TcpStream::connect((address.host.as_str(), address.port));
    let stream = tokio::time::timeout(DEADLINE, connecting).await.map_err(late)?;
    let stream = stream.map_err(|error| unreachable(error.to_string()))?;
    let config = pinned::config(pin).map_err(|error| CliError::Connection(error.to_string()))?;
    let name = ServerName::try_from(SERVER_NAME).expect("a DNS name");
    let greeting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = tokio::time::timeout(DEADLINE, greeting).await.map_err(late)?;
    Ok(Box::new(stream.map_err(|error| explain(address, &error))?))
}

/// What a failed handshake says of the other end.
fn explain(address: &Address, error: &io::Error) -> CliError {
    let address = address.to_string();
    match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(cause) if pinned::is_another_box(cause) => CliError::AnotherBox { address },
        Some(cause) => CliError::NotGenkan { address, cause: cause.to_string() },
        None => CliError::TurnedAway { address },
    }
}
