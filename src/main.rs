//! `genkan`: argv to personality; nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use genkan::cli::{self, AdminCommand, Output};

/// The entrance of a home network: Tailscale-compatible coordinator, WireGuard node and HTTPS/TCP/UDP edge in one process.
#[derive(Parser)]
#[command(name = "genkan", version, arg_required_else_help = true)]
struct Arguments {
    /// Where the state lives: database and admin socket.
    #[arg(long, global = true, default_value = "/var/lib/genkan", value_name = "DIR")]
    state: PathBuf,
    /// How admin commands print their answer.
    #[arg(long, short, global = true, value_enum, default_value_t)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run coordinator, tunnel and edge until SIGTERM or SIGINT; SIGHUP reads policy and routes again.
    Serve {
        /// Folder with genkan.toml, caddy.json and acl.json or policy.hujson, each optional.
        #[arg(long, default_value = "/etc/genkan", value_name = "DIR")]
        config: PathBuf,
    },
    /// Report every problem of a configuration, and what follows from it: port forwards, DNS records, access.
    Check {
        /// Folder with genkan.toml, caddy.json and acl.json or policy.hujson, each optional.
        #[arg(long, default_value = "/etc/genkan", value_name = "DIR")]
        config: PathBuf,
        /// Print the report as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// On the card: ask the router for an address. Started by `genkan init` alone.
    #[command(hide = true)]
    LeaseChild {
        /// An empty directory to live in.
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
    },
    /// On the card: ask servers for the time. Started by `genkan init` alone.
    #[command(hide = true)]
    TimeChild {
        /// An empty directory to live in.
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
    },
    /// Print a completion script for a shell.
    Completion { shell: clap_complete::Shell },
    #[command(flatten)]
    Admin(AdminCommand),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Serve { config } => genkan::app::serve(&config, &arguments.state),
        Command::Check { config, json } => cli::check::run(&config, json),
        Command::LeaseChild { root } => ended("lease-child", genkan::appliance::lease_child::run(&root)),
        Command::TimeChild { root } => ended("time-child", genkan::appliance::time_child::run(&root)),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "genkan", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
        Command::Admin(command) => cli::run_blocking(&arguments.state, command, arguments.output),
    }
}

fn ended(child: &str, result: std::io::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("genkan {child}: {error}");
    ExitCode::FAILURE
}
