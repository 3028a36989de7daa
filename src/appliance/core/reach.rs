//! Which files the worker goes on to reach, and how.

use std::path::{Path, PathBuf};

/// What may be done with a file, or with everything below a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Look and read.
    Read,
    /// Read, write, make, rename and remove files, directories and sockets; nothing is executed, no device is made.
    Write,
}

/// A path and what it is open for. One that does not exist is open for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    pub path: PathBuf,
    pub access: Access,
}

/// What is outside of this module's knowledge.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// The owner's files; read again at every reload.
    pub config: &'a Path,
    /// Database and admin socket.
    pub state: &'a Path,
    /// Single files that the configuration names or that links in it lead to.
    pub named: &'a [PathBuf],
    /// What `/etc/resolv.conf` leads to.
    pub resolver: Option<&'a Path>,
}

/// What a look-up of a name reads. A library that `nsswitch.conf` names beside files and DNS is not among it: that way of looking up is left out.
pub const NAME_FILES: [&str; 5] =
    ["/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"];

/// Directories that many programs share: a file in one of them does not open the rest of it.
const SHARED: [&str; 8] = ["/", "/etc", "/run", "/tmp", "/var", "/var/run", "/usr", "/dev"];

/// Everything the worker reaches, and nothing else.
#[must_use]
pub fn of_worker(places: Places<'_>) -> Vec<Reach> {
    let reach = |path: &Path, access| Reach { path: path.to_owned(), access };
    let mut all = vec![reach(places.state, Access::Write), reach(places.config, Access::Read)];
    all.extend(places.named.iter().map(|path| reach(path, Access::Read)));
    all.extend(NAME_FILES.iter().map(|path| reach(Path::new(path), Access::Read)));
    all.extend(places.resolver.and_then(own_directory).map(|path| reach(path, Access::Read)));
    all
}

/// The directory of the name servers' list, when it has one of its own. Whoever keeps the list replaces the file, and a rule that names the
/// file would stay with the old one.
fn own_directory(list: &Path) -> Option<&Path> {
    list.parent().filter(|directory| !SHARED.iter().any(|shared| Path::new(shared) == *directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_resolver(resolver: Option<&str>) -> Vec<Reach> {
        let named = [PathBuf::from("/etc/ssl/ca.pem")];
        of_worker(Places {
            config: Path::new("/etc/genkan"),
            state: Path::new("/var/lib/genkan"),
            named: &named,
            resolver: resolver.map(Path::new),
        })
    }

    #[test]
    fn only_the_state_is_written() {
        let all = with_resolver(None);
        let written = all.iter().filter(|reach| reach.access == Access::Write);
        assert_eq!(
            written.map(|reach| reach.path.as_path()).collect::<Vec<_>>(),
            [Path::new("/var/lib/genkan")]
        );
    }

    #[test]
    fn a_list_of_name_servers_opens_its_own_directory_and_no_shared_one() {
        let opens = |resolver| with_resolver(Some(resolver)).len() - with_resolver(None).len();
        assert_eq!(opens("/run/systemd/resolve/stub-resolv.conf"), 1);
        for shared in ["/etc/resolv.conf", "/run/resolv.conf", "/resolv.conf", "/tmp/resolv.conf"] {
            assert_eq!(opens(shared), 0, "{shared}");
        }
    }
}
