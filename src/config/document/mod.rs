//! JSON, JSON with comments, and TOML as one tree that knows where everything stands.
//!
//! Bytes -> [`Document::parse`] -> tree of [`Node`]s with byte offsets -> `config::decode` reads it strictly. Line and
//! column are worked out only for what is reported.

mod json;
mod toml;
mod typography;

use std::borrow::Cow;

use super::problem::{Place, Problem};

/// A household's configuration is some kilobytes; a tailnet of thousands of nodes would have a policy of this order.
pub const SIZE_MAX: usize = 1 << 20;
/// The deepest thing that has a meaning, a Caddy handler in nested subroutes, stands at some 20.
pub const DEPTH_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    Json,
    /// JSON with comments and trailing commas (HuJSON).
    CommentedJson,
    Toml,
}

/// A parsed file.
#[derive(Debug)]
pub struct Document {
    pub name: String,
    pub syntax: Syntax,
    /// Without the byte order mark.
    text: String,
    pub root: Node,
}

/// A value and the offset of its first byte.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub at: usize,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Boolean(bool),
    /// As written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Member>),
    /// A TOML date or time; nothing takes one.
    Date,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub key: String,
    pub key_at: usize,
    pub node: Node,
}

impl Document {
    /// Reads `bytes` of the file `name`. Errors: everything that is wrong with the syntax, at most a few.
    pub fn parse(name: &str, syntax: Syntax, bytes: &[u8]) -> Result<Self, Vec<Problem>> {
        let text = line_ends(decode_text(name, bytes).map_err(|problem| vec![*problem])?);
        let parsed = match syntax {
            Syntax::Json | Syntax::CommentedJson => json::parse(&text, syntax == Syntax::CommentedJson),
            Syntax::Toml => toml::parse(&text),
        };
        let flaws = match parsed {
            Ok(root) => return Ok(Self { name: name.to_owned(), syntax, text: text.into_owned(), root }),
            Err(flaws) => typography::instead_of(flaws, &text, syntax),
        };
        let problem = |flaw: Flaw| syntax.with_cure(flaw.problem).at(locate(name, &text, flaw.at));
        Err(flaws.into_iter().map(problem).collect())
    }

    /// Where the byte at `offset` stands, with the path of what starts there.
    #[must_use]
    pub fn place(&self, offset: usize) -> Place {
        let mut path = Vec::new();
        find(&self.root, offset, &mut path);
        Place { path: path.concat().trim_start_matches('.').into(), ..locate(&self.name, &self.text, offset) }
    }

    /// Go's decoder, which both JSON dialects come from, takes keys in any case; TOML does not.
    #[must_use]
    pub fn takes_any_case(&self) -> bool {
        self.syntax != Syntax::Toml
    }
}

impl Syntax {
    /// A flaw of the syntax without a cure of its own gets the rules in short.
    fn with_cure(self, problem: Problem) -> Problem {
        if !problem.cure.is_empty() {
            return problem;
        }
        problem.cure(match self {
            Self::Toml => {
                "A line is [section], key = \"text\" in straight quotes, key = 80, or a comment after #; see the comments of the file."
            }
            Self::Json => {
                "Names and texts stand in straight double quotes, a comma between entries and none after the last, each bracket is closed; JSON has no comments."
            }
            Self::CommentedJson => {
                "Names and texts stand in straight double quotes, a comma between entries, each bracket is closed."
            }
        })
    }
}

/// A flaw of the syntax, at a byte offset.
struct Flaw {
    at: usize,
    problem: Problem,
}

impl Flaw {
    fn new(at: usize, code: &'static str, what: impl Into<Box<str>>) -> Self {
        Self { at, problem: Problem::error(code, what) }
    }

    fn cure(mut self, cure: &str) -> Self {
        self.problem = self.problem.cure(cure);
        self
    }
}

fn decode_text<'b>(name: &str, bytes: &'b [u8]) -> Result<&'b str, Box<Problem>> {
    if bytes.len() > SIZE_MAX {
        let what = format!("the file has {} bytes, more than {SIZE_MAX}", bytes.len());
        let problem = Problem::error("too-large", what)
            .because("Something else must have been put in its place.")
            .cure("Put the right file there.");
        return Err(Box::new(problem.at(Place::file(name))));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if is_utf16(bytes) {
        let problem = Problem::error("utf-16", "the file is saved as UTF-16, which editors call \"Unicode\"")
            .because("Configuration is UTF-8, one byte for each letter of a keyboard.")
            .cure("Save it again with the encoding UTF-8 (Notepad: File, Save as, Encoding).");
        return Err(Box::new(problem.at(locate(name, "", 0))));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let (good, _) = bytes.split_at(error.valid_up_to());
        let place = locate(name, &String::from_utf8_lossy(good), error.valid_up_to());
        let problem = Problem::error("not-utf8", "this is not text in UTF-8");
        let cure = "Save the file with the encoding UTF-8 (Notepad: File, Save as, Encoding).";
        Box::new(problem.cure(cure).at(place))
    })
}

/// By its byte order mark, or because every other byte of plain letters is zero.
fn is_utf16(bytes: &[u8]) -> bool {
    let start = bytes.get(..256).unwrap_or(bytes);
    let zeros: usize = start.iter().map(|byte| usize::from(*byte == 0)).sum();
    bytes.starts_with(b"\xff\xfe")
        || bytes.starts_with(b"\xfe\xff")
        || (zeros > 0 && zeros * 3 >= start.len())
}

/// Lines that end with CR alone are taken as lines; offsets stay what they are.
fn line_ends(text: &str) -> Cow<'_, str> {
    if text.contains('\r') && !text.contains('\n') {
        return Cow::Owned(text.replace('\r', "\n"));
    }
    Cow::Borrowed(text)
}

/// Line and column, both from 1; a line ends with LF, CRLF or CR.
fn locate(name: &str, text: &str, offset: usize) -> Place {
    let before = text.get(..offset).unwrap_or(text);
    let bytes = text.as_bytes();
    let ends_line = |index: usize| match before.as_bytes()[index] {
        b'\n' => true,
        b'\r' => bytes.get(index + 1) != Some(&b'\n'),
        _ => false,
    };
    let ends: Vec<usize> = (0..before.len()).filter(|index| ends_line(*index)).collect();
    let start = ends.last().map_or(0, |end| end + 1);
    let column = before.get(start..).map_or(0, |line| line.chars().count());
    Place { line: number(ends.len()), column: number(column), ..Place::file(name) }
}

/// From 1. No file has more lines or characters than `SIZE_MAX`.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1)
}

/// Builds the path to the member or value that starts at `offset`; `false` when none does.
fn find(node: &Node, offset: usize, path: &mut Vec<String>) -> bool {
    if node.at == offset && !path.is_empty() {
        return true;
    }
    let children: Vec<(String, Option<usize>, &Node)> = match &node.value {
        Value::List(nodes) => {
            nodes.iter().enumerate().map(|(i, node)| (format!("[{i}]"), None, node)).collect()
        }
        Value::Table(members) => members
            .iter()
            .map(|member| (format!(".{}", member.key), Some(member.key_at), &member.node))
            .collect(),
        _ => return false,
    };
    for (step, key_at, child) in children {
        path.push(step);
        if key_at == Some(offset) || find(child, offset, path) {
            return true;
        }
        path.pop();
    }
    false
}

#[cfg(test)]
mod tests;
