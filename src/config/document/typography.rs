//! Letters that look like the signs of a language and are none: what word processors, phones and web pages put in their place.
//!
//! They are looked for only where a file cannot be read as it stands, outside of comments and texts. They are named and not accepted,
//! because the file would then mean one thing here and another to every other program that reads it.

use super::{Flaw, Syntax};
use crate::config::problem::Problem;

/// One mistake of an editor is in every line; a few places are enough to see what it is.
const FLAWS_MAX: usize = 20;

/// The flaws of a text that could not be parsed: where letters are not what they look like, those alone, for the others follow from them.
pub fn instead_of(flaws: Vec<Flaw>, text: &str, syntax: Syntax) -> Vec<Flaw> {
    let odd: Vec<Flaw> = outside(text, syntax)
        .filter_map(|(at, letter)| look_alike(letter).map(|(name, write)| flaw(at, name, write)))
        .take(FLAWS_MAX)
        .collect();
    if odd.is_empty() { flaws } else { odd }
}

fn flaw(at: usize, name: &str, write: &str) -> Flaw {
    let problem = Problem::error("odd-character", format!("{name} has no meaning here"))
        .because("Word processors, phones and web pages put it in the place of the sign of a keyboard.")
        .cure(write);
    Flaw { at, problem }
}

/// What a letter is called, and what to do about it.
fn look_alike(letter: char) -> Option<(&'static str, &'static str)> {
    Some(match letter {
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{2033}' | '\u{ff02}' => {
            ("a curly quotation mark", "Write the straight \" in its place, at both ends of the text.")
        }
        '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' | '\u{2032}' | '\u{b4}' | '\u{ff07}' => {
            ("a curly apostrophe", "Write the straight \" in its place, at both ends of the text.")
        }
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            ("a non-breaking or wide blank", "Write an ordinary blank in its place, or nothing.")
        }
        '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}'
        | '\u{ad}' => ("an invisible letter", "Delete it: retype the line if it cannot be seen."),
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ff0d}' => ("a dash", "Write the hyphen - in its place."),
        '\u{2026}' => ("an ellipsis", "Delete it, or write out what it stands for."),
        '\u{ff1d}' => ("a wide equals sign", "Write = in its place."),
        '\u{ff0c}' | '\u{3001}' => ("a wide comma", "Write , in its place."),
        '\u{ff1a}' => ("a wide colon", "Write : in its place."),
        _ => return None,
    })
}

/// The letters outside of comments and texts, with their offsets. A text that nothing closes is not skipped: the mark that should have
/// closed it may be one of those looked for. Each byte is looked at a few times, however hostile the text.
fn outside(text: &str, syntax: Syntax) -> impl Iterator<Item = (usize, char)> {
    let (mut skip_to, mut plain_to) = (0, 0);
    text.char_indices().filter(move |(at, letter)| {
        if *at < skip_to {
            return false;
        }
        if *at < plain_to {
            return true;
        }
        match skipped(&text[*at..], *letter, syntax) {
            Skipped::Nothing => true,
            Skipped::To(length) => {
                skip_to = *at + length;
                false
            }
            Skipped::Unclosed(length) => {
                plain_to = *at + length;
                true
            }
        }
    })
}

/// What begins with a sign.
enum Skipped {
    Nothing,
    /// A comment or text of this length.
    To(usize),
    /// A text that is not closed within this length.
    Unclosed(usize),
}

fn skipped(rest: &str, first: char, syntax: Syntax) -> Skipped {
    let is_toml = syntax == Syntax::Toml;
    let has_comments = syntax == Syntax::CommentedJson;
    let line = || Skipped::To(rest.find(['\n', '\r']).unwrap_or(rest.len()));
    match first {
        '#' if is_toml => line(),
        '/' if has_comments && rest.starts_with("//") => line(),
        '/' if has_comments && rest.starts_with("/*") => {
            Skipped::To(rest.find("*/").map_or(rest.len(), |end| end + 2))
        }
        '"' | '\'' if is_toml && is_tripled(rest) => {
            let inner = rest.get(3..).and_then(|inner| inner.find(&rest[..3]));
            inner.map_or(Skipped::Unclosed(rest.len()), |end| Skipped::To(end + 6))
        }
        '"' => closed(rest, true),
        '\'' if is_toml => closed(rest, false),
        _ => Skipped::Nothing,
    }
}

fn is_tripled(rest: &str) -> bool {
    rest.starts_with("\"\"\"") || rest.starts_with("'''")
}

/// The text at the beginning of `rest`, with its marks; it ends on its line.
fn closed(rest: &str, has_escapes: bool) -> Skipped {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' | b'\r' => return Skipped::Unclosed(at),
            b'\\' if has_escapes => at += 2,
            byte if *byte == bytes[0] => return Skipped::To(at + 1),
            _ => at += 1,
        }
    }
    Skipped::Unclosed(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odd(syntax: Syntax, text: &str) -> Vec<usize> {
        instead_of(Vec::new(), text, syntax).iter().map(|flaw| flaw.at).collect()
    }

    #[test]
    fn look_alikes_are_found_outside_of_comments_and_texts() {
        for (syntax, text, expected) in [
            (Syntax::Toml, "# “x”\na = \"“\" # ”\nb = “x”\n", vec![30, 34]),
            (Syntax::Toml, "a = '“'\nb = '''\n“\n'''\nc = \"\"\"“\"\"\"\n", vec![]),
            (Syntax::Toml, "a\u{a0}= 1\n", vec![1]),
            (Syntax::Toml, "a = \"x”\n", vec![6]),
            (Syntax::Toml, "a = \"\\\"“\"\n", vec![]),
            (Syntax::Json, "{“a”: 1}", vec![1, 5]),
            (Syntax::Json, "// “", vec![3]),
            (Syntax::CommentedJson, "{ // “\n /* ” */ \"“\": 1 }", vec![]),
            (Syntax::CommentedJson, "{ \"a\"： 1 } /* “", vec![5]),
        ] {
            assert_eq!(odd(syntax, text), expected, "{text}");
        }
    }

    #[test]
    fn other_flaws_stay_when_every_letter_is_what_it_looks_like() {
        let flaws = instead_of(vec![Flaw::new(4, "syntax", "x")], "a = \n", Syntax::Toml);
        assert_eq!(flaws[0].at, 4);
        assert_eq!(instead_of(Vec::new(), &"“".repeat(100), Syntax::Toml).len(), FLAWS_MAX);
    }

    #[test]
    fn a_hostile_text_takes_no_time() {
        for hostile in ["\"\\", "'a", "/*", "\"\"\"", "//", "\"a\"", "\"", "#"] {
            for syntax in [Syntax::Toml, Syntax::Json, Syntax::CommentedJson] {
                assert!(odd(syntax, &hostile.repeat(200_000)).is_empty(), "{hostile}");
            }
        }
    }
}
