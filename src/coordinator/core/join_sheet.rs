//! The texts that the box writes onto its card: `JOIN.txt`, how each machine joins, and `API-KEY.txt`, how a person rules.

use std::fmt::Write;
use std::net::Ipv4Addr;

use crate::base::secret::Secret;
use crate::base::wall_time::UnixTime;
use crate::wire::admin::TLS_PORT;

use super::join_line::Joined;

/// Who may join, and who did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JoinSheet {
    /// In the order of the hosts' names.
    pub entries: Vec<Entry>,
    /// Hosts of the policy beyond what one sheet holds.
    pub left_out: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub host: String,
    pub address: Option<Ipv4Addr>,
    pub standing: Standing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// `until` is absent while the clock is not known.
    Open { text: Secret<String>, until: Option<UnixTime> },
    /// As the node `name`; by the key of this sheet when `used` says so.
    Joined { name: String, used: Option<Joined>, has_ended: bool },
    /// No key can be made now.
    Waiting,
}

/// Where the box is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doors {
    /// In the house; absent while the box has no address.
    pub lan: Option<Ipv4Addr>,
    /// Public.
    pub name: Option<String>,
    pub control_port: u16,
    pub https_port: u16,
    pub api_port: u16,
}

const HEAD: &str = "\
JOIN.txt - how machines join this network
Written by genkan, which keeps it up to date: what you write here is lost.
Each key below lets one machine in, once. Do not pass this file on.

1. Install Tailscale on the machine: https://tailscale.com/download
2. Run its line there as administrator (Linux: with sudo in front).
";

const ADMINISTRATION: &str = "
To administer this box from a computer of the house
1. Put an empty file named API-KEY.txt beside this one, into the folder genkan of the card, and start the box again.
2. The box writes a fresh key into that file, and the command line to use it with.
";

/// `JOIN.txt`.
#[must_use]
pub fn join_text(sheet: &JoinSheet, doors: &Doors) -> String {
    let mut text = HEAD.to_owned();
    text.push_str(match (doors.lan, &doors.name) {
        (Some(_), Some(_)) => "   Within the house take the first line, elsewhere the second.\n",
        (Some(_), None) => "   The machine has to be in the house: this box has no public name.\n",
        (None, Some(_)) => {
            "   This box has no address in the house yet; when it has one, lines for it follow here.\n"
        }
        (None, None) => {
            "   Put the address of this box in the place of ADDRESS; once it is known it stands here.\n"
        }
    });
    for entry in &sheet.entries {
        append(&mut text, entry, doors);
    }
    if sheet.entries.is_empty() {
        text.push_str(
            "\nThe policy names no hosts, so there are no keys here. Make one: genkan preauthkeys create\n",
        );
    }
    if sheet.left_out > 0 {
        line(
            &mut text,
            format_args!("\nAnd {} hosts more: genkan preauthkeys create --host NAME", sheet.left_out),
        );
    }
    text.push_str(ADMINISTRATION);
    text
}

/// `API-KEY.txt`.
#[must_use]
pub fn api_key_text(key: &Secret<String>, until: Option<UnixTime>, doors: &Doors) -> String {
    let mut address = doors.lan.map_or_else(|| "ADDRESS".to_owned(), |address| address.to_string());
    if doors.api_port != TLS_PORT {
        let _ = write!(address, ":{}", doors.api_port);
    }
    let until = until.map_or_else(|| "for ninety days".to_owned(), |until| format!("until {until}"));
    let hint = if doors.lan.is_some() {
        ""
    } else {
        "Put the address of this box in the place of ADDRESS; it stands in STATUS.txt.\n"
    };
    let key = key.expose();
    format!(
        "\
API-KEY.txt - a key to this box, written by genkan
Whoever has it may do everything here, {until}. Take it off the card, then delete this file.

On a computer of the house:
{hint}
  genkan --address {address} --api-key {key} nodes list

or, so that other users of that computer do not see the key:

  export GENKAN_ADDRESS={address}
  export GENKAN_API_KEY={key}
  genkan nodes list

The key also tells this box from any other: no certificate has to be accepted.
To end it:   genkan apikeys list   and   genkan apikeys expire --prefix PREFIX
For another: empty this file, or put an empty one here, and start the box again.
"
    )
}

fn append(text: &mut String, entry: &Entry, doors: &Doors) {
    let address = entry.address.map(|address| format!(" ({address})")).unwrap_or_default();
    line(text, format_args!("\n{}{address}", printable(&entry.host)));
    match &entry.standing {
        Standing::Open { text: key, until } => open(text, key, *until, doors),
        Standing::Joined { name, used, has_ended } => {
            line(text, format_args!("   {}", joined(name, *used)));
            if *has_ended {
                line(
                    text,
                    format_args!(
                        "   Its login has ended. A new key: genkan preauthkeys create --host {}",
                        printable(&entry.host)
                    ),
                );
            }
        }
        Standing::Waiting => {
            line(text, format_args!("   No key can be made now: there are too many; delete some."));
        }
    }
}

