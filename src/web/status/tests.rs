use super::*;
use crate::base::condition::Severity;

/// What a machine may call itself when its owner means harm.
const HOSTILE: &str = "</td><script>alert('x')</script>\u{202e}\u{1b}[2J\"><img src=x onerror=y>";

fn hostile() -> Status {
    let state = State::new(Level::Bad, HOSTILE);
    Status {
        name: Some(HOSTILE.into()),
        join_url: Some(HOSTILE.into()),
        addresses: vec![HOSTILE.into()],
        machine: Some(BoxStatus { board: HOSTILE.into(), clock: HOSTILE.into(), ..BoxStatus::default() }),
        conditions: vec![
            Condition::new("PUB-02", Severity::Error, HOSTILE).because(HOSTILE).cure(HOSTILE).about(HOSTILE),
        ],
        nodes: vec![Node {
            name: HOSTILE.into(),
            addresses: vec![HOSTILE.into()],
            state: state.clone(),
            ..Node::default()
        }],
        listeners: vec![Listener {
            port: HOSTILE.into(),
            name: HOSTILE.into(),
            upstreams: vec![HOSTILE.into()],
            state: state.clone(),
        }],
        certificates: vec![Certificate { name: HOSTILE.into(), state, ..Certificate::default() }],
        update: Some(Update { text: HOSTILE.into(), ..Update::default() }),
        ..Status::default()
    }
}

#[test]
fn no_name_writes_html() {
    let page = hostile().page();
    for piece in ["<script", "<img", "alert('", "\u{202e}", "\u{1b}", "\"><"] {
        assert!(
            !page.replace("\"/style.css\">", "").replace("\"></", "").contains(piece) || piece == "\"><",
            "{piece}"
        );
    }
    let known = [
        "!DOCTYPE", "html", "head", "meta", "title", "link", "body", "header", "h1", "h2", "h3", "p", "main",
        "section", "article", "code", "dl", "div", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td",
        "span", "small", "footer", "a", "b", "kbd",
    ];
    for tag in page.split('<').skip(1) {
        let name = tag.trim_start_matches('/').split([' ', '>']).next().unwrap_or_default();
        assert!(known.contains(&name), "<{tag}");
    }
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)"), "{page}");
}

#[test]
fn the_page_says_what_to_do_first_and_has_no_scripts() {
    let status = Status {
        conditions: vec![
            Condition::new("PUB-02", Severity::Error, "there is no certificate for a.example.com")
                .cure("forward port `80`"),
        ],
        time: Some(UnixTime(1_800_000_000)),
        ..Status::default()
    };
    let page = status.page();
    assert!(page.contains("There is no certificate for a.example.com. <code>PUB-02</code>"), "{page}");
    assert!(page.contains("<b>What to do: </b>Forward port <kbd>80</kbd>."), "{page}");
    assert!(page.contains("<meta http-equiv=\"refresh\" content=\"10\">"), "{page}");
    assert!(page.contains("Needs you - genkan"), "{page}");
    assert!(!page.contains("<script") && !page.contains("style=\"") && !page.contains(" on"), "{page}");
    assert!(Status::default().page().contains("All is well"));
}

#[test]
fn tables_have_an_end() {
    let nodes = vec![Node { name: "n".into(), ..Node::default() }; ROWS_MAX + 3];
    let status = Status { nodes, ..Status::default() };
    assert!(status.page().contains("And 3 more."));
    assert!(status.summary().contains(&"  and 3 more".to_owned()));
}

#[test]
fn lines_change_only_when_something_happens() {
    let at = |seconds: i64| Status {
        time: Some(UnixTime(1_800_000_000 + seconds)),
        running_seconds: seconds.unsigned_abs(),
        name: Some("hs.example.com".into()),
        nodes: vec![Node {
            name: "machine-a".into(),
            addresses: vec!["100.64.0.2".into()],
            last_seen: Some(UnixTime(1_800_000_000)),
            state: State::new(Level::Quiet, "offline"),
            ..Node::default()
        }],
        ..Status::default()
    };
    assert_eq!(at(1).summary(), at(100).summary());
    let expected = "  machine-a 100.64.0.2: offline, last seen 2027-01-15 08:00 UTC";
    assert_eq!(at(1).summary()[3], expected);
}

#[test]
fn answers_are_guarded() {
    struct Fixed;
    impl Source for Fixed {
        fn status(&self) -> Status {
            hostile()
        }
    }
    for path in ["/", "/status.json", "/style.css"] {
        let response = answer(path, &Fixed).expect("a page");
        let headers = response.headers();
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["x-frame-options"], "DENY");
        let policy = headers["content-security-policy"].to_str().expect("text");
        assert!(
            policy.starts_with("default-src 'none'; style-src 'self'") && !policy.contains("unsafe"),
            "{policy}"
        );
    }
    assert!(answer("/other", &Fixed).is_none());
    let json: serde_json::Value = serde_json::from_str(&hostile().json()).expect("JSON");
    assert_eq!(json["nodes"][0]["name"], HOSTILE);
}
