//! Files beside those that are read: put there in the belief that they would be, or named by an editor, a browser or a file manager.

use super::load::{CADDY_FILE, POLICY_FILES, SETTINGS_FILE};
use super::problem::{Place, Problem};

/// Names that other programs give such files.
const STRANGERS: [(&str, &str); 8] = [
    ("policy.json", POLICY_FILES[0]),
    ("acl.hujson", POLICY_FILES[1]),
    ("acl.jsonc", POLICY_FILES[1]),
    ("policy.jsonc", POLICY_FILES[1]),
    ("genkan.json", SETTINGS_FILE),
    ("config.toml", SETTINGS_FILE),
    ("config.yaml", SETTINGS_FILE),
    ("caddyfile", CADDY_FILE),
];

/// The files that are read.
const READ: [&str; 4] = [SETTINGS_FILE, CADDY_FILE, POLICY_FILES[0], POLICY_FILES[1]];

/// Endings that editors and mail programs add.
const ENDINGS: [&str; 5] = [".txt", ".text", ".rtf", ".doc", ".json"];

/// How the file `name` is spelt among `names`: as it is, else in another case. FAT, from which a card's files come, does not tell cases apart.
pub fn spelling<'n>(name: &'n str, names: &'n [String]) -> &'n str {
    if names.iter().any(|other| other == name) {
        return name;
    }
    names.iter().find(|other| other.eq_ignore_ascii_case(name)).map_or(name, String::as_str)
}

/// What is said of `names`, all the files of a directory. A file that is meant to be one of those read and stands in for it is an error:
/// what its owner wrote is not in force. Beside the one that is read it is a warning.
pub fn problems(names: &[String]) -> Vec<Problem> {
    let is_there = |wanted: &str| names.iter().any(|name| name.eq_ignore_ascii_case(wanted));
    let policy_is_there = POLICY_FILES.iter().any(|name| is_there(name));
    let mut problems = Vec::new();
    for name in names {
        let Some(meant) = meant(name, names) else { continue };
        let is_covered = is_there(meant) || (POLICY_FILES.contains(&meant) && policy_is_there);
        let what = format!("{name} is not read");
        let problem = if is_covered {
            Problem::warning("stray-file", what)
                .because(format!("{} is read.", covering(meant, names)))
                .cure("Delete one of them.")
        } else {
            Problem::error("stray-file", what)
                .because(format!("The name that is read is {meant}; what this file says is not in force."))
                .cure(format!("Rename it to {meant}{}.", hint(name)))
        };
        problems.push(problem.at(Place::file(name)));
    }
    problems
}

/// Which of the files that are read `name` is meant to be; `None` for those, and for files of no concern.
fn meant(name: &str, names: &[String]) -> Option<&'static str> {
    // Hidden files are made by programs, for themselves.
    if name.starts_with('.') || READ.iter().any(|read| spelling(read, names) == name) {
        return None;
    }
    let lower = name.to_lowercase();
    let stranger = STRANGERS.iter().find(|(stranger, _)| *stranger == lower);
    if let Some((_, meant)) = stranger {
        return Some(meant);
    }
    let bare = without_copy_marks(&lower);
    READ.into_iter().find(|read| {
        bare == *read
            || ENDINGS.iter().any(|ending| bare.strip_suffix(ending) == Some(*read))
            || read.rsplit_once('.').is_some_and(|(stem, _)| bare == format!("{stem}.txt"))
    })
}

/// `genkan (1).toml`, `genkan - copy.toml` and `copy of genkan.toml` are `genkan.toml`.
fn without_copy_marks(name: &str) -> String {
    let name = name.strip_prefix("copy of ").unwrap_or(name);
    let (stem, ending) = name.split_once('.').map_or((name, ""), |(stem, ending)| (stem, ending));
    let stem = stem.trim_end();
    let numbered = stem.strip_suffix(')').and_then(|stem| {
        let (stem, number) = stem.rsplit_once('(')?;
        number.bytes().all(|byte| byte.is_ascii_digit()).then_some(stem)
    });
    let stem = numbered.unwrap_or(stem).trim_end();
    let stem = stem.strip_suffix("copy").map_or(stem, |stem| stem.trim_end_matches([' ', '-', '_']));
    if ending.is_empty() { stem.to_owned() } else { format!("{stem}.{ending}") }
}

fn covering(meant: &'static str, names: &[String]) -> &'static str {
    let is_there = |wanted: &&str| names.iter().any(|name| name.eq_ignore_ascii_case(wanted));
    if is_there(&meant) { meant } else { POLICY_FILES.into_iter().find(is_there).unwrap_or(meant) }
}

/// Windows hides what makes the difference.
fn hint(name: &str) -> &'static str {
    let is_hidden = name.to_lowercase().ends_with(".txt");
    if is_hidden { " (Explorer: View, File name extensions, shows the .txt)" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let said = |problem: &Problem| format!("{:?} {} {}", problem.severity, problem.place, problem.cure);
        problems(&names).iter().map(said).collect()
    }

    #[test]
    fn a_file_that_stands_in_for_one_that_is_read_is_an_error() {
        for (name, meant) in [
            ("genkan.toml.txt", "genkan.toml"),
            ("Genkan.TOML.txt", "genkan.toml"),
            ("genkan.txt", "genkan.toml"),
            ("genkan (1).toml", "genkan.toml"),
            ("genkan(12).toml", "genkan.toml"),
            ("genkan - Copy.toml", "genkan.toml"),
            ("genkan copy.toml", "genkan.toml"),
            ("Copy of genkan.toml", "genkan.toml"),
            ("acl.json.txt", "acl.json"),
            ("acl.hujson", "policy.hujson"),
            ("policy.hujson.txt", "policy.hujson"),
            ("caddy.json.json", "caddy.json"),
            ("caddy (2).json.txt", "caddy.json"),
            ("Caddyfile", "caddy.json"),
            ("genkan.json", "genkan.toml"),
        ] {
            let found = found(&[name]);
            assert_eq!(found.len(), 1, "{name}");
            assert!(found[0].starts_with(&format!("Error {name} Rename it to {meant}")), "{found:?}");
        }
    }

    #[test]
    fn beside_the_right_one_it_is_a_warning_and_files_of_no_concern_are_left_alone() {
        assert_eq!(
            found(&["genkan (1).toml", "genkan.toml"]),
            ["Warning genkan (1).toml Delete one of them."]
        );
        assert_eq!(found(&["acl.json", "policy.json"]), ["Warning policy.json Delete one of them."]);
        assert_eq!(found(&["acl.json.txt", "policy.hujson"]).len(), 1);
        for name in [
            "Genkan.toml",
            "JOIN.txt",
            ".identity",
            "._genkan.toml",
            ".genkan.toml.swp",
            "genkan.toml.bak",
            "my-ca.pem",
            "README.txt",
            "acl",
            "(1)",
            "",
            "copy",
            "notes (1).txt",
        ] {
            assert!(found(&[name]).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_spelling_in_another_case_is_taken_when_there_is_no_other() {
        let names = ["Genkan.toml".to_owned(), "ACL.JSON".to_owned()];
        assert_eq!(spelling("genkan.toml", &names), "Genkan.toml");
        assert_eq!(spelling("caddy.json", &names), "caddy.json");
        let names = ["Genkan.toml".to_owned(), "genkan.toml".to_owned()];
        assert_eq!(spelling("genkan.toml", &names), "genkan.toml");
        assert_eq!(problems(&names).len(), 1, "the other one is named");
    }
}
