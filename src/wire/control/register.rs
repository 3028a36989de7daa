//! `POST /machine/register`.

use serde::{Deserialize, Serialize};

use super::{Hostinfo, UserId, null_as_default};
use crate::base::secret::Secret;
use crate::base::wall_time::UnixTime;
use crate::wire::key::NodePublic;

/// What a client asks: who it is and by what right it joins.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RegisterRequest {
    /// Capability version.
    pub version: u32,
    pub node_key: NodePublic,
    /// The previous key when rotating, else zero.
    #[serde(deserialize_with = "null_as_default")]
    pub old_node_key: NodePublic,
    pub auth: Option<RegisterAuth>,
    /// Absent or Go's zero time: the server decides. In the past: log out.
    pub expiry: Option<UnixTime>,
    /// The login URL this request waits for.
    #[serde(deserialize_with = "null_as_default")]
    pub followup: String,
    #[serde(alias = "HostInfo")]
    pub hostinfo: Option<Hostinfo>,
    #[serde(deserialize_with = "null_as_default")]
    pub ephemeral: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RegisterAuth {
    #[serde(deserialize_with = "secret_text")]
    pub auth_key: Option<Secret<String>>,
}

/// All six members are always sent; Tailscale's Rust client requires them.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RegisterResponse {
    pub user: User,
    pub login: Login,
    pub node_key_expired: bool,
    pub machine_authorized: bool,
    #[serde(rename = "AuthURL")]
    pub auth_url: String,
    /// Non-empty: the login failed, and `tailscale up` prints this sentence.
    pub error: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct User {
    #[serde(rename = "ID")]
    pub id: UserId,
    pub display_name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Login {
    #[serde(rename = "ID")]
    pub id: UserId,
    pub provider: String,
    /// Never empty: a client does not save a profile without it.
    pub login_name: String,
    pub display_name: String,
}

fn secret_text<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Secret<String>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()).map(Secret::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_go_client_and_a_rust_client_both_decode() {
        let go = r#"{"Version":142,"NodeKey":"nodekey:0101010101010101010101010101010101010101010101010101010101010101",
            "OldNodeKey":"nodekey:0000000000000000000000000000000000000000000000000000000000000000","NLKey":"nlpub:00",
            "Auth":{"AuthKey":"secret-key"},"Expiry":"0001-01-01T00:00:00Z","Followup":"","Hostinfo":{"Hostname":"a"},"Unknown":[1]}"#;
        let request: RegisterRequest = serde_json::from_str(go).expect("Go's spelling");
        assert!(request.old_node_key.is_zero());
        assert_eq!(
            request.auth.and_then(|auth| auth.auth_key).map(|key| key.expose().clone()),
            Some("secret-key".into())
        );
        let rust = r#"{"Version":130,"NodeKey":"nodekey:0101010101010101010101010101010101010101010101010101010101010101","HostInfo":{}}"#;
        let request: RegisterRequest = serde_json::from_str(rust).expect("the Rust client's spelling");
        assert!(request.hostinfo.is_some() && request.expiry.is_none());
    }

    #[test]
    fn the_answer_always_has_six_members() {
        let json = serde_json::to_value(RegisterResponse::default()).expect("plain data");
        let names: Vec<_> = json.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(names, ["User", "Login", "NodeKeyExpired", "MachineAuthorized", "AuthURL", "Error"]);
    }
}
