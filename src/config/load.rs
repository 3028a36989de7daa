//! From a directory to the model.

use std::io::Read;
use std::path::Path;

use crate::coordinator::core::policy::Policy;

use super::exposure::{Server, edge_config};
use super::model::{Log, Model};
use super::problem::{Place, Problem};
use super::schema::Settings;
use super::{caddy, check, document, policy, schema};

pub const SETTINGS_FILE: &str = "genkan.toml";
pub const CADDY_FILE: &str = "caddy.json";
/// Either of them, not both.
pub const POLICY_FILES: [&str; 2] = ["acl.json", "policy.hujson"];
/// Files that somebody may have put there in the belief that they would be read.
const STRAY_FILES: [(&str, &str); 7] = [
    ("policy.json", "acl.json"),
    ("acl.hujson", "policy.hujson"),
    ("acl.jsonc", "policy.hujson"),
    ("genkan.json", SETTINGS_FILE),
    ("config.yaml", SETTINGS_FILE),
    ("Caddyfile", CADDY_FILE),
    ("caddyfile", CADDY_FILE),
];

/// What a directory of configuration came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// `None` when some file could not be read as it stands. Where the files merely disagree there is a model: what the
    /// policy forbids stays forbidden, whatever is routed.
    pub model: Option<Model>,
    /// Everything that is wrong, and every warning, in the order of the files; where a file could be understood only in part, also
    /// what that part and the other files disagree about.
    pub problems: Vec<Problem>,
    /// How to log what follows, also where there is no model: as far as it could be read.
    pub log: Log,
}

/// The files as read; a file that is not there is `None`.
#[derive(Debug, Default)]
pub struct Files {
    pub settings: Option<Vec<u8>>,
    pub caddy: Option<Vec<u8>>,
    /// With its name.
    pub policy: Option<(String, Vec<u8>)>,
}

/// The model with the places of what it was made from.
#[derive(Debug)]
pub struct Assembled {
    pub model: Model,
    pub servers: Vec<Server>,
    pub settings: Settings,
    /// Name of the policy's file, when there is one.
    pub policy_file: Option<String>,
    pub doubts: Doubts,
}

/// What the files could not be understood about. Checks that would only tell a consequence of that are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Doubts {
    pub coordinator: bool,
    pub acme: bool,
    pub ports: bool,
    pub caddy: bool,
    pub policy: bool,
}

/// Reads the configuration in `dir`: `genkan.toml`, `caddy.json` and the policy, each of them optional.
#[must_use]
pub fn load(dir: &Path) -> Loaded {
    let (assembled, is_sound, problems) = load_partly(dir);
    let log = assembled.model.log;
    Loaded { model: is_sound.then_some(assembled.model), problems, log }
}

/// As [`load`], with the places.
pub fn load_with_places(dir: &Path) -> (Option<Assembled>, Vec<Problem>) {
    let (assembled, is_sound, problems) = load_partly(dir);
    (is_sound.then_some(assembled), problems)
}

/// What could be understood, and whether that is all of it.
fn load_partly(dir: &Path) -> (Assembled, bool, Vec<Problem>) {
    let (files, mut problems) = match read(dir) {
        Ok(read) => read,
        Err(problem) => return (assemble_partly(&Files::default()).0, false, vec![*problem]),
    };
    let (mut assembled, found) = assemble_partly(&files);
    problems.extend(found);
    assembled.doubts = Doubts::from(&problems);
    let is_sound = !problems.iter().any(Problem::is_error);
    problems.extend(check::disagreements(&assembled));
    let acme = &mut assembled.model.acme;
    acme.ca_file = acme.ca_file.as_ref().map(|file| dir.join(file));
    (assembled, is_sound, problems)
}

/// Joins the files to one model, when each of them is sound by itself. Pure.
#[cfg(test)]
pub fn assemble(files: &Files) -> (Option<Assembled>, Vec<Problem>) {
    let (assembled, problems) = assemble_partly(files);
    let is_sound = !problems.iter().any(Problem::is_error);
    (is_sound.then_some(assembled), problems)
}

