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
    #[error(
        "no genkan is reached at {address} ({cause}): check that the box is on, that this is its address (STATUS.txt on its card, or the router, shows it), and that this machine is in its network or its tailnet"
    )]
    Unreachable { address: String, cause: String },
    #[error(
        "another box answers at {address}, or it was reset since this key was made; nothing was sent to it. Check the address, or make a new key: an empty file genkan/API-KEY.txt on the card, then start the box again"
    )]
    AnotherBox { address: String },
    #[error(
        "{address} closed the connection at once: it answers only machines of its own network and its tailnet, and only so many at a time; come from there, or try again in a minute"
    )]
    TurnedAway { address: String },
    #[error(
        "what answers at {address} is not genkan's admin interface ({cause}); check address and port ([ports] api in genkan.toml)"
    )]
    NotGenkan { address: String, cause: String },
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
            | Self::Unreachable { .. }
            | Self::AnotherBox { .. }
            | Self::TurnedAway { .. }
            | Self::NotGenkan { .. }
            | Self::Connection(_)
            | Self::Slow(_)
            | Self::Refused(_)
            | Self::Declined => 1,
        })
    }
}
