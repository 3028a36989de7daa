//! Administration commands, shaped as Headscale's: argv -> request to the running genkan -> table or JSON.
//!
//! ```text
//! genkan --state DIR nodes list    -> GET /api/v1/node over DIR/genkan.sock ------> Report -> stdout
//! genkan --address HOST nodes list -> the same over TLS, with an API key ---------^
//! ```
//!
//! Exit codes: 0 done; 1 refused, declined, or no answer from a running genkan; 2 the command makes no sense as it stands, or names
//! a file that cannot be read.

mod api_keys;
pub mod check;
mod client;
mod connect;
mod destination;
mod download;
mod duration;
mod error;
mod health;
mod keys;
mod meter;
mod nodes;
mod pinned;
mod policy;
pub mod release;
mod report;
mod update;
mod upload;
mod users;

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

pub use client::Client;
pub use destination::Destination;
pub use error::CliError;
pub use report::{Report, print};
pub use upload::Sent;

/// How answers are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Aligned columns, for people.
    #[default]
    Table,
    /// Indented JSON with Headscale's member names.
    Json,
    /// The same on one line.
    JsonLine,
}

#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Owners of nodes.
    #[command(subcommand, visible_alias = "user")]
    Users(users::UsersCommand),
    /// Keys with which nodes join without a login page.
    #[command(subcommand, visible_aliases = ["preauthkey", "authkey"])]
    Preauthkeys(keys::KeysCommand),
    /// Machines of the tailnet.
    #[command(subcommand, visible_alias = "node")]
    Nodes(nodes::NodesCommand),
    /// Keys for these commands from another machine.
    #[command(subcommand, name = "apikeys", visible_aliases = ["apikey", "api"])]
    ApiKeys(api_keys::ApiKeysCommand),
    /// Who may reach what.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Bring the box to another version; it goes back by itself when it is not as well as before.
    Update(update::Update),
    /// Ask the running genkan whether it is well.
    Health,
}

/// As [`run`], for a caller outside a runtime.
pub fn run_blocking(destination: &Destination, command: AdminCommand, output: Output) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(destination, command, output)),
        Err(error) => {
            eprintln!("genkan: the kernel gives no event queue: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one command against the genkan at `destination`, and prints what came of it.
pub async fn run(destination: &Destination, command: AdminCommand, output: Output) -> ExitCode {
    match answer(destination, command).await {
        Ok(report) => report.print(output),
        Err(error) => {
            report::print_error(&error, output);
            error.exit_code()
        }
    }
}

/// As [`run`], without printing.
pub async fn answer(destination: &Destination, command: AdminCommand) -> Result<Report, CliError> {
    let client = &Client::new(destination.target()?);
    match command {
        AdminCommand::Users(command) => users::run(client, command).await,
        AdminCommand::Preauthkeys(command) => keys::run(client, command).await,
        AdminCommand::Nodes(command) => nodes::run(client, command).await,
        AdminCommand::ApiKeys(command) => api_keys::run(client, command).await,
        AdminCommand::Policy(command) => policy::run(client, command).await,
        AdminCommand::Update(update) => update::run(client, update).await,
        AdminCommand::Health => health::run(client).await,
    }
}

/// Asks before something is lost; a program that calls this command has decided already.
fn confirm(question: &str, force: bool) -> Result<(), CliError> {
    use std::io::{IsTerminal, Write, stderr, stdin};
    if force || !stdin().is_terminal() {
        return Ok(());
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    let read = stderr().flush().and_then(|()| stdin().read_line(&mut answer));
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(CliError::Declined),
    }
}