fn open(text: &mut String, key: &Secret<String>, until: Option<UnixTime>, doors: &Doors) {
    let until = until.map_or_else(|| "for a week".to_owned(), |until| format!("until {until}"));
    line(text, format_args!("   Not joined yet. Its key works once, {until}; then another stands here."));
    for server in login_servers(doors) {
        line(text, format_args!("   tailscale up --login-server {server} --auth-key {}", key.expose()));
    }
}

fn login_servers(doors: &Doors) -> Vec<String> {
    let house = doors.lan.map(|address| format!("http://{address}:{}", doors.control_port));
    let port = if doors.https_port == 443 { String::new() } else { format!(":{}", doors.https_port) };
    let public = doors.name.as_ref().map(|name| format!("https://{name}{port}"));
    let known: Vec<_> = house.into_iter().chain(public).collect();
    if known.is_empty() { vec![format!("http://ADDRESS:{}", doors.control_port)] } else { known }
}

fn joined(name: &str, used: Option<Joined>) -> String {
    match used {
        Some(Joined { at: Some(at) }) => format!("Joined as {name} at {at}; its key is used."),
        Some(Joined { at: None }) => format!("Joined as {name}; its key is used."),
        None => format!("Joined as {name}."),
    }
}

/// A name comes from a file of the owner: it must not break the sheet's lines.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    writeln!(text, "{what}").expect("a string takes any text");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors() -> Doors {
        Doors {
            lan: Some(Ipv4Addr::new(192, 168, 1, 10)),
            name: Some("hs.example.com".into()),
            control_port: 8080,
            https_port: 443,
            api_port: TLS_PORT,
        }
    }

    fn sheet() -> JoinSheet {
        let text = Secret::new("hskey-auth-abc-def".to_owned());
        let standings = [
            Standing::Open { text, until: Some(UnixTime(1_800_000_000)) },
            Standing::Joined {
                name: "machine-b".into(),
                used: Some(Joined { at: Some(UnixTime(1_790_000_000)) }),
                has_ended: false,
            },
            Standing::Joined { name: "other".into(), used: None, has_ended: true },
            Standing::Waiting,
        ];
        let entry = |(number, standing): (u8, Standing)| Entry {
            host: format!("machine-{}", char::from(b'a' + number)),
            address: Some(Ipv4Addr::new(100, 64, 0, number + 2)),
            standing,
        };
        JoinSheet { entries: (0..).zip(standings).map(entry).collect(), left_out: 2 }
    }

    fn commands(text: &str) -> Vec<&str> {
        text.lines().map(str::trim).filter(|line| line.starts_with("tailscale up")).collect()
    }

    #[test]
    fn a_host_that_has_not_joined_has_ready_lines_and_no_other_has() {
        let text = join_text(&sheet(), &doors());
        assert_eq!(
            commands(&text),
            [
                "tailscale up --login-server http://192.168.1.10:8080 --auth-key hskey-auth-abc-def",
                "tailscale up --login-server https://hs.example.com --auth-key hskey-auth-abc-def",
            ]
        );
        for part in [
            "machine-a (100.64.0.2)",
            "until 2027-01-15T08:00:00Z",
            "Joined as machine-b at 2026-09-21T14:13:20Z; its key is used.",
            "Joined as other.\n   Its login has ended. A new key: genkan preauthkeys create --host machine-c",
            "And 2 hosts more",
            "empty file named API-KEY.txt",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_said() {
        let nowhere = Doors { lan: None, name: None, control_port: 81, ..doors() };
        let text = join_text(&sheet(), &nowhere);
        assert_eq!(
            commands(&text),
            ["tailscale up --login-server http://ADDRESS:81 --auth-key hskey-auth-abc-def"]
        );
        let outside = Doors { lan: None, https_port: 8443, ..doors() };
        assert!(join_text(&sheet(), &outside).contains("--login-server https://hs.example.com:8443 "));
        let empty = join_text(&JoinSheet::default(), &doors());
        assert!(empty.contains("names no hosts") && commands(&empty).is_empty(), "{empty}");
    }

    #[test]
    fn a_hosts_name_cannot_forge_a_line() {
        let mut sheet = sheet();
        sheet.entries[0].host = "a\ntailscale up --login-server http://evil.example".into();
        assert_eq!(commands(&join_text(&sheet, &doors())).len(), 2);
    }

    #[test]
    fn the_key_sheet_holds_a_command_that_can_be_copied() {
        let key = Secret::new("gkapi-1-2-3".to_owned());
        let text = api_key_text(&key, Some(UnixTime(1_800_000_000)), &doors());
        assert!(
            text.contains("\n  genkan --address 192.168.1.10 --api-key gkapi-1-2-3 nodes list\n"),
            "{text}"
        );
        assert!(text.contains("GENKAN_API_KEY=gkapi-1-2-3\n") && text.contains("until 2027-01-15T08:00:00Z"));
        let moved = api_key_text(&key, None, &Doors { api_port: 444, lan: None, ..doors() });
        assert!(moved.contains("--address ADDRESS:444 ") && moved.contains("STATUS.txt"), "{moved}");
    }
}
