//! The house rules that a compiler does not check: who may import whom, where `unsafe` may stand, that cores are pure, and
//! that rooms stay small. Each rule is also run against planted violations, so that a rule that cannot fail is noticed.

#[path = "architecture/purity.rs"]
mod purity;
#[path = "architecture/rooms.rs"]
mod rooms;
#[path = "architecture/size.rs"]
mod size;
#[path = "architecture/source.rs"]
mod source;

use source::Source;

/// Every rule over one file; the findings as `path: what`.
fn findings(source: &Source) -> Vec<String> {
    let mut all = rooms::forbidden_imports(source);
    all.extend(purity::impurities(source));
    all.extend(purity::stray_unsafe(source));
    all.extend(size::oversized(source));
    all.into_iter().map(|what| format!("{}: {what}", source.path)).collect()
}

#[test]
fn the_tree_keeps_the_rules() {
    let sources = source::tree();
    assert!(sources.len() > 20, "the walk found only {} files", sources.len());
    let all: Vec<String> = sources.iter().flat_map(findings).collect();
    assert!(all.is_empty(), "{} findings:\n{}", all.len(), all.join("\n"));
}

/// A planted file must be found out, and for the reason expected.
fn assert_caught(path: &str, text: &str, expected: &str) {
    let all = findings(&Source::parse(path, text));
    assert!(all.iter().any(|finding| finding.contains(expected)), "{path}: {text:?} gave {all:?}");
}

#[test]
fn a_planted_import_is_caught() {
    assert_caught("base/x.rs", "use crate::wire::key;", "may not import crate::wire::key");
    assert_caught(
        "wire/x.rs",
        "use crate::{base::rng, edge::core::route};",
        "may not import crate::edge::core::route",
    );
    assert_caught(
        "edge/core/x.rs",
        "use crate::coordinator::core::policy::Policy;",
        "may not import crate::coordinator",
    );
    assert_caught("edge/core/x.rs", "fn f() { crate::config::load() }", "may not import crate::config::load");
    assert_caught("edge/core/x.rs", "use super::super::tls;", "may not import crate::edge::tls");
    assert_caught("edge/x.rs", "use crate::tunnel::driver;", "may not import crate::tunnel::driver");
    assert_caught(
        "edge/x.rs",
        "macro_rules! m { () => { crate::tunnel::driver } }",
        "may not import crate::tunnel",
    );
    assert_caught("config/x.rs", "use crate::edge::tls;", "may not import crate::edge::tls");
}

#[test]
fn planted_impurity_is_caught() {
    for (text, expected) in [
        ("fn f() { let _ = std::time::Instant::now(); }", "Instant::now"),
        ("use std::time::SystemTime; fn f() { SystemTime::now(); }", "SystemTime::now"),
        ("use std::net::UdpSocket;", "UdpSocket"),
        ("use std::{fs::File, io};", "std::fs"),
        ("fn f() { std::env::var(\"X\"); }", "std::env"),
        ("use std::thread;", "std::thread"),
        ("use tokio::sync::mpsc;", "tokio"),
        ("async fn f() {}", "async"),
        ("fn f() { let _ = async move { 1 }; }", "async"),
        ("fn f() { getrandom::fill(&mut []); }", "getrandom"),
        ("fn f(since: Instant) -> Duration { since.elapsed() }", "elapsed"),
        ("use std::time::Instant as C; fn f() { C::now(); }", "another name to std::time::Instant"),
        ("use std::time::{SystemTime as C};", "another name to std::time::SystemTime"),
        ("type C = std::time::Instant;", "another name to std::time::Instant"),
        ("use nix::sys::socket;", "nix"),
        ("fn f() { libc::time(std::ptr::null_mut()); }", "libc"),
        ("use socket2::Socket;", "socket2"),
        ("use std::os::unix::net::UnixDatagram;", "UnixDatagram"),
        ("use std::os::unix::net::UnixListener;", "UnixListener"),
        ("use ring::{aead, rand};", "ring::rand"),
        ("fn f() { ring::rand::SystemRandom::new(); }", "ring::rand"),
    ] {
        for path in ["base/x.rs", "wire/x.rs", "tunnel/core/x.rs"] {
            assert_caught(path, text, expected);
        }
    }
    assert_caught(
        "edge/x.rs",
        "fn f() { unsafe { std::hint::unreachable_unchecked() } }",
        "unsafe outside src/sys",
    );
}

#[test]
fn planted_size_is_caught() {
    let long_file = "//! x\n".repeat(501);
    assert_caught("edge/x.rs", &long_file, "501 lines");
    let long_function = format!("fn f() {{\n{}}}\n", "    g();\n".repeat(70));
    assert_caught("edge/x.rs", &long_function, "fn f has 72 lines");
}

#[test]
fn what_the_rules_allow_passes() {
    for (path, text) in [
        (
            "edge/core/x.rs",
            "use crate::{base::rng, wire::key, edge::core::route}; use super::limits; use std::time::Instant;",
        ),
        ("edge/core/x.rs", "#[cfg(test)] mod tests { fn f() { std::time::Instant::now(); } }"),
        (
            "edge/x.rs",
            "use crate::{config::model::Model, sys::uring}; use super::core::route; async fn f() {}",
        ),
        ("sys/x.rs", "fn f() { unsafe { g() } }"),
        ("app.rs", "use crate::{coordinator::ledger, tunnel::driver, edge::tls};"),
        (
            "base/x.rs",
            "/// Not `Instant::now`, which reads a clock.\nconst TEXT: &str = \"tokio std::fs async\";",
        ),
    ] {
        assert_eq!(findings(&Source::parse(path, text)), Vec::<String>::new(), "{path}: {text}");
    }
}
