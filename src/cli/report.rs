//! What a command answers, for people and for programs.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Output;
use super::error::CliError;

/// The answer of one command in both forms.
#[derive(Debug, PartialEq)]
pub struct Report {
    json: Value,
    text: String,
}

impl Report {
    /// Rows under headings, columns aligned; `json` with Headscale's member names.
    pub fn table(json: &impl Serialize, headings: &[&str], rows: &[Vec<String>]) -> Self {
        Self { json: snake_case(serde_json::to_value(json).unwrap_or_default()), text: align(headings, rows) }
    }

    /// One sentence or text beside its object.
    pub fn text(json: &impl Serialize, text: impl Into<String>) -> Self {
        Self { json: snake_case(serde_json::to_value(json).unwrap_or_default()), text: text.into() }
    }

    /// Something was done that has no object left to show.
    pub fn done(sentence: impl Into<String>) -> Self {
        let text = sentence.into();
        Self { json: json!({ "result": text }), text }
    }

    /// As [`print()`].
    pub fn print(&self, output: Output) -> ExitCode {
        let text = match output {
            Output::Table => self.text.clone(),
            Output::Json => format!("{:#}", self.json),
            Output::JsonLine => self.json.to_string(),
        };
        print(&format!("{}\n", text.trim_end()))
    }

    /// As printed for programs.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// As printed for people.
    pub fn as_text(&self) -> &str {
        &self.text
    }
}

/// To standard output; what was not taken there is told, and a failure. Whoever has read enough (`genkan nodes list | head -1`) may go.
#[must_use]
pub fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("genkan: the answer cannot be written to standard output: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// To standard error, so that a script never takes it for an answer.
pub fn print_error(error: &CliError, output: Output) {
    match output {
        Output::Table => eprintln!("genkan: {error}"),
        Output::Json | Output::JsonLine => eprintln!("{}", json!({ "error": error.to_string() })),
    }
}

/// Columns as wide as their widest cell, two blanks between them; an empty cell shows as `-`.
fn align(headings: &[&str], rows: &[Vec<String>]) -> String {
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let lines: Vec<&[String]> =
        std::iter::once(headings.as_slice()).chain(rows.iter().map(Vec::as_slice)).collect();
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| lines.iter().filter_map(|line| line.get(column)).map(|c| c.chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    let line = |cells: &&[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| {
            let cell = if cell.is_empty() { "-" } else { cell };
            format!("{cell:width$}")
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Headscale's command line writes `created_at` and numeric identifiers where its REST API writes `createdAt` and text.
fn snake_case(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            Value::Object(members.into_iter().map(snake_case_member).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(snake_case).collect()),
        other => other,
    }
}

fn snake_case_member((name, value): (String, Value)) -> (String, Value) {
    let value = match (name.as_str(), value) {
        ("id", Value::String(text)) => text.parse::<i64>().map_or(Value::String(text), Value::from),
        (_, value) => snake_case(value),
    };
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    (snake, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::admin::{PreAuthKey, User};

    #[test]
    fn columns_are_aligned_by_their_widest_cell() {
        let rows = [vec!["1".to_owned(), "alice".to_owned()], vec!["12".to_owned(), String::new()]];
        assert_eq!(align(&["ID", "Name"], &rows), "ID  Name\n1   alice\n12  -");
    }

    #[test]
    fn json_has_the_names_of_headscales_command_line() {
        let user = User { id: 3, name: "alice".into(), ..User::default() };
        let key = PreAuthKey { id: 12, key: "secret".into(), user: Some(user), ..PreAuthKey::default() };
        let report = Report::text(&key, "secret");
        assert_eq!(report.json()["id"], 12);
        assert_eq!(report.json()["acl_tags"], json!([]));
        assert_eq!(report.json()["user"]["display_name"], "");
        assert_eq!(report.json()["user"]["id"], 3);
        assert_eq!(report.json()["key"], "secret");
    }
}
