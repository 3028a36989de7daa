//! `genkan release`: what the makers of a release do, on their own machine; no box is asked.
//!
//! ```text
//! keygen ─▶ key.pem (secret) + a line of release.pub      slot.img + key.pem ─ pack ─▶ genkan-VERSION.gku ─ inspect ─▶ its manifest
//! ```

mod inspect;
mod keygen;
mod pack;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use super::Output;
use super::error::CliError;
use super::report;

#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Make a signing key; print the line for /etc/genkan/release.pub.
    Keygen(keygen::Keygen),
    /// Make a signed update from the image of a slot.
    Pack(pack::Pack),
    /// Show what an update says about itself, check it whole, and say which key signed it.
    Inspect(inspect::Inspect),
}

/// Runs one command and prints what came of it. Exit codes as for admin commands.
pub fn run(command: ReleaseCommand, output: Output) -> ExitCode {
    let answer = match command {
        ReleaseCommand::Keygen(command) => command.run(),
        ReleaseCommand::Pack(command) => command.run(),
        ReleaseCommand::Inspect(command) => command.run(),
    };
    match answer {
        Ok(report) => report.print(output),
        Err(error) => {
            report::print_error(&error, output);
            error.exit_code()
        }
    }
}

fn file_error(path: &Path) -> impl Fn(std::io::Error) -> CliError {
    move |cause| CliError::File { path: path.to_owned(), cause }
}

fn wrong(path: &Path, error: impl std::fmt::Display) -> CliError {
    CliError::Usage(format!("{}: {error}", path.display()))
}
