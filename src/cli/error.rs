//! What can go wrong with a command, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(
        "genkan is not running: nobody listens at {}; start it with `genkan serve --state {}`",
        .state.join(crate::wire::admin::SOCKET).display(), .state.display()
    )]
    NotRunning { state: PathBuf },
    #[error("no permission to open {}; run this command as root or as the user genkan runs as", .0.display())]
    NoPermission(PathBuf),
    #[error("the connection to genkan broke: {0}")]
    Connection(String),
    #[error("genkan did not answer within {0} s; its log says why")]
    Slow(u64),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Usage(String),
    #[error("{}: {cause}", .path.display())]
    File { path: PathBuf, cause: io::Error },
    #[error("nothing was changed")]
    Declined,
}

impl CliError {
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) | Self::File { .. } => 2,
            Self::NotRunning { .. }
            | Self::NoPermission(_)
            | Self::Connection(_)
            | Self::Slow(_)
            | Self::Refused(_)
            | Self::Declined => 1,
        })
    }
}
