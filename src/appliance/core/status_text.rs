//! `STATUS.txt`, and the same text on the console: what is wrong and what to do first, then the box, then its rooms.
//!
//! Lines end with CR LF: the owner may read the file with a Notepad that knows no other line end, everything else takes both, and a
//! terminal is none the worse for it. The words are plain letters; names from elsewhere are kept in UTF-8, without what could move the
//! cursor or turn the line around. Nothing in it changes by itself with time, so that the card is written only when something happens.

use std::net::IpAddr;

use crate::base::condition::{Condition, Severity, sentence, shown};
use crate::wire::supervision::BoxStatus;

/// Longest line before it is folded, in letters: what an 80-column console shows without wrapping.
const WIDTH: usize = 78;

/// Most lines; a summary of more belongs on the status page.
const LINES_MAX: usize = 400;

/// The whole text. `conditions` are the worker's, beside those in `status`; `summary` is what the worker tells of its rooms.
#[must_use]
pub fn status_text(status: &BoxStatus, conditions: &[Condition], summary: &[String]) -> String {
    let all: Vec<Condition> = status.conditions.iter().chain(conditions).cloned().collect();
    let shown = shown(&all);
    let mut page = Page::default();
    page.line(&format!("genkan - {}", verdict(&shown)));
    page.line("");
    for condition in &shown {
        page.condition(condition);
    }
    page.status(status);
    if !summary.is_empty() {
        page.line("");
        for line in summary {
            page.line(line);
        }
    }
    page.line("");
    page.line("The box writes this file when something changes. Codes such as NET-01 can be searched for.");
    page.text
}

/// How things are in a few words; the same as on the status page.
fn verdict(shown: &[Condition]) -> &'static str {
    match shown.iter().map(|one| one.severity).max() {
        Some(Severity::Error) => "Needs you",
        Some(Severity::Warning) => "Works, with remarks",
        Some(Severity::Progress) => "Getting ready",
        None => "All is well",
    }
}

#[derive(Default)]
struct Page {
    text: String,
    lines: usize,
}

impl Page {
    fn condition(&mut self, condition: &Condition) {
        let mark = match condition.severity {
            Severity::Error => "!!",
            Severity::Warning => " !",
            Severity::Progress => "..",
        };
        self.line(&format!("{mark} {} [{}]", sentence(&condition.what), condition.code));
        for line in sentence(&condition.why).lines() {
            self.line(&format!("   {line}"));
        }
        if !condition.cure.is_empty() {
            self.line(&format!("   What to do: {}", sentence(&condition.cure)));
        }
        self.line("");
    }

    fn status(&mut self, status: &BoxStatus) {
        let addresses = status.addresses.join(", ");
        let page = reachable(&status.addresses).filter(|_| status.link);
        let page = page.map(|address| format!("http://{address}:9090/"));
        self.fact("Address", if addresses.is_empty() { "none yet" } else { &addresses });
        self.fact("Status page", page.as_deref().unwrap_or("not before there is an address"));
        self.fact("Link", if status.link { "up" } else { "no cable, or the other end is off" });
        self.fact("Clock", if status.clock.is_empty() { "unknown" } else { &status.clock });
        for (name, value) in [("Data", &status.data), ("Board", &status.board)] {
            if !value.is_empty() {
                self.fact(name, value);
            }
        }
        self.fact("System", &format!("genkan {}, slot {}", status.version, status.slot.to_uppercase()));
    }

    fn fact(&mut self, name: &str, value: &str) {
        self.line(&format!("{:13}{value}", format!("{name}:")));
    }

    /// One line of the text, folded between words; what follows stands under its first word.
    fn line(&mut self, line: &str) {
        let line = printable(line);
        let indent = line.len() - line.trim_start_matches([' ', '!', '.']).len();
        let mut width = 0;
        let mut folded = String::new();
        for word in line.split_inclusive(' ') {
            let length = word.chars().count();
            if width > indent && width + word.trim_end().chars().count() > WIDTH {
                self.push(folded.trim_end());
                folded = " ".repeat(indent);
                width = indent;
            }
            folded.push_str(word);
            width += length;
        }
        self.push(folded.trim_end());
    }

    fn push(&mut self, line: &str) {
        self.lines += 1;
        match self.lines {
            ..LINES_MAX => self.text.extend([line, "\r\n"]),
            LINES_MAX => self.text.push_str("...\r\n"),
            _ => {}
        }
    }
}

