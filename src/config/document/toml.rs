//! TOML by the crate of that name, which keeps the span of every key and value.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{DEPTH_MAX, Flaw, Member, Node, Value};

/// The parser recovers after a flaw and tells all; the later ones of a broken file are seldom true.
const FLAWS_MAX: usize = 20;

pub fn parse(text: &str) -> Result<Node, Vec<Flaw>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut flaws: Vec<Flaw> = errors
        .iter()
        .take(FLAWS_MAX)
        .map(|error| Flaw::new(error.span().map_or(0, |span| span.start), "syntax", error.message()))
        .collect();
    let members = members(table.get_ref(), 1, &mut flaws);
    if flaws.is_empty() { Ok(Node { at: 0, value: Value::Table(members) }) } else { Err(flaws) }
}

fn members(table: &DeTable<'_>, depth: usize, flaws: &mut Vec<Flaw>) -> Vec<Member> {
    let mut members: Vec<Member> = table
        .iter()
        .map(|(key, value)| Member {
            key: key.get_ref().to_string(),
            key_at: key.span().start,
            node: node(value, depth + 1, flaws),
        })
        .collect();
    members.sort_by_key(|member| member.key_at);
    members
}

fn node(value: &Spanned<DeValue<'_>>, depth: usize, flaws: &mut Vec<Flaw>) -> Node {
    let at = value.span().start;
    if depth > DEPTH_MAX {
        if flaws.len() < FLAWS_MAX {
            let flaw = Flaw::new(at, "too-deep", format!("more than {DEPTH_MAX} levels of nesting"));
            flaws.push(flaw.cure("Close brackets earlier: nothing here nests so deep."));
        }
        return Node { at, value: Value::Null };
    }
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => Value::Number(number.to_string()),
        DeValue::Float(number) => Value::Number(number.to_string()),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(values) => {
            Value::List(values.iter().map(|value| node(value, depth + 1, flaws)).collect())
        }
        DeValue::Table(table) => Value::Table(members(table, depth, flaws)),
    };
    Node { at, value }
}
