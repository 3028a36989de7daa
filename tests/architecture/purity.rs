//! Pure rooms hold no socket, file, environment, thread, async or clock; `unsafe` stands in one room.

use crate::source::Source;

/// Path parts that make a room impure, wherever they stand in a path.
const IMPURE: [&[&str]; 23] = [
    &["Instant", "now"],
    &["SystemTime", "now"],
    &["Instant", "elapsed"],
    &["SystemTime", "elapsed"],
    &["OffsetDateTime", "now_utc"],
    &["std", "fs"],
    &["std", "env"],
    &["std", "thread"],
    &["std", "process"],
    &["TcpStream"],
    &["TcpListener"],
    &["UdpSocket"],
    &["UnixStream"],
    &["UnixListener"],
    &["UnixDatagram"],
    &["nix"],
    &["libc"],
    &["socket2"],
    &["rtnetlink"],
    &["tokio"],
    &["getrandom"],
    &["OsRng"],
    &["ring", "rand"],
];

/// Under another name their `now` would not be found.
const CLOCKS: [&str; 3] = ["Instant", "SystemTime", "OffsetDateTime"];
/// Reads the clock without naming it.
const CLOCK_METHOD: &str = "elapsed";

/// boringtun reads clocks and randomness itself; this file owns that impurity and says so.
const CLOCK_OWNER: &str = "tunnel/core/wireguard.rs";

pub fn impurities(source: &Source) -> Vec<String> {
    if !is_pure_room(&source.path) || source.path == CLOCK_OWNER {
        return Vec::new();
    }
    let named = source.paths.iter().filter_map(|path| IMPURE.iter().find(|bad| contains(path, bad)));
    let mut found: Vec<String> = named.map(|bad| format!("pure room names {}", bad.join("::"))).collect();
    if source.words.iter().any(|word| word == "async" || word == "await") {
        found.push("pure room has async".into());
    }
    let is_clock = |path: &&Vec<String>| path.last().is_some_and(|last| CLOCKS.contains(&last.as_str()));
    let aliases = source.renamed.iter().filter(is_clock);
    found.extend(aliases.map(|path| format!("pure room gives another name to {}", path.join("::"))));
    if source.words.iter().any(|word| word == CLOCK_METHOD) {
        found.push(format!("pure room names {CLOCK_METHOD}"));
    }
    found.dedup();
    found
}

pub fn stray_unsafe(source: &Source) -> Vec<String> {
    let stray = !source.path.starts_with("sys/") && source.words.iter().any(|word| word == "unsafe");
    stray.then(|| "unsafe outside src/sys".to_string()).into_iter().collect()
}

fn is_pure_room(path: &str) -> bool {
    path.starts_with("base/") || path.starts_with("wire/") || path.split('/').nth(1) == Some("core")
}

fn contains(path: &[String], parts: &[&str]) -> bool {
    path.windows(parts.len()).any(|window| window.iter().zip(parts).all(|(have, want)| have == want))
}
