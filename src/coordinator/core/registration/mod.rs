//! Who may join, and as which node.
//!
//! The machine key is known for certain, from the Noise handshake; everything else in a request is a claim. A node is found
//! by its node key and must be the machine's own. A login that fails is an answer with a sentence for the person who typed
//! `tailscale up`; only a request that makes no sense is refused as such.

mod admission;

use crate::base::wall_time::{UnixTime, WallTime};
use crate::wire::control::{CAPABILITY_FLOOR, Login, RegisterRequest, RegisterResponse, User};
use crate::wire::key::MachinePublic;

use super::auth_key::{self, AuthKey};
use super::change::Mutation;
use super::node_record::{NodeOrigin, NodeRecord};
use super::refusal::Refusal;
use super::tailnet::Tailnet;

/// What is answered, and what is to change.
pub type Decision = (RegisterResponse, Vec<Mutation>);

/// Go's zero time, which clients send for "no wish".
const GO_ZERO: UnixTime = UnixTime(-62_135_596_800);

/// 2020-01-01: an end before any genkan existed is a wish to log out, also while the clock is unknown.
const LONG_AGO: UnixTime = UnixTime(1_577_836_800);

const NO_LOGIN_PAGE: &str = "this coordinator has no login page yet: make a pre-auth key on it with \"genkan preauthkeys create\" and run: tailscale up --auth-key KEY";
const FOREIGN_NODE_KEY: &str =
    "this node key belongs to another machine: run \"tailscale logout\" and join again with a pre-auth key";
const UNKNOWN_KEY: &str = "this pre-auth key is not known here: it was deleted or mistyped; make a new one: genkan preauthkeys create";

/// What the sender wants done about the end of its key.
enum Wish {
    None,
    LogOut,
    End(UnixTime),
}

impl Tailnet {
    /// `POST /machine/register`.
    ///
    /// # Errors
    /// The client is too old, or the request makes no sense.
    pub fn decide_register(
        &self,
        machine: MachinePublic,
        request: &RegisterRequest,
        wall: WallTime,
    ) -> Result<Decision, Refusal> {
        check_version(request.version)?;
        if request.node_key.is_zero() {
            return Err(Refusal::bad_request("the request names no node key"));
        }
        let held = self.view.node_by_key(request.node_key);
        if held.is_some_and(|node| node.machine != machine) {
            return Ok(failed(FOREIGN_NODE_KEY));
        }
        let key = request.auth.as_ref().and_then(|auth| auth.auth_key.as_ref());
        match (wish(request.expiry, wall), key) {
            (Wish::LogOut, _) => Ok(log_out(held)),
            (_, Some(key)) => Ok(self.join(machine, request, key.expose(), wall)),
            (wish, None) => self.resume(held, &wish, wall),
        }
    }

    /// A client that starts again, wakes up, or wants its key to end sooner.
    fn resume(&self, held: Option<&NodeRecord>, wish: &Wish, wall: WallTime) -> Result<Decision, Refusal> {
        let Some(node) = held else { return Ok(failed(NO_LOGIN_PAGE)) };
        if node.is_expired(wall) {
            return Ok((expired_answer(), Vec::new()));
        }
        let Wish::End(end) = *wish else { return Ok((self.accepted(node), Vec::new())) };
        if !node.tags.is_empty() {
            return Ok((self.accepted(node), Vec::new()));
        }
        if node.expiry.is_some_and(|before| before < end) {
            return Err(Refusal::bad_request("a node cannot make its own key last longer"));
        }
        let sooner = NodeRecord { expiry: Some(end), ..node.clone() };
        Ok((self.accepted(node), vec![Mutation::Node(Box::new(sooner))]))
    }

    /// A client that presents a pre-auth key: for the first time, again at each start, or to become somebody else.
    fn join(
        &self,
        machine: MachinePublic,
        request: &RegisterRequest,
        text: &str,
        wall: WallTime,
    ) -> Decision {
        let key = self.key_of(text);
        let held = self.view.node_by_key(request.node_key);
        if let Some(node) = held.filter(|node| !node.is_expired(wall)) {
            let is_new_key = |key: &&AuthKey| node.origin != NodeOrigin::AuthKey(key.id);
            if key.filter(is_new_key).is_none_or(|key| key.check(wall).is_err()) {
                return (self.accepted(node), Vec::new());
            }
        }
        let Some(key) = key else { return failed(UNKNOWN_KEY) };
        self.admit(machine, request, key, wall).unwrap_or_else(|problem| failed(&problem))
    }

    /// The key that `text` is, secret included.
    fn key_of(&self, text: &str) -> Option<&AuthKey> {
        let (prefix, secret) = auth_key::split(text)?;
        self.view.keys.values().find(|key| key.prefix == prefix && key.matches(secret))
    }

    /// The client may save its profile and ask for its map.
    fn accepted(&self, node: &NodeRecord) -> RegisterResponse {
        let owner = self.view.user(node.owner()).unwrap_or_else(super::user::UserRecord::tagged_devices);
        RegisterResponse {
            user: User { id: owner.id, display_name: owner.shown_name().to_owned() },
            login: Login {
                id: owner.id,
                provider: "genkan".into(),
                login_name: owner.login_name(),
                display_name: owner.shown_name().to_owned(),
            },
            machine_authorized: true,
            ..RegisterResponse::default()
        }
    }
}

/// Refuses clients older than the floor.
pub(super) fn check_version(version: u32) -> Result<(), Refusal> {
    if version >= CAPABILITY_FLOOR {
        return Ok(());
    }
    Err(Refusal::bad_request("this client is too old: update it to Tailscale 1.80 or newer"))
}

/// Ends the node's key; an ephemeral node is removed at once. A node that is not known is logged out already.
fn log_out(held: Option<&NodeRecord>) -> Decision {
    let mutation = held.map(|node| {
        if node.ephemeral {
            Mutation::NodeRemoved(node.id)
        } else {
            Mutation::Node(Box::new(NodeRecord { expired: true, ..node.clone() }))
        }
    });
    (expired_answer(), mutation.into_iter().collect())
}

fn wish(expiry: Option<UnixTime>, wall: WallTime) -> Wish {
    match expiry {
        None => Wish::None,
        Some(end) if end <= GO_ZERO => Wish::None,
        Some(end) if end < LONG_AGO || wall.is_past(end) => Wish::LogOut,
        Some(end) => Wish::End(end),
    }
}

/// Makes the client roll its node key and try once more.
fn expired_answer() -> RegisterResponse {
    RegisterResponse { node_key_expired: true, ..RegisterResponse::default() }
}

/// The login fails, and the person is told why.
fn failed(sentence: &str) -> Decision {
    (RegisterResponse { error: sentence.to_owned(), ..RegisterResponse::default() }, Vec::new())
}

#[cfg(test)]
mod tests;
