//! `genkan policy`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use http::Method;
use serde_json::Value;

use super::client::Client;
use super::error::CliError;
use super::report::Report;
use crate::wire::admin::Policy;

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Print the policy in force, as its author wrote it.
    #[command(visible_aliases = ["show", "view"])]
    Get,
    /// Replace the policy; refused while a file of the configuration holds it.
    #[command(visible_aliases = ["put", "update"])]
    Set {
        /// The new policy (HuJSON); `-` reads standard input.
        #[arg(long, short)]
        file: PathBuf,
    },
    /// Report the problems of a policy without using it.
    Check {
        /// The policy to check (HuJSON); `-` reads standard input.
        #[arg(long, short)]
        file: PathBuf,
    },
}

pub async fn run(client: &Client, command: PolicyCommand) -> Result<Report, CliError> {
    match command {
        PolicyCommand::Get => {
            let policy: Policy = client.read("/policy").await?;
            Ok(Report::text(&policy, policy.policy.clone()))
        }
        PolicyCommand::Set { file } => {
            let policy = Policy { policy: text_of(&file)? };
            let policy: Policy = client.write(Method::PUT, "/policy", &policy).await?;
            Ok(Report::text(&policy, "The policy is in force."))
        }
        PolicyCommand::Check { file } => {
            let policy = Policy { policy: text_of(&file)? };
            let _: Value = client.write(Method::POST, "/policy/check", &policy).await?;
            Ok(Report::done("The policy is valid."))
        }
    }
}

fn text_of(path: &Path) -> Result<String, CliError> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    text.map_err(|cause| CliError::File { path: path.to_owned(), cause })
}
