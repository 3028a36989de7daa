use proptest::prelude::*;

use super::*;

fn flaws(syntax: Syntax, text: &str) -> Vec<String> {
    let problems = Document::parse("f", syntax, text.as_bytes()).expect_err("flawed");
    problems.iter().map(|problem| format!("{} {}", problem.place, problem.code)).collect()
}

#[test]
fn places_are_lines_and_characters() {
    let text = "\u{feff}{\r\n  \"日本\": [1, \"é\", {\"x\": true}]\r\n}";
    let document = Document::parse("f", Syntax::Json, text.as_bytes()).expect("sound");
    let Value::Table(members) = &document.root.value else { panic!("not a table") };
    let Value::List(items) = &members[0].node.value else { panic!("not a list") };
    let place = |at| {
        let place = document.place(at);
        format!("{place} {}", place.path)
    };
    assert_eq!(place(members[0].key_at), "f:2:3 日本");
    assert_eq!(place(items[1].at), "f:2:13 日本[1]");
    let Value::Table(inner) = &items[2].value else { panic!("not a table") };
    assert_eq!(place(inner[0].node.at), "f:2:24 日本[2].x");
}

#[test]
fn toml_knows_its_places_too() {
    let text = "# 名\n[ports]\nhttp = 80\n[[expose]]\nto = 'a:1'\n";
    let document = Document::parse("f", Syntax::Toml, text.as_bytes()).expect("sound");
    let Value::Table(members) = &document.root.value else { panic!("not a table") };
    let Value::Table(ports) = &members[0].node.value else { panic!("not a table") };
    assert_eq!(document.place(ports[0].key_at).to_string(), "f:3:1");
    assert_eq!(&*document.place(ports[0].node.at).path, "ports.http");
    assert_eq!(document.place(ports[0].node.at).to_string(), "f:3:8");
}

#[test]
fn json_is_strict_and_hujson_has_two_liberties() {
    let commented = "{ // why\n \"a\": [1, 2,], /* x */ }";
    assert!(Document::parse("f", Syntax::CommentedJson, commented.as_bytes()).is_ok());
    for (text, place) in [
        (commented, "f:1:3 syntax"),
        ("{\"a\": 1,}", "f:1:8 syntax"),
        ("{'a': 1}", "f:1:2 syntax"),
        ("{a: 1}", "f:1:2 syntax"),
        ("{\"a\": 0x1}", "f:1:7 syntax"),
        ("{\"a\": +1}", "f:1:7 syntax"),
        ("{\"a\": NaN}", "f:1:7 syntax"),
        ("{\"a\": 1 \"b\": 2}", "f:1:8 syntax"),
        ("[1 2]", "f:1:3 syntax"),
        ("{} {}", "f:1:4 syntax"),
        ("", "f:1:1 syntax"),
        ("{\n\"a\": 1,\n\"a\": 2}", "f:3:1 duplicate-key"),
        ("{\"a\": \"x\ty\"}", "f:1:9 syntax"),
    ] {
        assert_eq!(flaws(Syntax::Json, text), [place], "{text}");
    }
}

#[test]
fn nesting_and_size_are_limited() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(Document::parse("f", Syntax::Json, nested(DEPTH_MAX).as_bytes()).is_ok());
    assert_eq!(flaws(Syntax::Json, &nested(DEPTH_MAX + 1)), ["f:1:65 too-deep"]);
    assert_eq!(flaws(Syntax::Json, &nested(100_000)).len(), 1);
    assert!(!flaws(Syntax::Toml, &format!("a = {}", nested(100_000))).is_empty());
    assert_eq!(flaws(Syntax::Json, &" ".repeat(SIZE_MAX + 1)), ["f too-large"]);
}

#[test]
fn toml_flaws_are_told_with_their_place() {
    assert_eq!(flaws(Syntax::Toml, "a = 1\nb =\n")[0], "f:2:4 syntax");
    assert_eq!(flaws(Syntax::Toml, "a = 1\na = 2\n")[0], "f:2:1 syntax");
}

#[test]
fn bytes_that_are_no_text_are_refused_where_they_stand() {
    let problems = Document::parse("f", Syntax::Json, b"{\n \"\xff\"}").expect_err("not UTF-8");
    assert_eq!((problems[0].place.to_string().as_str(), problems[0].code), ("f:2:3", "not-utf8"));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for syntax in [Syntax::Json, Syntax::CommentedJson, Syntax::Toml] {
            let _ = Document::parse("f", syntax, &bytes);
        }
    }

    #[test]
    fn no_text_like_it_panics(text in "[\\[\\]{}\",:a\\\\u0-9\\-+.eE/* \n\r\t'=#日]{0,60}") {
        for syntax in [Syntax::Json, Syntax::CommentedJson, Syntax::Toml] {
            let _ = Document::parse("f", syntax, text.as_bytes());
        }
    }
}
