//! `genkan health`.

use super::client::Client;
use super::error::CliError;
use super::report::Report;
use crate::wire::admin::Health;

pub async fn run(client: &Client) -> Result<Report, CliError> {
    let health: Health = client.read("/health").await?;
    if health.database_connectivity {
        Ok(Report::text(&health, "genkan is running and its state is readable."))
    } else {
        Err(CliError::Refused("genkan is running but cannot read its state; its log says why".into()))
    }
}
