//! The program as a process: exit codes, and what it prints where.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const CADDY: &str = r#"{"apps": {"layer4": {"servers": {"ssh": {"listen": [":2222"], "routes": [{"handle": [
    {"handler": "proxy", "upstreams": [{"dial": ["100.64.0.2:22"]}]}]}]}}}}}"#;
const ALLOWS: &str =
    r#"{"hosts": {"a": "100.64.0.2"}, "acls": [{"action": "accept", "src": ["*"], "dst": ["a:22"]}]}"#;
const FORBIDS: &str = r#"{"hosts": {"a": "100.64.0.2"}, "acls": []}"#;

fn genkan(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_genkan"));
    command.args(arguments).env_remove("GENKAN_LOG").output().expect("it is built")
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

fn check(folder: &Path, more: &[&str]) -> Output {
    let folder = folder.to_str().expect("text");
    genkan(&[&["check", "--config", folder], more].concat())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn check_tells_by_its_exit_code() {
    let fine = check(folder(&[("caddy.json", CADDY), ("acl.json", ALLOWS)]).path(), &[]);
    assert_eq!(fine.status.code(), Some(0), "{fine:?}");
    assert!(text(&fine.stdout).contains("fine: 0 errors, 1 warning"), "{}", text(&fine.stdout));
    let forbidden = check(folder(&[("caddy.json", CADDY), ("acl.json", FORBIDS)]).path(), &[]);
    assert_eq!(forbidden.status.code(), Some(1));
    assert!(text(&forbidden.stdout).contains("[upstream-forbidden]"), "{}", text(&forbidden.stdout));
    let nowhere = check(Path::new("/nonexistent/genkan"), &[]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(text(&nowhere.stderr).contains("--config") && nowhere.stdout.is_empty());
    let flag = genkan(&["check", "--cofnig", "/"]);
    assert_eq!(flag.status.code(), Some(2));
    assert!(text(&flag.stderr).contains("--config"), "{}", text(&flag.stderr));
}

#[test]
fn an_answer_that_is_lost_is_a_failure() {
    let folder = folder(&[("caddy.json", CADDY), ("acl.json", ALLOWS)]);
    let run = |stdout: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_genkan"));
        command.args(["check", "--json", "--config"]).arg(folder.path()).env_remove("GENKAN_LOG");
        command.stdout(stdout).stderr(Stdio::piped()).spawn().expect("it is built").wait_with_output()
    };
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let full = run(full.into()).expect("it ended");
    assert_eq!(full.status.code(), Some(1));
    assert!(text(&full.stderr).contains("standard output"), "{}", text(&full.stderr));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let gone = run(writer.into()).expect("it ended");
    assert_eq!((gone.status.code(), text(&gone.stderr)), (Some(0), ""), "who read enough may go");
}

#[test]
fn check_speaks_json_to_programs() {
    for (policy, code) in [(ALLOWS, 0), (FORBIDS, 1)] {
        let output = check(folder(&[("caddy.json", CADDY), ("acl.json", policy)]).path(), &["--json"]);
        assert_eq!(output.status.code(), Some(code));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
        assert!(report["problems"].is_array() && report["forwards"].is_array() && report["rules"].is_array());
    }
}

#[test]
fn help_and_completion_are_printed() {
    let help = genkan(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("serve") && text(&help.stdout).contains("check"));
    let completion = genkan(&["completion", "bash"]);
    assert_eq!(completion.status.code(), Some(0));
    assert!(text(&completion.stdout).contains("complete -F _genkan"));
}

/// Runs `serve`, which is to end by itself; every line it said.
#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let folder = folder(&[]);
    let check = ["check", "--json", "--config", folder.path().to_str().expect("a plain name")];
    for arguments in [&check[..], &["completion", "bash"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_genkan"));
        let done = command.args(arguments).stdout(writer).output().expect("it runs");
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
        assert!(!text(&done.stderr).contains("panicked"));
    }
}

fn logged(files: &[(&str, &str)], state: &Path) -> Vec<Value> {
    let folder = folder(files);
    let config = folder.path().to_str().expect("text");
    let output = genkan(&["--state", state.to_str().expect("text"), "serve", "--config", config]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    let lines = text(&output.stderr).lines();
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn a_log_in_json_has_no_other_lines() {
    let state = tempfile::tempdir().expect("a directory");
    let settings = "[log]\nformat = 'json'\n[coordinator]\nnmae = 'hs.example.com'\n";
    let lines = logged(&[("genkan.toml", settings)], state.path());
    assert_eq!((&lines[0]["code"], &lines[0]["place"]), (&"unknown-key".into(), &"genkan.toml:4:1".into()));
    assert_eq!(lines[0]["level"], "ERROR");
    let last = lines.last().expect("a line");
    assert!(last["message"].as_str().is_some_and(|message| message.contains("genkan check")), "{last}");
    // A file where the folder of the state should be.
    let file = state.path().join("file");
    std::fs::write(&file, "").expect("written");
    let lines = logged(&[("genkan.toml", "[log]\nformat = 'json'\n")], &file);
    let last = lines.last().expect("a line");
    assert!(
        last["level"] == "ERROR" && last["message"].as_str().is_some_and(|m| m.contains("--state")),
        "{last}"
    );
}

#[test]
fn a_configuration_that_cannot_be_read_is_logged_as_the_defaults_say() {
    let broken = folder(&[("genkan.toml", "[log\n")]);
    let output = genkan(&["serve", "--config", broken.path().to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("ERROR") && said.contains("genkan.toml:1:") && said.contains("genkan check"),
        "{said}"
    );
}