/// The address for a browser: the first of IPv4, else of IPv6 that needs no interface beside it.
fn reachable(addresses: &[String]) -> Option<String> {
    let words = addresses.iter().flat_map(|text| text.split([' ', '/', ',', '(', ')', '%']));
    let all: Vec<IpAddr> = words.filter_map(|word| word.parse().ok()).collect();
    let is_usable = |address: &&IpAddr| matches!(address, IpAddr::V6(v6) if !v6.is_unicast_link_local());
    match all.iter().find(|address| address.is_ipv4()).or_else(|| all.iter().find(is_usable))? {
        IpAddr::V4(address) => Some(address.to_string()),
        IpAddr::V6(address) => Some(format!("[{address}]")),
    }
}

/// Letters that a terminal obeys or that turn a line around become a question mark.
fn printable(text: &str) -> String {
    let is_deceptive = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().map(|letter| if is_deceptive(letter) { '?' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn status() -> BoxStatus {
        BoxStatus {
            version: "0.2.0".into(),
            board: "Raspberry Pi 4".into(),
            slot: "a".into(),
            addresses: vec!["192.168.1.10/24".into()],
            link: true,
            clock: "2026-11-25 by SNTP".into(),
            data: "ready, 28 GB free".into(),
            conditions: vec![
                Condition::new("NET-01", Severity::Error, "there is no address").cure("plug the cable in"),
            ],
        }
    }

    #[test]
    fn what_is_wrong_stands_first_with_its_cure() {
        let conditions = [
            Condition::new("PUB-02", Severity::Error, "no certificate").follows_from(&["NET-01"]),
            Condition::new("JOIN-01", Severity::Progress, "no machine has joined yet"),
        ];
        let text = status_text(&status(), &conditions, &["Machines:".into(), "  none".into()]);
        let expected = "genkan - Needs you\r\n\r\n\
            !! There is no address. [NET-01]\r\n   What to do: Plug the cable in.\r\n\r\n\
            .. No machine has joined yet. [JOIN-01]\r\n\r\n\
            Address:     192.168.1.10/24\r\nStatus page: http://192.168.1.10:9090/\r\nLink:        up\r\n\
            Clock:       2026-11-25 by SNTP\r\nData:        ready, 28 GB free\r\nBoard:       Raspberry Pi 4\r\n\
            System:      genkan 0.2.0, slot A\r\n\r\nMachines:\r\n  none\r\n\r\n\
            The box writes this file when something changes. Codes such as NET-01 can be\r\nsearched for.\r\n";
        assert_eq!(text, expected);
        for (addresses, expected) in [
            (&["eth0 fe80::1/64", "eth0 192.168.1.2/24"][..], Some("192.168.1.2")),
            (&["fe80::1/64 (eth0)", "2001:db8::5/64 (eth0)"], Some("[2001:db8::5]")),
            (&["eth0"], None),
        ] {
            let addresses: Vec<String> = addresses.iter().map(|&text| text.to_owned()).collect();
            assert_eq!(reachable(&addresses).as_deref(), expected);
        }
        let empty = status_text(&BoxStatus::default(), &[], &[]);
        assert!(empty.starts_with("genkan - All is well\r\n\r\nAddress:     none yet\r\n"), "{empty}");
    }

    #[test]
    fn long_lines_are_folded_under_their_first_word_and_texts_have_an_end() {
        let why = "a word ".repeat(30);
        let condition = Condition::new("X-01", Severity::Warning, "x").because(why);
        let text = status_text(&BoxStatus::default(), &[condition], &[]);
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("   ")).count(), 3, "{text}");
        let long = status_text(&BoxStatus::default(), &[], &vec!["x".to_owned(); 1000]);
        assert_eq!(long.lines().count(), LINES_MAX);
    }

    proptest! {
        #[test]
        fn no_name_moves_the_cursor(text in "[ -~\u{0}-\u{1f}\u{7f}-\u{9f}\u{202e}äß日]{0,200}") {
            let condition = Condition::new("X-01", Severity::Error, text.clone()).because(text.clone());
            let status = BoxStatus { board: text.clone(), ..BoxStatus::default() };
            let shown = status_text(&status, &[condition], &[text]);
            let is_plain = shown.replace("\r\n", "").chars().all(|letter| !letter.is_control() && letter != '\u{202e}');
            prop_assert!(is_plain, "{}", shown);
        }
    }
}
