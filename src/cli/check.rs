//! `genkan check`: the report on a configuration, for people or for programs.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use super::report::print;
use crate::config::check;

/// Prints the report on `folder`. Exit codes: 0 fine, 1 problems, 2 no such folder.
pub fn run(folder: &Path, json: bool) -> ExitCode {
    if !folder.is_dir() {
        eprintln!(
            "genkan: {} is not a folder; name the one with genkan.toml, caddy.json and acl.json by --config",
            folder.display()
        );
        return ExitCode::from(check::EXIT_USAGE);
    }
    let report = check::run(folder);
    let text =
        if json { format!("{}\n", report.json()) } else { report.text(std::io::stdout().is_terminal()) };
    let printed = print(&text);
    if printed == ExitCode::SUCCESS { ExitCode::from(report.exit_code()) } else { printed }
}
