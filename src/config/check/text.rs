//! The report for people.

use std::fmt::Write;

use crate::config::problem::{Problem, Severity};

use super::{Reach, Report};

pub fn render(report: &Report, colour: bool) -> String {
    let mut page = Page { text: String::new(), colour };
    page.problems(&report.problems);
    if let Some(least) = &report.least_privilege {
        page.forwards(report);
        page.dns(report);
        page.access(report);
        page.rules(report);
        page.least_privilege(least);
        page.inside(report);
    }
    page.text
}

struct Page {
    text: String,
    colour: bool,
}

impl Page {
    fn problems(&mut self, problems: &[Problem]) {
        for problem in problems {
            let (word, code) = match problem.severity {
                Severity::Error => ("error", "31"),
                Severity::Warning => ("warning", "33"),
            };
            let word = self.paint(word, code);
            self.line(&format!("{}: {word}: {} [{}]", problem.place, problem.what, problem.code));
            for more in [&problem.why, &problem.cure].into_iter().filter(|text| !text.is_empty()) {
                self.line(&format!("    {more}"));
            }
        }
        let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let verdict = if errors == 0 { self.paint("fine", "32") } else { self.paint("not fine", "31") };
        self.line(&format!("{verdict}: {}, {}", plural(errors, "error"), plural(warnings, "warning")));
    }

    fn forwards(&mut self, report: &Report) {
        self.heading("Router: forward these ports to this machine");
        let row = |forward: &super::Forward| {
            let mark = if forward.only_outside { "only for machines outside the house" } else { "" };
            vec![
                forward.external_port.to_string(),
                forward.protocol.to_uppercase(),
                format!("-> :{}", forward.to_port),
                forward.purpose.clone(),
                mark.to_owned(),
            ]
        };
        self.table(&report.forwards.iter().map(row).collect::<Vec<_>>());
    }

    fn dns(&mut self, report: &Report) {
        self.heading("DNS: publish these records");
        let row = |record: &super::DnsRecord| {
            vec![record.name.clone(), record.kind.to_owned(), record.value.clone()]
        };
        self.table(&report.dns.iter().map(row).collect::<Vec<_>>());
    }

    fn access(&mut self, report: &Report) {
        self.heading("Access: what is reached from the internet");
        let row = |access: &super::Access| {
            let reach = match access.reach {
                Reach::Allowed => "allowed",
                Reach::Forbidden => "FORBIDDEN by the policy",
                Reach::Depends => "depends on people, groups or tags",
                Reach::Direct => "outside the tailnet, no policy applies",
            };
            vec![access.from.clone(), format!("-> {}", access.to), access.address.clone(), reach.to_owned()]
        };
        self.table(&report.access.iter().map(row).collect::<Vec<_>>());
    }

    fn rules(&mut self, report: &Report) {
        self.heading("Policy: who may reach what in the tailnet");
        let row = |rule: &super::Permission| {
            let to = format!("-> {}:{}", rule.destination, rule.ports);
            vec![rule.source.clone(), to, rule.protocol.clone()]
        };
        self.table(&report.rules.iter().map(row).collect::<Vec<_>>());
    }

    fn least_privilege(&mut self, least: &super::LeastPrivilege) {
        self.heading("Policy: enough for these routes, and no more");
        self.line(&format!("  {}", least.policy));
        let compared =
            [("needed but not allowed", &least.missing), ("allowed but not needed", &least.surplus)];
        for (what, list) in compared.into_iter().filter(|(_, list)| !list.is_empty()) {
            self.line(&format!("  {what}: {}", list.join(", ")));
        }
        if least.missing.is_empty() && least.surplus.is_empty() {
            self.line("  The given policy allows the gateway exactly this.");
        }
    }

    fn inside(&mut self, report: &Report) {
        self.heading(
            "In the house, when the router does not lead its public address back in (no hairpin NAT)",
        );
        let row = |inside: &super::Inside| vec![inside.action.clone(), inside.why.clone()];
        self.table(&report.inside.iter().map(row).collect::<Vec<_>>());
    }

    fn heading(&mut self, text: &str) {
        let text = self.paint(text, "1");
        self.line("");
        self.line(&text);
    }

    /// Columns as wide as their widest cell; the last is not padded.
    fn table(&mut self, rows: &[Vec<String>]) {
        if rows.is_empty() {
            self.line("  nothing");
        }
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            self.line(&format!("  {}", line.trim_end()));
        }
    }

    fn paint(&self, text: &str, code: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn line(&mut self, text: &str) {
        writeln!(self.text, "{text}").expect("a string takes any text");
    }
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
