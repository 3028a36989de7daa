//! One machine's control connection: the requests inside Noise.

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::connections::Slot;
use super::map_frame::Coding;
use super::request::{REQUEST_MAX, STRANGER_REQUEST_MAX, read_json};
use super::{Body, Server, map_stream, reply};
use crate::coordinator::ledger::{MapAnswer, Origin, Refusal};
use crate::wire::control::{CAPABILITY_FLOOR, Hostinfo, MapRequest, RegisterRequest, RegisterResponse};
use crate::wire::key::MachinePublic;

/// Request bodies read at the same time on one connection: clients send them one by one.
const BODIES_AT_ONCE: usize = 2;

/// Parts of the protocol that need Tailscale's own service; clients go on without them.
const UNSERVED: [&str; 8] = [
    "/machine/audit-log",
    "/machine/feature/query",
    "/machine/id-token",
    "/machine/set-device-attr",
    "/machine/set-dns",
    "/machine/update-health",
    "/machine/webclient/",
    "/machine/whoami",
];

/// A connection after its handshake.
pub struct Session {
    server: Server,
    machine: MachinePublic,
    origin: Origin,
    slot: Slot,
    bodies: Semaphore,
}

impl Session {
    pub fn new(server: Server, machine: MachinePublic, origin: Origin, slot: Slot) -> Self {
        Self { server, machine, origin, slot, bodies: Semaphore::new(BODIES_AT_ONCE) }
    }

    pub fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Answers one request; a refusal becomes its status and text.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let answer = match (request.method(), request.uri().path()) {
            (&Method::POST, "/machine/register") => self.register(request.into_body()).await,
            (&Method::POST, "/machine/map") => self.map(request.into_body()).await,
            (_, "/machine/register" | "/machine/map") => {
                Err(Refusal { status: 405, text: "only POST is understood here".into() })
            }
            (_, path) if is_unserved(path) => {
                Err(Refusal { status: 501, text: "this coordinator does not offer that".into() })
            }
            _ => Err(Refusal::not_found("nothing is here")),
        };
        answer.unwrap_or_else(|refusal| {
            tracing::debug!(status = refusal.status, text = refusal.text, "request refused");
            reply::refusal(refusal)
        })
    }

    async fn register(&self, body: Incoming) -> Result<Response<Body>, Refusal> {
        let answer = self.try_register(body).await;
        self.server.0.metrics.count_registration(answer.as_ref().map_or("refused", outcome));
        if answer.as_ref().is_ok_and(|response| response.machine_authorized) {
            self.slot.promote();
        }
        answer.map(|response| reply::json(&response))
    }

    async fn try_register(&self, body: Incoming) -> Result<RegisterResponse, Refusal> {
        let request: RegisterRequest = self.read(body).await?;
        check_version(request.version, request.hostinfo.as_ref())?;
        self.server.0.ledger.register(self.machine, request).await
    }

    async fn map(&self, body: Incoming) -> Result<Response<Body>, Refusal> {
        let answer = self.try_map(body).await;
        let kind = match &answer {
            Err(_) => "refused",
            Ok((MapAnswer::Updated, _)) => "updated",
            Ok((MapAnswer::Once(_), _)) => "once",
            Ok((MapAnswer::Stream(_), _)) => "stream",
        };
        self.server.0.metrics.count_map_request(kind);
        let (answer, coding) = answer?;
        self.slot.promote();
        Ok(match answer {
            MapAnswer::Updated => reply::empty(StatusCode::OK),
            MapAnswer::Once(map) => Response::new(map_stream::once(&self.server, &map, coding)?),
            MapAnswer::Stream(maps) => {
                Response::new(map_stream::stream(&self.server, maps, coding, self.slot.closer()))
            }
        })
    }

    async fn try_map(&self, body: Incoming) -> Result<(MapAnswer, Coding), Refusal> {
        let request: MapRequest = self.read(body).await?;
        check_version(request.version, request.hostinfo.as_ref())?;
        let coding = Coding::of(&request)
            .ok_or_else(|| Refusal::bad_request("of compressions, only zstd is understood"))?;
        let answer = self.server.0.ledger.map(self.machine, request, self.origin).await?;
        Ok((answer, coding))
    }

    async fn read<T: DeserializeOwned>(&self, body: Incoming) -> Result<T, Refusal> {
        let limit = if self.slot.is_stranger() { STRANGER_REQUEST_MAX } else { REQUEST_MAX };
        let _turn = self.bodies.acquire().await;
        read_json(body, limit).await
    }
}

/// As counters name it. Only an authorised machine is one that the ledger knows: a stranger's logout ends well too.
fn outcome(response: &RegisterResponse) -> &'static str {
    if !response.error.is_empty() {
        "refused"
    } else if !response.auth_url.is_empty() {
        "pending"
    } else if response.machine_authorized {
        "accepted"
    } else {
        "ended"
    }
}

fn is_unserved(path: &str) -> bool {
    UNSERVED.iter().any(|known| path.starts_with(known))
}

/// Refuses clients of before Tailscale 1.80, whose messages differ.
fn check_version(version: u32, hostinfo: Option<&Hostinfo>) -> Result<(), Refusal> {
    if version >= CAPABILITY_FLOOR {
        return Ok(());
    }
    let running = hostinfo.map(|info| info.ipn_version.as_str()).filter(|text| !text.is_empty());
    let running = running.map_or_else(|| format!("protocol version {version}"), String::from);
    Err(Refusal::bad_request(format!(
        "Tailscale 1.80 or newer is needed; this machine runs {running}; update it"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_client_is_told_what_it_runs_and_what_to_do() {
        assert_eq!(check_version(CAPABILITY_FLOOR, None), Ok(()));
        let hostinfo = Hostinfo { ipn_version: "1.78.1-t1".into(), ..Hostinfo::default() };
        let refusal = check_version(112, Some(&hostinfo)).expect_err("below the floor");
        assert_eq!(refusal.status, 400);
        assert_eq!(refusal.text, "Tailscale 1.80 or newer is needed; this machine runs 1.78.1-t1; update it");
        let refusal = check_version(90, None).expect_err("below the floor");
        assert!(refusal.text.contains("protocol version 90"));
    }
}
