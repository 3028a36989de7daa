//! The page: what is wrong and what to do first, then the box, then its machines, services and certificates.

use crate::base::condition::{Condition, Severity, sentence};
use crate::base::wall_time::UnixTime;
use crate::wire::supervision::BoxStatus;

use super::html::{Attributes, Html};
use super::{Certificate, Level, Listener, Node, ROWS_MAX, State, Status, when};

/// The page loads itself again by this element: it has no scripts, and its policy forbids any.
const REFRESH: Attributes = &[("http-equiv", "refresh"), ("content", "10")];

pub fn render(status: &Status) -> String {
    Html::page(|html| head(html, status), |html| body(html, status))
}

fn head(html: &mut Html, status: &Status) {
    html.void("meta", &[("charset", "utf-8")]);
    html.void("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
    html.void("meta", &[("name", "color-scheme"), ("content", "light dark")]);
    html.void("meta", REFRESH);
    html.leaf("title", &[], &format!("{} - genkan", verdict(status).1));
    html.void("link", &[("rel", "stylesheet"), ("href", "/style.css")]);
}

fn body(html: &mut Html, status: &Status) {
    html.element("header", &[], |html| {
        html.leaf("h1", &[], "genkan");
        html.leaf("p", &[("class", "name")], status.name.as_deref().unwrap_or("the entrance of this house"));
        let (attributes, text) = verdict(status);
        html.leaf("p", attributes, text);
    });
    html.element("main", &[], |html| {
        if !status.conditions.is_empty() {
            html.element("section", &[("class", "conditions")], |html| {
                html.leaf("h2", &[], "What to know");
                status.conditions.iter().take(ROWS_MAX).for_each(|one| condition(html, one));
            });
        }
        html.element("section", &[("class", "facts")], |html| facts(html, status));
        table(html, "Machines", &["Name", "Address", "State"], &status.nodes, |html, node| {
            self::node(html, node, status);
        });
        table(html, "Services", &["Port", "Name", "Leads to", "State"], &status.listeners, listener);
        table(html, "Certificates", &["Name", "Days left", "State"], &status.certificates, certificate);
    });
    footer(html, status);
}

/// How things are in a few words.
fn verdict(status: &Status) -> (Attributes, &'static str) {
    match status.conditions.iter().map(|one| one.severity).max() {
        Some(Severity::Error) => (&[("class", "verdict bad")], "Needs you"),
        Some(Severity::Warning) => (&[("class", "verdict warn")], "Works, with remarks"),
        Some(Severity::Progress) => (&[("class", "verdict wait")], "Getting ready"),
        None => (&[("class", "verdict good")], "All is well"),
    }
}

fn condition(html: &mut Html, one: &Condition) {
    let attributes: Attributes = match one.severity {
        Severity::Error => &[("class", "condition bad")],
        Severity::Warning => &[("class", "condition warn")],
        Severity::Progress => &[("class", "condition wait")],
    };
    html.element("article", attributes, |html| {
        html.element("h3", &[], |html| {
            words(html, &sentence(&one.what));
            html.text(" ");
            html.leaf("code", &[], &one.code);
        });
        if !one.why.is_empty() {
            html.element("p", &[], |html| words(html, &sentence(&one.why)));
        }
        if !one.cure.is_empty() {
            html.element("p", &[("class", "cure")], |html| {
                html.leaf("b", &[], "What to do: ");
                words(html, &sentence(&one.cure));
            });
        }
    });
}

/// Text whose pieces between backticks are to be typed as they are.
fn words(html: &mut Html, text: &str) {
    for (index, piece) in text.split('`').enumerate() {
        if index % 2 == 0 { html.text(piece) } else { html.leaf("kbd", &[], piece) }
    }
}

fn facts(html: &mut Html, status: &Status) {
    let machine = status.machine.as_ref();
    let addresses = machine.map(|machine| &machine.addresses).filter(|list| !list.is_empty());
    let addresses = addresses.unwrap_or(&status.addresses);
    html.element("dl", &[], |html| {
        fact(html, "Address", &or(&addresses.join(", "), "none yet"));
        if let Some(machine) = machine {
            fact(html, "Link", if machine.link { "up" } else { "no cable, or the other end is off" });
        }
        let clock = status.time.map_or_else(|| "not known yet".to_owned(), UnixTime::to_minute);
        let source = machine.map(|machine| machine.clock.as_str()).filter(|clock| !clock.is_empty());
        fact(html, "Clock", &source.map_or(clock.clone(), |source| format!("{clock} ({source})")));
        fact(html, "Coordinator", &or(status.name.as_deref().unwrap_or_default(), "without a public name"));
        fact(html, "Join in the house at", status.join_url.as_deref().unwrap_or("no address yet"));
        let running = i64::try_from(status.running_seconds).unwrap_or(i64::MAX);
        fact(html, "Program", &format!("genkan {}, running for {}", status.version, when::span(running)));
        if let Some(machine) = machine {
            box_facts(html, machine);
        }
        if let Some(update) = &status.update {
            fact(html, "Update", &update.text);
        }
    });
}

fn box_facts(html: &mut Html, machine: &BoxStatus) {
    for (name, value) in [("Board", &machine.board), ("Data", &machine.data)] {
        if !value.is_empty() {
            fact(html, name, value);
        }
    }
    fact(
        html,
        "System",
        &format!("{}, slot {}", or(&machine.version, "?"), or(&machine.slot.to_uppercase(), "?")),
    );
}

fn fact(html: &mut Html, name: &'static str, value: &str) {
    html.element("div", &[], |html| {
        html.leaf("dt", &[], name);
        html.leaf("dd", &[], value);
    });
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
}

/// A heading and its rows; on a narrow screen a row becomes a block of lines.
fn table<T>(
    html: &mut Html,
    heading: &'static str,
    columns: &'static [&'static str],
    rows: &[T],
    row: impl Fn(&mut Html, &T),
) {
    html.element("section", &[], |html| {
        html.leaf("h2", &[], heading);
        if rows.is_empty() {
            return html.leaf("p", &[("class", "none")], "None.");
        }
        html.element("table", &[], |html| {
            html.element("thead", &[], |html| {
                html.element("tr", &[], |html| columns.iter().for_each(|name| html.leaf("th", &[], name)));
            });
            html.element("tbody", &[], |html| {
                rows.iter().take(ROWS_MAX).for_each(|one| html.element("tr", &[], |html| row(html, one)));
            });
        });
        if rows.len() > ROWS_MAX {
            html.leaf("p", &[("class", "none")], &format!("And {} more.", rows.len() - ROWS_MAX));
        }
    });
}

