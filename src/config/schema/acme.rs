//! `[acme]`: the certificate authority.

use std::path::PathBuf;

use crate::config::decode::{Keys, Table};
use crate::config::document::Node;
use crate::config::model::Acme;
use crate::config::problem::{Place, Problem};
use crate::config::seal::MARKER;
use crate::edge::core::external_account::ExternalAccount;

use super::Reader;

pub const KEYS: Keys = Keys {
    of: "[acme]",
    known: &["directory", "ca_file", "email", "eab_key_id", "eab_hmac_key"],
    planned: &[],
};

/// An account whose key was moved away: the file has the marker in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedAccount {
    pub key_id: String,
    /// Where the marker stands.
    pub place: Place,
}

impl<'d> Reader<'d> {
    pub(super) fn acme(&mut self, table: Table<'d>) -> Acme {
        let mut acme = Acme::default();
        if let Some(node) = table.value("directory")
            && let Some(url) = self.decoder.text(node, "directory")
        {
            if !is_https(url) {
                let problem = Problem::error("bad-url", format!("\"{url}\" is not an https:// address"))
                    .because("ACME is spoken over HTTPS only (RFC 8555, section 6.1).")
                    .cure("Write it as the authority's documentation has it; without the key it is Let's Encrypt.");
                self.decoder.report(node.at, problem);
            }
            url.clone_into(&mut acme.directory);
        }
        acme.ca_file =
            table.value("ca_file").and_then(|node| self.decoder.text(node, "ca_file")).map(PathBuf::from);
        acme.email = table.value("email").and_then(|node| self.email(node));
        acme.external_account = self.external_account(table);
        acme
    }

    fn email(&mut self, node: &'d Node) -> Option<String> {
        let email = self.decoder.text(node, "email")?;
        if !is_email(email) {
            let problem = Problem::error("bad-email", format!("\"{email}\" is not an e-mail address"));
            let cure = "Write one such as \"you@example.com\", or leave the key out.";
            self.decoder.report(node.at, problem.cure(cure));
        }
        Some(email.to_owned())
    }

    fn external_account(&mut self, table: Table<'d>) -> Option<ExternalAccount> {
        let (id_node, key_node) = match (table.value("eab_key_id"), table.value("eab_hmac_key")) {
            (None, None) => return None,
            (Some(id), Some(key)) => (id, key),
            (Some(lonely), None) | (None, Some(lonely)) => {
                let problem = Problem::error("missing-key", "eab_key_id and eab_hmac_key go together")
                    .cure("Write both as the authority gave them to you, or neither.");
                self.decoder.report(lonely.at, problem);
                return None;
            }
        };
        let key_id = self.decoder.text(id_node, "eab_key_id");
        let hmac_key = self.decoder.text(key_node, "eab_hmac_key");
        let (key_id, hmac_key) = (key_id?, hmac_key?);
        if hmac_key == MARKER {
            let place = self.decoder.place(key_node);
            self.sealed_account = Some(SealedAccount { key_id: key_id.to_owned(), place });
            return None;
        }
        let account = ExternalAccount::new(key_id, hmac_key);
        account.map_err(|flaw| self.decoder.report(key_node.at, bad_key(flaw))).ok()
    }
}

/// Says nothing of what was written: it may be most of a secret.
pub fn bad_key(flaw: &str) -> Problem {
    Problem::error("bad-secret", format!("eab_hmac_key cannot be this: {flaw}"))
        .cure("Copy it once more from the authority's page, whole, in quotes.")
}

fn is_https(url: &str) -> bool {
    let parsed = url.parse::<http::Uri>().ok();
    parsed.is_some_and(|uri| {
        uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty())
    })
}

fn is_email(text: &str) -> bool {
    let sound = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c == '@');
    text.split_once('@').is_some_and(|(local, domain)| sound(local) && sound(domain))
}
