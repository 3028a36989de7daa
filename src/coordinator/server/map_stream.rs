//! Map answers on their way to one client: messages of the ledger, encoded and flushed one by one.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Frame};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio_util::sync::CancellationToken;

use super::map_frame::Coding;
use super::{Body, Server};
use crate::coordinator::ledger::{MapStream, Refusal};
use crate::wire::control::MapResponse;

/// Frames waiting for the connection. One: the ledger merges what a slow client has not taken yet, this cannot.
const WAITING: usize = 1;

/// A client that takes nothing for this long is gone, or as good as gone.
const WRITE_TIME: Duration = Duration::from_mins(1);

/// A body of one message.
pub fn once(server: &Server, map: &MapResponse, coding: Coding) -> Result<Body, Refusal> {
    let frame = server.0.encoder.frame(coding, map).map_err(|error| {
        tracing::error!(%error, "map does not encode");
        Refusal { status: 500, text: "the map could not be encoded; see the coordinator's log".into() }
    })?;
    Ok(Full::new(frame).map_err(|never| match never {}).boxed())
}

/// A body of all messages of `maps`. It ends with its connection, which `closer` closes when the client stops reading.
pub fn stream(server: &Server, maps: MapStream, coding: Coding, closer: CancellationToken) -> Body {
    let (sender, frames) = mpsc::channel(WAITING);
    tokio::spawn(pump(server.clone(), maps, coding, sender, closer));
    FrameStream::new(frames, server.0.metrics.open_streams.clone()).boxed()
}

async fn pump(
    server: Server,
    mut maps: MapStream,
    coding: Coding,
    frames: mpsc::Sender<Bytes>,
    closer: CancellationToken,
) {
    loop {
        let map = tokio::select! {
            biased; // what the ledger has ready, its last word above all, goes out before the end
            map = maps.next() => map,
            () = frames.closed() => return,
            () = closer.cancelled() => return,
        };
        let Some(map) = map else { return };
        let frame = match server.0.encoder.frame(coding, &map) {
            Ok(frame) => frame,
            Err(error) => return tracing::error!(%error, "map does not encode"),
        };
        match frames.send_timeout(frame, WRITE_TIME).await {
            Ok(()) => {}
            Err(SendTimeoutError::Closed(_)) => return,
            Err(SendTimeoutError::Timeout(_)) => {
                tracing::debug!("client reads nothing; its connection is closed");
                return closer.cancel();
            }
        }
    }
}

/// Frames as they come; ends when their sender is gone.
struct FrameStream {
    frames: mpsc::Receiver<Bytes>,
    open: Gauge,
}

impl FrameStream {
    fn new(frames: mpsc::Receiver<Bytes>, open: Gauge) -> Self {
        open.inc();
        Self { frames, open }
    }
}

impl HttpBody for FrameStream {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.frames.poll_recv(cx).map(|frame| frame.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Drop for FrameStream {
    fn drop(&mut self) {
        self.open.dec();
    }
}