fn node(html: &mut Html, node: &Node, status: &Status) {
    html.leaf("td", &[], &node.name);
    html.leaf("td", &[("class", "mono")], &node.addresses.join(" "));
    let seen = node.last_seen.filter(|_| !node.online).map(|seen| when::ago(seen, status.time));
    let seen = seen.map(|seen| format!("last seen {seen}")).unwrap_or_default();
    state(html, &node.state, &seen);
}

fn listener(html: &mut Html, listener: &Listener) {
    html.leaf("td", &[("class", "mono")], &listener.port);
    html.leaf("td", &[], &listener.name);
    html.leaf("td", &[("class", "mono")], &listener.upstreams.join(", "));
    state(html, &listener.state, "");
}

fn certificate(html: &mut Html, certificate: &Certificate) {
    html.leaf("td", &[], &certificate.name);
    let days = certificate.days_left.map_or_else(|| "-".to_owned(), |days| days.to_string());
    html.leaf("td", &[], &days);
    let is_waiting = certificate.state.level >= Level::Waiting;
    let next = certificate.next_try.filter(|_| is_waiting).map(UnixTime::to_minute);
    state(html, &certificate.state, &next.map(|next| format!("next try {next}")).unwrap_or_default());
}

fn state(html: &mut Html, state: &State, more: &str) {
    let attributes: Attributes = match state.level {
        Level::Good => &[("class", "state good")],
        Level::Quiet => &[("class", "state quiet")],
        Level::Waiting => &[("class", "state wait")],
        Level::Bad => &[("class", "state bad")],
    };
    html.element("td", &[], |html| {
        html.leaf("span", attributes, &state.text);
        if !more.is_empty() {
            html.leaf("small", &[], more);
        }
    });
}

fn footer(html: &mut Html, status: &Status) {
    html.element("footer", &[], |html| {
        let asked = status.time.map(|time| format!("As of {}. ", time.to_minute())).unwrap_or_default();
        html.leaf(
            "p",
            &[],
            &format!("{asked}This page loads itself again every 10 seconds and changes nothing."),
        );
        html.element("p", &[], |html| {
            html.leaf("a", &[("href", "/status.json")], "status.json");
            html.leaf("a", &[("href", "/metrics")], "metrics");
            html.leaf("a", &[("href", "/health")], "health");
        });
    });
}
