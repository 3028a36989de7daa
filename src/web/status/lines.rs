//! The rooms as lines of text.

use super::{Certificate, Listener, Node, ROWS_MAX, Status};
use crate::base::wall_time::UnixTime;

pub fn render(status: &Status) -> Vec<String> {
    let mut lines = vec![coordinator(status)];
    lines.extend(status.join_url.iter().map(|url| format!("Machines in the house join at {url}")));
    section(&mut lines, "Machines", &status.nodes, node);
    section(&mut lines, "Services", &status.listeners, listener);
    section(&mut lines, "Certificates", &status.certificates, certificate);
    lines.extend(status.update.iter().flat_map(|update| [String::new(), format!("Update: {}", update.text)]));
    lines
}

fn coordinator(status: &Status) -> String {
    let name = status.name.as_deref().unwrap_or("without a public name");
    format!("Entrance: {name}, genkan {}", status.version)
}

fn section<T>(lines: &mut Vec<String>, heading: &str, rows: &[T], line: impl Fn(&T) -> String) {
    lines.push(String::new());
    lines.push(format!("{heading}:"));
    if rows.is_empty() {
        lines.push("  none".to_owned());
    }
    lines.extend(rows.iter().take(ROWS_MAX).map(|row| format!("  {}", line(row))));
    if let Some(more) = rows.len().checked_sub(ROWS_MAX).filter(|more| *more > 0) {
        lines.push(format!("  and {more} more"));
    }
}

fn node(node: &Node) -> String {
    let seen = node.last_seen.filter(|_| !node.online).map(UnixTime::to_minute);
    let seen = seen.map(|seen| format!(", last seen {seen}")).unwrap_or_default();
    format!("{} {}: {}{seen}", node.name, node.addresses.join(" "), node.state.text)
}

fn listener(listener: &Listener) -> String {
    let Listener { port, name, upstreams, state } = listener;
    format!("{port} {name} -> {}: {}", upstreams.join(", "), state.text)
}

fn certificate(certificate: &Certificate) -> String {
    let end = certificate.expires.map(|end| format!(", good until {}", end.to_minute()));
    let next = certificate.next_try.map(|at| format!(", next try {}", at.to_minute()));
    format!(
        "{}: {}{}{}",
        certificate.name,
        certificate.state.text,
        end.unwrap_or_default(),
        next.unwrap_or_default()
    )
}
