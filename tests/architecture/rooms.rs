//! Direction: `base <- wire <- cores <- config <- shells <- app <- main`; no room imports another room.

use crate::source::Source;

const ROOMS: [&str; 4] = ["coordinator", "tunnel", "edge", "appliance"];

pub fn forbidden_imports(source: &Source) -> Vec<String> {
    let from = module(&source.path);
    let targets = source.paths.iter().filter_map(|path| resolve(&from, path));
    let forbidden = targets.filter(|target| !is_allowed(&from, target));
    let mut found: Vec<String> =
        forbidden.map(|target| format!("may not import crate::{}", target.join("::"))).collect();
    found.dedup();
    found
}

/// `edge/core/route.rs` is module `edge::core::route`.
fn module(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(String::from).collect()
}

/// A named path as a module path from the crate's root; `None` when it is not one of this crate's.
fn resolve(from: &[String], path: &[String]) -> Option<Vec<String>> {
    match path.first()?.as_str() {
        "crate" | "genkan" => Some(path[1..].to_vec()),
        "super" => {
            let ups = path.iter().take_while(|part| *part == "super").count();
            let base = &from[..from.len().saturating_sub(ups)];
            Some(base.iter().chain(&path[ups..]).cloned().collect())
        }
        _ => None,
    }
}

fn is_allowed(from: &[String], target: &[String]) -> bool {
    let Some(room) = target.first().map(String::as_str) else { return true };
    let own = from[0].as_str();
    let is_core =
        |path: &[String]| ROOMS.contains(&path[0].as_str()) && path.get(1).is_some_and(|part| part == "core");
    match own {
        "main" | "lib" | "app" => true,
        "base" => room == "base",
        "wire" | "sys" => room == own || room == "base",
        "config" => ["base", "wire", "config"].contains(&room) || is_core(target),
        "cli" | "web" | "log" | "health" => ["base", "wire", "config", "health", own].contains(&room),
        _ if is_core(from) => ["base", "wire"].contains(&room) || (room == own && is_core(target)),
        _ => ["base", "wire", "config", "sys", "health"].contains(&room) || room == own,
    }
}
