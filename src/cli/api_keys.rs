//! `genkan apikeys`.

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::duration;
use super::error::CliError;
use super::report::Report;
use crate::base::wall_time::UnixTime;
use crate::wire::admin::{ApiKey, ApiKeyAnswer, ApiKeysAnswer, CreateApiKey, ExpireApiKey, encode_segment};

const HEADINGS: [&str; 5] = ["ID", "Prefix", "Expiration", "Created", "Last seen"];

#[derive(Debug, Subcommand)]
pub enum ApiKeysCommand {
    /// Make a key and print it; it is not shown again.
    #[command(visible_aliases = ["c", "new"])]
    Create {
        /// How long the key can be used: 30m, 24h, 90d, or never.
        #[arg(long, short, default_value = "90d")]
        expiration: String,
    },
    /// List all keys.
    #[command(visible_aliases = ["ls", "show"])]
    List,
    /// End a key: nobody rules by it any more.
    #[command(visible_aliases = ["revoke", "exp", "e"])]
    Expire {
        /// As `genkan apikeys list` shows it.
        #[arg(long, short)]
        prefix: String,
    },
    /// Forget a key; it ends too.
    #[command(visible_aliases = ["remove", "del"])]
    Delete {
        /// As `genkan apikeys list` shows it.
        #[arg(long, short)]
        prefix: String,
    },
}

pub async fn run(client: &Client, command: ApiKeysCommand) -> Result<Report, CliError> {
    match command {
        ApiKeysCommand::Create { expiration } => {
            let request = CreateApiKey { expiration: duration::end(&expiration)? };
            let ApiKeyAnswer { api_key } = client.write(Method::POST, "/apikey", &request).await?;
            Ok(Report::text(&api_key, api_key.clone()))
        }
        ApiKeysCommand::List => {
            let ApiKeysAnswer { api_keys: keys } = client.read("/apikey").await?;
            let rows: Vec<_> = keys.iter().map(row).collect();
            Ok(Report::table(&keys, &HEADINGS, &rows))
        }
        ApiKeysCommand::Expire { prefix } => {
            let request = ExpireApiKey { prefix };
            let _: Value = client.write(Method::POST, "/apikey/expire", &request).await?;
            Ok(Report::done(format!("API key {} has ended.", request.prefix)))
        }
        ApiKeysCommand::Delete { prefix } => {
            let path = format!("/apikey/{}", encode_segment(&prefix));
            let _: Value = client.write(Method::DELETE, &path, &json!({})).await?;
            Ok(Report::done(format!("Deleted API key {prefix}.")))
        }
    }
}

fn row(key: &ApiKey) -> Vec<String> {
    let time = |time: Option<UnixTime>| time.map(|time| time.to_string()).unwrap_or_default();
    vec![
        key.id.to_string(),
        key.prefix.clone(),
        time(key.expiration),
        time(key.created_at),
        time(key.last_seen),
    ]
}
