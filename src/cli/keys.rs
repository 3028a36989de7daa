//! `genkan preauthkeys`.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::error::CliError;
use super::report::Report;
use super::{duration, users};
use crate::base::wall_time::UnixTime;
use crate::wire::admin::{
    CreatePreAuthKey, ExpirePreAuthKey, PreAuthKey, PreAuthKeyAnswer, PreAuthKeysAnswer, UserNumber,
};

const HEADINGS: [&str; 9] =
    ["ID", "Key", "Owner", "Host", "Reusable", "Ephemeral", "Used", "Expiration", "Created"];

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key and print it; it is not shown again.
    #[command(visible_aliases = ["c", "new"])]
    Create(Create),
    /// List all keys.
    #[command(visible_aliases = ["ls", "show"])]
    List,
    /// End a key: no node joins with it any more.
    #[command(visible_aliases = ["revoke", "exp", "e"])]
    Expire {
        #[arg(long, short)]
        id: u64,
    },
    /// Forget a key; the nodes that joined with it stay.
    #[command(visible_aliases = ["del", "rm", "d"])]
    Delete {
        #[arg(long, short)]
        id: u64,
    },
}

#[derive(Debug, Args)]
pub struct Create {
    /// Owner of the nodes that join with the key, by name or number.
    #[arg(long, short, value_name = "USER")]
    user: Option<String>,
    /// A host of the policy: the node gets its name and its address.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The key can be used more than once.
    #[arg(long)]
    reusable: bool,
    /// Nodes that join with the key are forgotten soon after they go offline.
    #[arg(long)]
    ephemeral: bool,
    /// How long the key can be used: 30m, 24h, 7d, or never.
    #[arg(long, short, default_value = "1h")]
    expiration: String,
    /// Tags of the nodes that join with the key.
    #[arg(long, value_delimiter = ',', value_name = "tag:A,tag:B")]
    tags: Vec<String>,
}

pub async fn run(client: &Client, command: KeysCommand) -> Result<Report, CliError> {
    match command {
        KeysCommand::Create(create) => {
            let request = create.request(client).await?;
            let PreAuthKeyAnswer { pre_auth_key: key } =
                client.write(Method::POST, "/preauthkey", &request).await?;
            Ok(Report::text(&key, key.key.clone()))
        }
        KeysCommand::List => {
            let PreAuthKeysAnswer { pre_auth_keys: keys } = client.read("/preauthkey").await?;
            let rows: Vec<_> = keys.iter().map(row).collect();
            Ok(Report::table(&keys, &HEADINGS, &rows))
        }
        KeysCommand::Expire { id } => {
            let request = ExpirePreAuthKey { id };
            let _: Value = client.write(Method::POST, "/preauthkey/expire", &request).await?;
            Ok(Report::done(format!("Key {id} has ended.")))
        }
        KeysCommand::Delete { id } => {
            let path = format!("/preauthkey?id={id}");
            let _: Value = client.write(Method::DELETE, &path, &json!({})).await?;
            Ok(Report::done(format!("Deleted key {id}.")))
        }
    }
}

impl Create {
    async fn request(self, client: &Client) -> Result<CreatePreAuthKey, CliError> {
        let user = match &self.user {
            Some(user) => Some(UserNumber(users::find(client, user).await?.id)),
            None => None,
        };
        Ok(CreatePreAuthKey {
            user,
            reusable: self.reusable,
            ephemeral: self.ephemeral,
            expiration: duration::end(&self.expiration)?,
            acl_tags: self.tags,
            host: self.host,
        })
    }
}

fn row(key: &PreAuthKey) -> Vec<String> {
    let owner = match &key.user {
        _ if !key.acl_tags.is_empty() => key.acl_tags.join(","),
        Some(user) => user.name.clone(),
        None => String::new(),
    };
    let time = |time: Option<UnixTime>| time.map(|time| time.to_string()).unwrap_or_default();
    vec![
        key.id.to_string(),
        key.key.clone(),
        owner,
        key.host.clone().unwrap_or_default(),
        key.reusable.to_string(),
        key.ephemeral.to_string(),
        key.used.to_string(),
        time(key.expiration),
        time(key.created_at),
    ]
}
