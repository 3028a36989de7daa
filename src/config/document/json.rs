//! JSON by `jsonc-parser`, with every leniency off but the two that HuJSON has.

use jsonc_parser::ast::{self, ObjectPropName};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::{DEPTH_MAX, Flaw, Member, Node, Value};

pub fn parse(text: &str, with_comments: bool) -> Result<Node, Vec<Flaw>> {
    let options = ParseOptions {
        allow_comments: with_comments,
        allow_trailing_commas: with_comments,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = parse_to_ast(text, &CollectOptions::default(), &options).map_err(|error| {
        vec![Flaw::new(error.range().start, "syntax", sentence(&error.kind().to_string()))]
    })?;
    let Some(value) = parsed.value else {
        return Err(vec![Flaw::new(0, "syntax", "the file is empty; at least `{}` is needed")]);
    };
    let mut reader = Reader { text, flaws: Vec::new() };
    let node = reader.node(&value, 1);
    if reader.flaws.is_empty() { Ok(node) } else { Err(reader.flaws) }
}

/// As the other problems are written: small first letter.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

struct Reader<'t> {
    text: &'t str,
    flaws: Vec<Flaw>,
}

impl Reader<'_> {
    fn node(&mut self, value: &ast::Value<'_>, depth: usize) -> Node {
        let at = value.start();
        if depth > DEPTH_MAX {
            self.note(at, "too-deep", format!("more than {DEPTH_MAX} levels of nesting"));
            return Node { at, value: Value::Null };
        }
        let value = match value {
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::BooleanLit(literal) => Value::Boolean(literal.value),
            ast::Value::NumberLit(literal) => Value::Number(literal.value.to_owned()),
            ast::Value::StringLit(literal) => {
                self.check_raw(literal);
                Value::Text(literal.value.to_string())
            }
            ast::Value::Array(array) => {
                Value::List(array.elements.iter().map(|element| self.node(element, depth + 1)).collect())
            }
            ast::Value::Object(object) => Value::Table(self.members(object, depth)),
        };
        Node { at, value }
    }

    fn members(&mut self, object: &ast::Object<'_>, depth: usize) -> Vec<Member> {
        let mut members: Vec<Member> = Vec::new();
        for property in &object.properties {
            let key_at = property.name.start();
            if let ObjectPropName::String(literal) = &property.name {
                self.check_raw(literal);
            }
            let key = property.name.as_str().to_owned();
            if members.iter().any(|member| member.key == key) {
                self.note(key_at, "duplicate-key", format!("the key \"{key}\" stands here a second time"));
            }
            let node = self.node(&property.value, depth + 1);
            members.push(Member { key, key_at, node });
        }
        members
    }

    /// The parser lets control characters stand in strings; JSON (RFC 8259, section 7) does not.
    fn check_raw(&mut self, literal: &ast::StringLit<'_>) {
        let raw = self.text.get(literal.range.start..literal.range.end).unwrap_or_default();
        if let Some(index) = raw.bytes().position(|byte| byte < 0x20) {
            self.note(
                literal.range.start + index,
                "syntax",
                "a string may not run over a line's end or hold a tab".to_owned(),
            );
        }
    }

    /// One flaw of the syntax is enough to refuse the file; a few are kinder, all of a broken file are noise.
    fn note(&mut self, at: usize, code: &'static str, what: String) {
        const FLAWS_MAX: usize = 20;
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(Flaw::new(at, code, what).cure(match code {
                "duplicate-key" => "Keep one of them, or join what they hold.",
                "too-deep" => "Close brackets earlier: nothing here nests so deep.",
                _ => "Write \\n or \\t inside the text, or close its quotes on the same line.",
            }));
        }
    }
}
