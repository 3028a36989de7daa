//! JSON of the administration interface, in the shape of Headscale's REST API v1 so that its tools and scripts fit.
//!
//! Identifiers are text on the wire, as protocol buffers write 64-bit numbers; numbers are accepted too. Members that
//! Headscale always writes are always written, also when empty. Members it does not have follow at the end.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::wall_time::UnixTime;
use crate::wire::key::{DiscoPublic, MachinePublic, NodePublic};

/// File name of the administration socket within the state directory.
pub const SOCKET: &str = "genkan.sock";

/// Where the interface answers over TLS unless `[ports] api` moves it.
pub const TLS_PORT: u16 = 9443;

/// Longest update file that is taken, in bytes.
pub const UPDATE_MAX: u64 = 128 << 20;

/// `text` as one segment of a path or one value of a query: all but letters, digits, `-`, `.`, `_` and `~` as `%XX`
/// (RFC 3986 section 2.3).
#[must_use]
pub fn encode_segment(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push_str(&hex::encode_upper([byte]));
            }
        }
    }
    out
}

/// The text of an encoded segment. `None` when a `%` lacks its digits or the bytes are not UTF-8.
#[must_use]
pub fn decode_segment(segment: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut rest = segment.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let (digits, behind) = rest.split_first_chunk::<2>()?;
        let mut decoded = [0];
        hex::decode_to_slice(digits, &mut decoded).ok()?;
        out.extend(decoded);
        rest = behind;
    }
    String::from_utf8(out).ok()
}

/// Why a request was refused. `code` is gRPC's number for the kind of failure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    pub code: u8,
    pub message: String,
    pub details: Vec<serde_json::Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    #[serde(with = "number_text")]
    pub id: i64,
    /// Login name; what policies call the user.
    pub name: String,
    pub created_at: Option<UnixTime>,
    pub display_name: String,
    pub email: String,
    pub provider_id: String,
    pub provider: String,
    pub profile_pic_url: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PreAuthKey {
    pub user: Option<User>,
    #[serde(with = "number_text")]
    pub id: u64,
    /// Whole in the answer to its creation, later its beginning and stars.
    pub key: String,
    pub reusable: bool,
    pub ephemeral: bool,
    pub used: bool,
    /// `None`: never.
    pub expiration: Option<UnixTime>,
    pub created_at: Option<UnixTime>,
    pub acl_tags: Vec<String>,
    /// The host of the policy whose name and address the key gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    #[serde(with = "number_text")]
    pub id: i64,
    pub machine_key: MachinePublic,
    pub node_key: NodePublic,
    pub disco_key: DiscoPublic,
    pub ip_addresses: Vec<IpAddr>,
    /// What the machine calls itself.
    pub name: String,
    pub user: User,
    pub last_seen: Option<UnixTime>,
    pub expiry: Option<UnixTime>,
    pub created_at: Option<UnixTime>,
    pub register_method: String,
    /// Its unique name in the tailnet.
    pub given_name: String,
    pub online: bool,
    pub approved_routes: Vec<IpNet>,
    pub available_routes: Vec<IpNet>,
    /// Routes that are both approved and offered.
    pub subnet_routes: Vec<IpNet>,
    pub tags: Vec<String>,
    pub ephemeral: bool,
    pub expired: bool,
    pub endpoints: Vec<SocketAddr>,
    pub client_version: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateUser {
    pub name: String,
    pub display_name: String,
}

/// A user's identifier where it may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNumber(#[serde(with = "number_text")] pub i64);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreatePreAuthKey {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserNumber>,
    pub reusable: bool,
    pub ephemeral: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<UnixTime>,
    pub acl_tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExpirePreAuthKey {
    #[serde(with = "number_text")]
    pub id: u64,
}

/// When a node's key shall end: at once when both are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExpireNode {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry: Option<UnixTime>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disable_expiry: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetTags {
    pub tags: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApproveRoutes {
    pub routes: Vec<IpNet>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    /// As its author wrote it, comments included.
    pub policy: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Health {
    pub database_connectivity: bool,
}

/// A key of this interface, without its secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiKey {
    #[serde(with = "number_text")]
    pub id: u64,
    /// What commands name the key by.
    pub prefix: String,
    /// `None`: never.
    pub expiration: Option<UnixTime>,
    pub created_at: Option<UnixTime>,
    pub last_seen: Option<UnixTime>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateApiKey {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<UnixTime>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExpireApiKey {
    pub prefix: String,
}

/// How far an update of the box is, or how the last one ended; without text, none was sent since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateProgress {
    pub text: String,
    pub done: bool,
    pub failed: bool,
}

impl UpdateProgress {
    /// Whether one has been sent and has not ended.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        !self.text.is_empty() && !self.done
    }
}

/// Answers with one member, named for what it holds.
macro_rules! envelope {
    ($name:ident { $member:ident: $type:ty }) => {
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            pub $member: $type,
        }
    };
}

envelope!(UserAnswer { user: User });
envelope!(UsersAnswer { users: Vec<User> });
envelope!(PreAuthKeyAnswer { pre_auth_key: PreAuthKey });
envelope!(PreAuthKeysAnswer { pre_auth_keys: Vec<PreAuthKey> });
envelope!(ApiKeyAnswer { api_key: String });
envelope!(ApiKeysAnswer { api_keys: Vec<ApiKey> });
envelope!(NodeAnswer { node: Node });
envelope!(NodesAnswer { nodes: Vec<Node> });

mod number_text {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either<T> {
        Number(T),
        Text(String),
    }

    pub fn serialize<S: Serializer>(number: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: Deserialize<'de> + FromStr<Err: Display>,
    {
        match Either::deserialize(deserializer)? {
            Either::Number(number) => Ok(number),
            Either::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_survive_the_path() {
        assert_eq!(encode_segment("a/b@c é"), "a%2Fb%40c%20%C3%A9");
        for text in ["", "alice@example.com", "a/b?c=d&e", "é%41"] {
            assert_eq!(decode_segment(&encode_segment(text)).as_deref(), Some(text));
        }
        for wrong in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decode_segment(wrong), None);
        }
    }

    #[test]
    fn identifiers_are_text_and_numbers_are_accepted() {
        let user = User { id: 7, name: "alice".into(), ..User::default() };
        let json = serde_json::to_value(&user).expect("plain values");
        assert_eq!(json["id"], "7");
        assert_eq!(json["displayName"], "");
        assert!(json["createdAt"].is_null());
        let request: CreatePreAuthKey = serde_json::from_str(r#"{"user": 7}"#).expect("a number");
        let same: CreatePreAuthKey = serde_json::from_str(r#"{"user": "7", "new": 1}"#).expect("text");
        assert_eq!((request.user, same.user), (Some(UserNumber(7)), Some(UserNumber(7))));
        assert!(serde_json::from_str::<CreatePreAuthKey>(r#"{"user": "seven"}"#).is_err());
        let none: CreatePreAuthKey = serde_json::from_str(r#"{"user": null}"#).expect("null");
        assert_eq!(none.user, None);
    }
}
