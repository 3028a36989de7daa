//! From a directory to the model.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::base::secret::Secret;
use crate::coordinator::core::policy::Policy;
use crate::edge::core::external_account::ExternalAccount;
use crate::edge::core::route::EdgeConfig;

use super::exposure::{Server, edge_config};
use super::model::{Log, Model};
use super::problem::{Place, Problem};
use super::schema::Settings;
use super::seal::{EAB_HMAC_KEY, SECRETS, SECRETS_FOLDER, SecretKey};
use super::{caddy, check, document, neighbours, policy, schema};

/// Entries of a directory that are looked at; a folder of configuration has a handful.
const NAMES_MAX: usize = 1000;

pub const SETTINGS_FILE: &str = "genkan.toml";
pub const CADDY_FILE: &str = "caddy.json";
/// Either of them, not both.
pub const POLICY_FILES: [&str; 2] = ["acl.json", "policy.hujson"];
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
    /// What was moved away out of the settings, by the name of its key.
    pub secrets: BTreeMap<String, Secret<String>>,
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
    load_sealed(dir, &dir.join(SECRETS_FOLDER))
}

/// As [`load`], with the secrets that were moved away in the directory `secrets`, each in a file as [`SecretKey::file`] names it.
#[must_use]
pub fn load_sealed(dir: &Path, secrets: &Path) -> Loaded {
    let (assembled, is_sound, problems) = load_partly(dir, secrets);
    let log = assembled.model.log;
    Loaded { model: is_sound.then_some(assembled.model), problems, log }
}

/// As [`load_sealed`], with the places.
pub fn load_with_places(dir: &Path, secrets: &Path) -> (Option<Assembled>, Vec<Problem>) {
    let (assembled, is_sound, problems) = load_partly(dir, secrets);
    (is_sound.then_some(assembled), problems)
}

/// What could be understood, and whether that is all of it.
fn load_partly(dir: &Path, secrets: &Path) -> (Assembled, bool, Vec<Problem>) {
    let (mut files, mut problems) = match read(dir) {
        Ok(read) => read,
        Err(problem) => return (assemble_partly(&Files::default()).0, false, vec![*problem]),
    };
    files.secrets =
        SECRETS.into_iter().filter_map(|key| Some((key.file(), read_secret(secrets, key)?))).collect();
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
    let (mut settings, found) = schema::read(SETTINGS_FILE, bytes, is_named.then_some(&policy));
    problems.extend(found);
    problems.extend(unseal(&mut settings, &files.secrets));
    let mut servers: Vec<Server> = servers.into_iter().chain(settings.servers.iter().cloned()).collect();
    resolve_names(&mut servers, &policy, &settings.model.base_domain);
    let edge =
        EdgeConfig { layer4_connections: settings.model.edge.layer4_connections, ..edge_config(&servers) };
    let model = Model { edge, policy, ..settings.model.clone() };
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
    let listing = names(dir);
    let mut take = |name: &str| {
        read_file(&dir.join(neighbours::spelling(name, &listing))).map_err(|error| {
            let problem = Problem::error("unreadable", format!("{name} cannot be read: {error}"));
            let cure = "Put a file there that this user may read.";
            problems.push(problem.cure(cure).at(Place::file(name)));
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
    problems.extend(neighbours::problems(&listing));
    Ok((Files { settings, caddy, policy, ..Files::default() }, problems))
}

/// Puts the key in the place of its marker.
fn unseal(settings: &mut Settings, secrets: &BTreeMap<String, Secret<String>>) -> Option<Problem> {
    let sealed = settings.sealed_account.as_ref()?;
    let Some(hmac_key) = secrets.get(&EAB_HMAC_KEY.file()) else {
        let problem = Problem::warning("secret-missing", "the key behind \"sealed\" is not here")
            .because("A box moves secrets out of this file to its data partition; this is another machine, or the data was lost.")
            .cure("On the box: write the key again in the place of \"sealed\". Elsewhere: nothing.");
        return Some(problem.at(sealed.place.clone()));
    };
    match ExternalAccount::new(&sealed.key_id, hmac_key.expose()) {
        Ok(account) => settings.model.acme.external_account = Some(account),
        Err(flaw) => return Some(schema::bad_key(flaw).at(sealed.place.clone())),
    }
    None
}

/// The names in a directory, in order; of one that cannot be listed none.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.path().is_file());
    let mut names: Vec<String> =
        files.filter_map(|entry| entry.file_name().into_string().ok()).take(NAMES_MAX).collect();
    names.sort();
    names
}

/// A secret that is no text, or not there, is none.
fn read_secret(dir: &Path, key: SecretKey) -> Option<Secret<String>> {
    let bytes = Secret::new(read_file(&dir.join(key.file())).ok()??);
    Some(Secret::new(std::str::from_utf8(bytes.expose()).ok()?.trim_end().to_owned()))
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
