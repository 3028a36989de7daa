//! `genkan`: argv to personality; nothing else.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use genkan::appliance;
use genkan::appliance::report;
use genkan::appliance::sandbox::Mode;
use genkan::appliance::seams::Parts;
use genkan::appliance::settings::Settings;
use genkan::appliance::slot_write;
use genkan::cli::release::ReleaseCommand;
use genkan::cli::{self, AdminCommand, Destination, Output};

/// musl's own allocator is slow, and glibc's keeps what a flood of connections made it take.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The entrance of a home network: Tailscale-compatible coordinator, WireGuard node and HTTPS/TCP/UDP edge in one process.
#[derive(Parser)]
#[command(name = "genkan", version, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    destination: Destination,
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
        /// Give up privileges, and shut the process in by Landlock and seccomp.
        #[arg(long, value_enum, default_value_t, value_name = "MODE")]
        sandbox: Mode,
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
    /// For makers of releases: keys, and signed updates of the card.
    #[command(subcommand)]
    Release(ReleaseCommand),
    /// Write an update to the slot that does not run; PID 1 starts this.
    #[command(hide = true)]
    SlotWrite(slot_write::Order),
    /// Try what the worker's sandbox refuses; PID 1 starts this, confined as the worker.
    #[command(hide = true)]
    Probe {
        #[arg(long, value_name = "DIR")]
        config: PathBuf,
    },
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
        Command::Serve { config, sandbox } => {
            genkan::app::serve(&config, &arguments.destination.state, sandbox)
        }
        Command::Init { command_line } => {
            appliance::run(Settings { command_line, ..Settings::card() }, Parts::default())
        }
        Command::Check { config, json } => cli::check::run(&config, json),
        Command::LeaseChild { root } => ended("lease-child", genkan::appliance::lease_child::run(&root)),
        Command::TimeChild { root } => ended("time-child", genkan::appliance::time_child::run(&root)),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "genkan", &mut script);
            cli::print(&String::from_utf8_lossy(&script))
        }
        Command::Release(command) => cli::release::run(command, arguments.output),
        Command::SlotWrite(order) => slot_write::run(&order),
        Command::Probe { config } => report::try_sandbox(&config, &arguments.destination.state),
        Command::Admin(command) => cli::run_blocking(&arguments.destination, command, arguments.output),
    }
}

fn ended(child: &str, result: std::io::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("genkan {child}: {error}");
    ExitCode::FAILURE
}
