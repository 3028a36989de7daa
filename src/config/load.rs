//! From a directory to the model.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::base::secret::Secret;
use crate::coordinator::core::policy::Policy;
use crate::edge::core::external_account::ExternalAccount;

use super::exposure::{Server, edge_config};
use super::model::Model;
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
    /// Everything that is wrong, and every warning, in the order of the files.
    pub problems: Vec<Problem>,
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
}

/// Reads the configuration in `dir`: `genkan.toml`, `caddy.json` and the policy, each of them optional.
#[must_use]
pub fn load(dir: &Path) -> Loaded {
    load_sealed(dir, &dir.join(SECRETS_FOLDER))
}

/// As [`load`], with the secrets that were moved away in the directory `secrets`, each in a file as [`SecretKey::file`] names it.
#[must_use]
pub fn load_sealed(dir: &Path, secrets: &Path) -> Loaded {
    let (assembled, problems) = load_with_places(dir, secrets);
    Loaded { model: assembled.map(|assembled| assembled.model), problems }
}

/// As [`load_sealed`], with the places.
pub fn load_with_places(dir: &Path, secrets: &Path) -> (Option<Assembled>, Vec<Problem>) {
    let (mut files, mut problems) = read(dir);
    files.secrets =
        SECRETS.into_iter().filter_map(|key| Some((key.file(), read_secret(secrets, key)?))).collect();
    let is_unreadable = problems.iter().any(Problem::is_error);
    let (assembled, found) = assemble(&files);
    problems.extend(found);
    let mut assembled = assembled.filter(|_| !is_unreadable);
    if let Some(assembled) = &mut assembled {
        let acme = &mut assembled.model.acme;
        acme.ca_file = acme.ca_file.as_ref().map(|file| dir.join(file));
        problems.extend(check::disagreements(assembled));
    }
    (assembled, problems)
}

/// Joins the files to one model. Pure.
pub fn assemble(files: &Files) -> (Option<Assembled>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut keep = |result: Result<_, Vec<Problem>>| result.map_err(|found| problems.extend(found)).ok();
    let policy_file = files.policy.as_ref().map(|(name, _)| name.clone());
    let policy = match &files.policy {
        Some((name, bytes)) => keep(policy::parse_bytes(name, bytes)),
        None => Some((Policy::default(), Vec::new())),
    };
    let caddy = match &files.caddy {
        Some(bytes) => caddy::parse(CADDY_FILE, bytes).map_err(|found| problems.extend(found)).ok(),
        None => Some((Vec::new(), Vec::new())),
    };
    let bytes = files.settings.as_deref().unwrap_or_default();
    let named = policy.as_ref().map(|(policy, _)| policy);
    let settings = schema::parse(SETTINGS_FILE, bytes, named).map_err(|found| problems.extend(found)).ok();
    let (Some((policy, policy_warnings)), Some((servers, caddy_warnings)), Some(mut settings)) =
        (policy, caddy, settings)
    else {
        return (None, problems);
    };
    problems.extend(unseal(&mut settings, &files.secrets));
    problems.extend(policy_warnings.into_iter().chain(caddy_warnings));
    let mut servers: Vec<Server> = servers.into_iter().chain(settings.servers.iter().cloned()).collect();
    resolve_names(&mut servers, &policy, &settings.model.base_domain);
    let model = Model { edge: edge_config(&servers), policy, ..settings.model.clone() };
    (Some(Assembled { model, servers, settings, policy_file }), problems)
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

fn read(dir: &Path) -> (Files, Vec<Problem>) {
    let mut problems = Vec::new();
    if !dir.is_dir() {
        let what = format!("{} is not a directory", dir.display());
        let problem = Problem::error("no-directory", what).cure("Name the directory that genkan.toml is in.");
        return (Files::default(), vec![problem.at(Place::file("."))]);
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
    (Files { settings, caddy, policy, ..Files::default() }, problems)
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
