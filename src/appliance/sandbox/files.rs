//! Landlock: which files are open, by the newest rules that this kernel knows.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use crate::appliance::core::reach::{Access, Reach};

/// The newest rules that this program was written for (Linux 7.2); an older kernel takes those it knows.
const NEWEST: ABI = ABI::V10;

const NAME_SERVERS: &str = "/etc/resolv.conf";

/// Opens `reach` and closes everything else to the calling thread and those it starts; says which rules hold. TCP and UDP ports stay open: a
/// reload may listen on any port the owner names, and upstreams are dialled on any.
pub fn restrict(reach: &[Reach]) -> Result<String, String> {
    let status = apply(reach).map_err(|error| error.to_string())?;
    let rules = match status.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } => kernel_abi.unwrap_or(effective_abi as i32),
        LandlockStatus::NotEnabled => return Err("not switched on in this kernel (lsm=landlock,...)".into()),
        LandlockStatus::NotImplemented => return Err("not in this kernel (CONFIG_SECURITY_LANDLOCK)".into()),
    };
    match status.ruleset {
        RulesetStatus::NotEnforced => Err("refused by this kernel".into()),
        RulesetStatus::FullyEnforced => Ok(format!("version {rules}")),
        RulesetStatus::PartiallyEnforced => Ok(format!("version {rules} of {}", NEWEST as i32)),
    }
}

fn apply(reach: &[Reach]) -> Result<landlock::RestrictionStatus, RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    reach.iter().try_fold(ruleset, open)?.restrict_self()
}

/// What does not exist, or may not be seen, is left closed.
fn open(ruleset: RulesetCreated, reach: &Reach) -> Result<RulesetCreated, RulesetError> {
    let Ok(opened) = PathFd::new(&reach.path) else { return Ok(ruleset) };
    ruleset.add_rule(PathBeneath::new(opened, rights(reach.access, reach.path.is_dir())))
}

fn rights(access: Access, is_directory: bool) -> BitFlags<AccessFs> {
    match access {
        Access::Read if is_directory => AccessFs::ReadFile | AccessFs::ReadDir,
        Access::Read => AccessFs::ReadFile.into(),
        Access::Write => {
            let never = AccessFs::Execute
                | AccessFs::MakeBlock
                | AccessFs::MakeChar
                | AccessFs::MakeFifo
                | AccessFs::MakeSym
                | AccessFs::IoctlDev;
            AccessFs::from_all(NEWEST) & !never
        }
    }
}

/// Where the entries of `config` lead that are links: a file of the owner's may lie elsewhere.
pub fn links_in(config: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(config).into_iter().flatten().flatten();
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    links.filter_map(|entry| entry.path().canonicalize().ok()).collect()
}

/// Where the list of name servers lies, or will lie once it is there.
pub fn resolver() -> Option<PathBuf> {
    let list = Path::new(NAME_SERVERS);
    if let Ok(found) = list.canonicalize() {
        return Some(found);
    }
    let target = list.parent()?.join(list.read_link().ok()?);
    Some(target.parent()?.canonicalize().ok()?.join(target.file_name()?))
}
