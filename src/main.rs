//! `genkan`: argv to personality; nothing else.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use genkan::appliance;
use genkan::appliance::seams::Parts;
use genkan::appliance::settings::Settings;
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
    /// Be process 1 of the card.
    #[command(hide = true)]
    Init {
        /// Words in place of the kernel's command line.
        #[arg(long, value_name = "WORDS")]
        command_line: Option<String>,
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
    /// Print a completion script for a shell.
    Completion { shell: clap_complete::Shell },
    #[command(flatten)]
    Admin(AdminCommand),
}

fn main() -> ExitCode {
    // The kernel starts `/init` with whatever words of its command line it does not know itself.
    if std::env::args_os().next().is_some_and(|name| Path::new(&name).file_name() == Some("init".as_ref())) {
        return appliance::run(Settings::card(), Parts::default());
    }
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Serve { config } => genkan::app::serve(&config, &arguments.state),
        Command::Init { command_line } => {
            appliance::run(Settings { command_line, ..Settings::card() }, Parts::default())
        }
        Command::Check { config, json } => cli::check::run(&config, json),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "genkan", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
        Command::Admin(command) => cli::run_blocking(&arguments.state, command, arguments.output),
    }
}
