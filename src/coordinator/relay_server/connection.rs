//! One client's connection: handshake, then a read loop and a write loop in one task.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use rand_core::RngCore;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::Seat;
use crate::base::rng::SeededRng;
use crate::coordinator::core::relay::Transmit;
use crate::wire::derp::{
    ClientFrame, ClientInfo, FrameBuffer, FrameError, InfoError, ServerFrame, ServerInfo,
};
use crate::wire::key::NodePublic;

/// From the greeting to the client's introduction.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// How long a write may make no progress before the client counts as lost.
const WRITE_DEADLINE: Duration = Duration::from_secs(2);

/// Clients give up after 120 s of silence.
const KEEP_ALIVE: Duration = Duration::from_mins(1);

/// Spread over the keep-alives of clients that connected at the same moment, in milliseconds.
const KEEP_ALIVE_JITTER: u32 = 5000;

/// Bytes gathered for one write: one TLS record.
const BATCH: usize = 16 << 10;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("no introduction within 10 s")]
    Silent,
    #[error("the first frame was not the introduction")]
    NoIntroduction,
    #[error(transparent)]
    Introduction(#[from] InfoError),
    #[error("the node key is not admitted")]
    NotAdmitted,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the client hung up")]
    HungUp,
    #[error("the client takes no bytes")]
    Stuck,
    #[error("closed by the relay")]
    Expelled,
    #[error("no randomness from the operating system")]
    NoRandomness,
    #[error(transparent)]
    Io(#[from] io::Error),
}

pub(super) async fn run(seat: &Seat, io: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), End> {
    let (mut reader, mut writer) = tokio::io::split(io);
    let mut frames = FrameBuffer::of_client();
    let mut rng = seeded_rng()?;
    let handshake = shake_hands(seat, &mut reader, &mut writer, &mut frames, &mut rng);
    let result = tokio::select! {
        result = timeout(HANDSHAKE_DEADLINE, handshake) => result.unwrap_or(Err(End::Silent)),
        () = seat.expelled() => Err(End::Expelled),
    };
    if let Err(end) = result {
        let reason = if matches!(end, End::NotAdmitted) { "not_admitted" } else { "handshake" };
        seat.shared().metrics.count_refusal(reason);
        return Err(end);
    }
    tokio::select! {
        end = read_loop(seat, &mut reader, &mut frames) => end,
        end = write_loop(seat, &mut writer, &mut rng) => end,
    }
}

/// Greets, checks the introduction, admits.
async fn shake_hands(
    seat: &Seat,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    frames: &mut FrameBuffer,
    rng: &mut SeededRng,
) -> Result<(), End> {
    let shared = seat.shared();
    let mut out = Vec::new();
    ServerFrame::ServerKey(shared.key.public()).encode(&mut out);
    writer.write_all(&out).await?;
    writer.flush().await?;
    let client = read_introduction(seat, reader, frames).await?;
    // Seated first, asked second: a departure between the two finds the seat.
    seat.introduce(client);
    if !(shared.admit)(client) {
        return Err(End::NotAdmitted);
    }
    out.clear();
    encode_server_info(seat, client, rng, &mut out)?;
    writer.write_all(&out).await?;
    writer.flush().await?;
    Ok(())
}

async fn read_introduction(
    seat: &Seat,
    reader: &mut (impl AsyncRead + Unpin),
    frames: &mut FrameBuffer,
) -> Result<NodePublic, End> {
    loop {
        if let Some(frame) = frames.poll_frame()? {
            let ClientFrame::Info { key, nonce, sealed } = ClientFrame::parse(frame)? else {
                return Err(End::NoIntroduction);
            };
            ClientInfo::open(&seat.shared().key, key, &nonce, sealed)?;
            return Ok(key);
        }
        if reader.read_buf(frames.space()).await? == 0 {
            return Err(End::HungUp);
        }
    }
}

fn encode_server_info(
    seat: &Seat,
    client: NodePublic,
    rng: &mut SeededRng,
    out: &mut Vec<u8>,
) -> Result<(), InfoError> {
    let nonce = rng.bytes();
    let sealed = ServerInfo::default().seal(&seat.shared().key, client, &nonce).ok_or(InfoError::BadSeal)?;
    ServerFrame::Info { nonce, sealed: &sealed }.encode(out);
    Ok(())
}

async fn read_loop(
    seat: &Seat,
    reader: &mut (impl AsyncRead + Unpin),
    frames: &mut FrameBuffer,
) -> Result<(), End> {
    loop {
        while let Some(frame) = frames.poll_frame()? {
            match ClientFrame::parse(frame)? {
                ClientFrame::SendPacket { destination, packet } => {
                    // Copied, so that a packet in a queue does not keep the whole read alive.
                    seat.send(destination, Bytes::copy_from_slice(packet));
                }
                ClientFrame::Ping(data) => seat.answer_ping(data),
                ClientFrame::Info { .. }
                | ClientFrame::NotePreferred(_)
                | ClientFrame::Pong(_)
                | ClientFrame::Unknown(_) => seat.note_activity(),
            }
        }
        if reader.read_buf(frames.space()).await? == 0 {
            return Err(End::HungUp);
        }
    }
}

/// Writes what is due, flushes when nothing more is, keeps the connection alive.
async fn write_loop(
    seat: &Seat,
    writer: &mut (impl AsyncWrite + Unpin),
    rng: &mut SeededRng,
) -> Result<(), End> {
    let mut keep_alive_at = next_keep_alive(rng);
    let mut batch = Vec::new();
    loop {
        while gather(seat, &mut batch)? {
            write(writer, &batch).await?;
            batch.clear();
        }
        timeout(WRITE_DEADLINE, writer.flush()).await.map_err(|_| End::Stuck)??;
        tokio::select! {
            () = seat.wake.notified() => {}
            () = tokio::time::sleep_until(keep_alive_at) => {
                ServerFrame::KeepAlive.encode(&mut batch);
                keep_alive_at = next_keep_alive(rng);
            }
        }
    }
}

/// Appends what is due, up to one batch. False when there is nothing to write.
fn gather(seat: &Seat, batch: &mut Vec<u8>) -> Result<bool, End> {
    let mut expelled = false;
    seat.take_transmits(|transmit| {
        match transmit {
            Transmit::Packet { source, packet } => {
                seat.shared().metrics.sent.count(packet.len());
                ServerFrame::RecvPacket { source, packet: &packet }.encode(batch);
            }
            Transmit::PeerGone { peer, reason } => ServerFrame::PeerGone { peer, reason }.encode(batch),
            Transmit::Pong(data) => ServerFrame::Pong(data).encode(batch),
            Transmit::Close => expelled = true,
        }
        !expelled && batch.len() < BATCH
    });
    if expelled { Err(End::Expelled) } else { Ok(!batch.is_empty()) }
}

/// Like `write_all`, with a deadline on progress instead of on the whole: a slow link is not a dead one.
async fn write(writer: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> Result<(), End> {
    while !bytes.is_empty() {
        let written = timeout(WRITE_DEADLINE, writer.write(bytes)).await.map_err(|_| End::Stuck)??;
        if written == 0 {
            return Err(End::HungUp);
        }
        bytes = &bytes[written..];
    }
    Ok(())
}

fn next_keep_alive(rng: &mut SeededRng) -> Instant {
    let jitter = Duration::from_millis((rng.next_u32() % KEEP_ALIVE_JITTER).into());
    Instant::now() + KEEP_ALIVE + jitter
}

fn seeded_rng() -> Result<SeededRng, End> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| End::NoRandomness)?;
    Ok(SeededRng::new(seed))
}