/// As `assemble`, with what could be understood when something is wrong.
fn assemble_partly(files: &Files) -> (Assembled, Vec<Problem>) {
    let policy_file = files.policy.as_ref().map(|(name, _)| name.clone());
    let (policy, mut problems) = match &files.policy {
        Some((name, bytes)) => policy::read(name, bytes),
        None => (Policy::default(), Vec::new()),
    };
    let is_named = !problems.iter().any(Problem::is_error);
    let (servers, found) = match &files.caddy {
        Some(bytes) => caddy::read(CADDY_FILE, bytes),
        None => (Vec::new(), Vec::new()),
    };
    problems.extend(found);
    let bytes = files.settings.as_deref().unwrap_or_default();
    let (settings, found) = schema::read(SETTINGS_FILE, bytes, is_named.then_some(&policy));
    problems.extend(found);
    let mut servers: Vec<Server> = servers.into_iter().chain(settings.servers.iter().cloned()).collect();
    resolve_names(&mut servers, &policy, &settings.model.base_domain);
    let model = Model { edge: edge_config(&servers), policy, ..settings.model.clone() };
    let doubts = Doubts::from(&problems);
    (Assembled { model, servers, settings, policy_file, doubts }, problems)
}

impl Doubts {
    fn from(problems: &[Problem]) -> Self {
        let errors = |file: &str| -> Vec<&Place> {
            let errors = problems.iter().filter(|problem| problem.is_error());
            errors.map(|problem| &problem.place).filter(|place| &*place.file == file).collect()
        };
        let settings = errors(SETTINGS_FILE);
        let about = |section| settings.iter().any(|place| schema::is_about(place, section));
        Self {
            coordinator: about("coordinator"),
            acme: about("acme"),
            ports: about("ports"),
            caddy: !errors(CADDY_FILE).is_empty(),
            policy: POLICY_FILES.iter().any(|file| !errors(file).is_empty()),
        }
    }
}

/// Puts addresses in the place of hosts' names, which no resolver outside the tailnet knows.
fn resolve_names(servers: &mut [Server], policy: &Policy, base_domain: &str) {
    let routes = servers.iter_mut().flat_map(|server| &mut server.routes);
    for upstream in routes.flat_map(|route| &mut route.upstreams) {
        let host = &mut upstream.value.host;
        let name = host.strip_suffix(base_domain).and_then(|name| name.strip_suffix('.')).unwrap_or(host);
        let prefix = policy.hosts.get(name).filter(|prefix| prefix.prefix_len() == prefix.max_prefix_len());
        if let Some(prefix) = prefix {
            *host = prefix.addr().to_string();
        }
    }
}

/// The error is that there is no such directory.
fn read(dir: &Path) -> Result<(Files, Vec<Problem>), Box<Problem>> {
    let mut problems = Vec::new();
    if !dir.is_dir() {
        let what = format!("{} is not a directory", dir.display());
        let problem = Problem::error("no-directory", what).cure("Name the directory that genkan.toml is in.");
        return Err(Box::new(problem.at(Place::file("."))));
    }
    let mut take = |name: &str| {
        read_file(&dir.join(name)).map_err(|error| {
            let problem = Problem::error("unreadable", format!("{name} cannot be read: {error}"));
            problems.push(problem.at(Place::file(name)));
        })
    };
    let settings = take(SETTINGS_FILE).ok().flatten();
    let caddy = take(CADDY_FILE).ok().flatten();
    let policies = POLICY_FILES.map(|name| (name, take(name).ok().flatten()));
    let mut policies = policies.into_iter().filter_map(|(name, bytes)| Some((name.to_owned(), bytes?)));
    let policy = policies.next();
    if let Some((second, _)) = policies.next() {
        let problem = Problem::error("two-policies", format!("there is {} and {second}", POLICY_FILES[0]));
        problems.push(problem.cure("Keep one of them.").at(Place::file(&second)));
    }
    problems.extend(STRAY_FILES.iter().filter(|(name, _)| dir.join(name).is_file()).map(|(name, read)| {
        let problem = Problem::warning("stray-file", format!("{name} is not read"));
        problem.cure(format!("Its place is {read}.")).at(Place::file(name))
    }));
    Ok((Files { settings, caddy, policy }, problems))
}

/// `None` when there is no such file; never more than one byte beyond what is accepted.
fn read_file(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(document::SIZE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
