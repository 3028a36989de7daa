//! What editors, phones and tired owners do to good files: each time the same model comes out, or a problem with its place and a cure.

use rand_core::RngCore;

use crate::base::rng::SeededRng;

use super::load::{Files, assemble};
use super::model::Model;
use super::problem::{Problem, Severity};
use super::schema::EXAMPLE;
use super::seed;

const MUTATIONS: u8 = 200;

/// One of the three files, good as it is.
struct Good {
    name: &'static str,
    text: String,
}

/// Keys of the two JSON languages.
const WORDS: [&str; 14] = [
    "apps",
    "http",
    "servers",
    "listen",
    "routes",
    "match",
    "handle",
    "handler",
    "upstreams",
    "dial",
    "acls",
    "action",
    "src",
    "dst",
];

/// Does one thing to a text, somewhere.
type Mutator = fn(&str, &mut SeededRng) -> Vec<u8>;

/// What changes nothing that is meant, and what must be named.
const MUTATORS: [(&str, Mutator); 20] = [
    ("line ends of Windows", |text, _| text.replace('\n', "\r\n").into_bytes()),
    ("line ends of old Macs", |text, _| text.replace('\n', "\r").into_bytes()),
    ("a byte order mark", |text, _| format!("\u{feff}{text}").into_bytes()),
    ("tabs for blanks at the beginning", |text, _| indented(text, "\t").into_bytes()),
    ("blanks at line ends", |text, _| text.replace('\n', "  \n").into_bytes()),
    ("UTF-16", |text, _| text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
    ("UTF-16 with its mark", |text, _| {
        [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect()
    }),
    ("a curly opening mark", |text, rng| replaced(text, '"', "\u{201c}", rng)),
    ("a curly closing mark", |text, rng| replaced(text, '"', "\u{201d}", rng)),
    ("all marks curly", |text, _| text.replace('"', "\u{201d}").into_bytes()),
    ("a mark of Windows-1252", |text, rng| bytes_at(text, '"', &[0x93], rng)),
    ("a lost mark", |text, rng| replaced(text, '"', "", rng)),
    ("a non-breaking blank", |text, rng| replaced(text, '=', "=\u{a0}", rng)),
    ("a lost bracket", |text, rng| replaced(text, ']', "", rng)),
    ("an extra bracket", |text, rng| replaced(text, '[', "[[[", rng)),
    ("a lost equals sign or colon", |text, rng| {
        replaced(text, if text.contains('=') { '=' } else { ':' }, "", rng)
    }),
    ("a misspelt key", misspelt),
    ("a second key", doubled),
    ("a stray word on a line of its own", |text, rng| inserted(text, "see below\n", rng)),
    ("a control character", |text, rng| replaced(text, '"', "\u{7}\"", rng)),
];

#[test]
fn every_mutation_gives_the_same_model_or_a_place_and_a_cure() {
    let mut told = 0;
    for good in good_files() {
        let model = load(good.name, good.text.as_bytes()).0.expect("good as it is");
        for number in 0..MUTATIONS {
            let (what, mutator) = MUTATORS[usize::from(number) % MUTATORS.len()];
            let bytes = mutator(&good.text, &mut SeededRng::new([number; 32]));
            told += usize::from(judge(&good, &model, &bytes, &format!("{what}, seed {number}")));
        }
    }
    assert!(told > 100, "most mutations are mistakes; only {told} were told");
}

/// Whether the mutation was told.
fn judge(good: &Good, model: &Model, bytes: &[u8], what: &str) -> bool {
    let (mutated, problems) = load(good.name, bytes);
    let shown = || format!("{what} in {}:\n{}", good.name, String::from_utf8_lossy(bytes));
    for problem in &problems {
        assert!(!problem.cure.is_empty(), "no cure: {problem}\n{}", shown());
        assert!(
            problem.place.line > 0 || problem.severity == Severity::Warning,
            "no line: {problem}\n{}",
            shown()
        );
        assert_eq!(&*problem.place.file, good.name, "{problem}");
    }
    let is_same = mutated.as_ref() == Some(model);
    assert!(is_same || problems.iter().any(Problem::is_error), "nothing told of {}", shown());
    !is_same
}

fn good_files() -> Vec<Good> {
    let mut files = vec![
        Good { name: "genkan.toml", text: EXAMPLE.to_owned() },
        Good { name: "genkan.toml", text: in_force(EXAMPLE) },
    ];
    if let Some(folder) = seed::directory() {
        for name in ["caddy.json", "acl.json"] {
            let text = std::fs::read_to_string(folder.join(name)).expect("the seed can be read");
            files.push(Good { name, text });
        }
    }
    files
}

/// The example with every line in force.
pub fn in_force(example: &str) -> String {
    let line = |line: &str| {
        let bare = line.strip_prefix("# ")?;
        let is_key = bare
            .split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        (is_key || bare.starts_with('[')).then(|| bare.to_owned() + "\n")
    };
    example.lines().filter_map(line).collect()
}

/// As the directory's loading does it, for one file alone.
fn load(name: &str, bytes: &[u8]) -> (Option<Model>, Vec<Problem>) {
    let mut files = Files::default();
    match name {
        "genkan.toml" => {
            files.settings = Some(bytes.to_vec());
            files.policy = Some(("acl.json".into(), br#"{"hosts": {"machine-a": "100.64.0.2"}}"#.to_vec()));
        }
        "caddy.json" => files.caddy = Some(bytes.to_vec()),
        _ => files.policy = Some((name.to_owned(), bytes.to_vec())),
    }
    let (assembled, problems) = assemble(&files);
    (assembled.map(|assembled| assembled.model), problems)
}

/// Every place of `sign` outside comment lines.
fn places(text: &str, sign: char) -> Vec<usize> {
    let mut start = 0;
    let mut found = Vec::new();
    for line in text.split_inclusive('\n') {
        if !line.trim_start().starts_with('#') {
            found.extend(line.match_indices(sign).map(|(at, _)| start + at));
        }
        start += line.len();
    }
    found
}

fn pick<T: Copy>(all: &[T], rng: &mut SeededRng) -> Option<T> {
    let index = (rng.next_u32() as usize).checked_rem(all.len())?;
    all.get(index).copied()
}

fn replaced(text: &str, sign: char, with: &str, rng: &mut SeededRng) -> Vec<u8> {
    bytes_at(text, sign, with.as_bytes(), rng)
}

fn bytes_at(text: &str, sign: char, with: &[u8], rng: &mut SeededRng) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    if let Some(at) = pick(&places(text, sign), rng) {
        bytes.splice(at..at + sign.len_utf8(), with.iter().copied());
    }
    bytes
}

fn indented(text: &str, with: &str) -> String {
    text.lines().flat_map(|line| [with, line.trim_start(), "\n"]).collect()
}

fn inserted(text: &str, line: &str, rng: &mut SeededRng) -> Vec<u8> {
    let starts: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    let at = pick(&starts, rng).unwrap_or(0);
    format!("{}{line}{}", &text[..at], &text[at..]).into_bytes()
}

/// Where keys stand, with their length: before ` = `, or in quotes before a colon.
fn keys(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for at in places(text, if text.contains(" = ") || !text.contains('{') { '=' } else { ':' }) {
        let before = text[..at].trim_end();
        let bare = before.strip_suffix('"').unwrap_or(before);
        let start = bare
            .rfind(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
            .map_or(0, |at| at + 1);
        if bare.len() > start + 2 && (bare.len() < before.len()) == text[..start].ends_with('"') {
            found.push((start, bare.len() - start));
        }
    }
    found
}

/// A letter too many in a key of the language; names that the owner chose may be spelt anyhow.
fn misspelt(text: &str, rng: &mut SeededRng) -> Vec<u8> {
    let is_chosen = |key: &str| text.contains('{') && !WORDS.contains(&key);
    let keys: Vec<_> =
        keys(text).into_iter().filter(|(at, length)| !is_chosen(&text[*at..at + length])).collect();
    let Some((at, length)) = pick(&keys, rng) else { return text.as_bytes().to_vec() };
    format!("{}q{}", &text[..at + length / 2], &text[at + length / 2..]).into_bytes()
}

/// A key of TOML stands a second time, at the end of its table; one of JSON right before itself.
fn doubled(text: &str, rng: &mut SeededRng) -> Vec<u8> {
    let Some((at, length)) = pick(&keys(text), rng) else { return text.as_bytes().to_vec() };
    let key = &text[at..at + length];
    let (before, after) = if text[..at].ends_with('"') {
        (format!("{}{key}\": null, \"", &text[..at]), &text[at..])
    } else {
        (format!("{}{key} = 1\n", &text[..at]), &text[at..])
    };
    (before + after).into_bytes()
}
