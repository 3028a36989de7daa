//! Secrets leave the owner's file: their values go where only the program reads them, a marker stays.
//!
//! The owner writes a secret into `genkan.toml` on the card's first partition, which every computer reads. After the file has been
//! found good, the box keeps the secret on its data partition and writes the file back with [`MARKER`] in the secret's place. Only the
//! value's own bytes change: comments, line ends, the byte order mark and everything else stay as the owner left them.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::base::secret::Secret;

/// What stands in the file for a secret that was moved away.
pub const MARKER: &str = "sealed";

/// The folder beside the files in which the secrets that were moved away are looked for, one a file.
pub const SECRETS_FOLDER: &str = "secrets";

/// A key of `genkan.toml` whose value is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretKey {
    pub section: &'static str,
    pub key: &'static str,
}

/// Every one there is.
pub const SECRETS: [SecretKey; 1] = [EAB_HMAC_KEY];

pub const EAB_HMAC_KEY: SecretKey = SecretKey { section: "acme", key: "eab_hmac_key" };

/// What became of a file.
#[derive(Debug)]
pub struct Sealed {
    /// The file to write back.
    pub text: Vec<u8>,
    /// What stood in it, in the order of the file.
    pub secrets: Vec<(SecretKey, Secret<String>)>,
}

impl SecretKey {
    /// The name of its file in [`SECRETS_FOLDER`].
    #[must_use]
    pub fn file(self) -> String {
        format!("{}.{}", self.section, self.key)
    }
}

/// Takes the values of `keys` out of a `genkan.toml`. `None` when there is nothing to take, and for a file that cannot be read as it stands.
#[must_use]
pub fn seal(bytes: &[u8], keys: &[SecretKey]) -> Option<Sealed> {
    let mark = usize::from(bytes.starts_with(b"\xef\xbb\xbf")) * 3;
    let text = std::str::from_utf8(bytes.get(mark..)?).ok()?;
    let mut found: Vec<(Range<usize>, SecretKey, Secret<String>)> =
        keys.iter().filter_map(|key| find(text, *key)).collect();
    found.sort_by_key(|(span, ..)| span.start);
    if found.is_empty() {
        return None;
    }
    let mut sealed = bytes.to_vec();
    let marker = format!("\"{MARKER}\"");
    for (span, ..) in found.iter().rev() {
        sealed.splice(mark + span.start..mark + span.end, marker.bytes());
    }
    let secrets = found.into_iter().map(|(_, key, value)| (key, value)).collect();
    Some(Sealed { text: sealed, secrets })
}

/// Where the value of `key` stands, with its quotes.
fn find(text: &str, key: SecretKey) -> Option<(Range<usize>, SecretKey, Secret<String>)> {
    // Lone CRs end lines for `Document`, too; offsets stay.
    let lines = if text.contains('\n') { text.to_owned() } else { text.replace('\r', "\n") };
    let lines = Secret::new(lines);
    let table = DeTable::parse(lines.expose()).ok()?;
    let DeValue::Table(section) = table.get_ref().get(key.section)?.get_ref() else { return None };
    let value = section.get(key.key)?;
    let DeValue::String(secret) = value.get_ref() else { return None };
    (!secret.is_empty() && secret != MARKER).then(|| (value.span(), key, Secret::new(secret.to_string())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(text: &str) -> (String, Vec<String>) {
        let sealed = seal(text.as_bytes(), &SECRETS).expect("a secret");
        let secrets = sealed.secrets.iter().map(|(key, value)| format!("{}={}", key.file(), value.expose()));
        (String::from_utf8(sealed.text).expect("text"), secrets.collect())
    }

    #[test]
    fn only_the_value_changes() {
        for (before, after) in [
            (
                "\u{feff}# mine\r\n[acme] # here\r\n\teab_hmac_key = \"TOKEN\" # note\r\n",
                "\u{feff}# mine\r\n[acme] # here\r\n\teab_hmac_key = \"sealed\" # note\r\n",
            ),
            (
                "acme = { eab_hmac_key='TOKEN', email = 'é' }",
                "acme = { eab_hmac_key=\"sealed\", email = 'é' }",
            ),
            (
                "[acme]\neab_hmac_key = \"\"\"TOKEN\"\"\"\n[lan]\n",
                "[acme]\neab_hmac_key = \"sealed\"\n[lan]\n",
            ),
            ("[acme]\reab_hmac_key = \"TOKEN\"\r", "[acme]\reab_hmac_key = \"sealed\"\r"),
            ("acme.\"eab_hmac_key\" = \"TO\\u004bEN\"", "acme.\"eab_hmac_key\" = \"sealed\""),
        ] {
            assert_eq!(sealed(before), (after.to_owned(), vec!["acme.eab_hmac_key=TOKEN".to_owned()]));
            assert!(seal(after.as_bytes(), &SECRETS).is_none(), "sealed once is sealed");
        }
    }

    #[test]
    fn there_is_nothing_to_seal_in_other_files() {
        for text in
            ["", "[acme]\neab_hmac_key = 1\n", "[acme]\neab_hmac_key = \"\"\n", "[acme", "eab_hmac_key = 'x'"]
        {
            assert!(seal(text.as_bytes(), &SECRETS).is_none(), "{text}");
        }
        assert!(seal(b"\xff\xfe", &SECRETS).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = seal(&bytes, &SECRETS);
        }

        #[test]
        fn whatever_the_secret_it_is_gone_and_the_rest_stays(
            secret in "[ -~äß日]{1,40}", before in "(# [a-z]{0,9}\r?\n){0,3}", after in "( # [a-z]{0,9})?\r?\n",
        ) {
            prop_assume!(secret != MARKER);
            let quoted = toml::Value::String(secret.clone()).to_string();
            let text = format!("{before}[acme]\neab_hmac_key = {quoted}{after}");
            let (left, secrets) = sealed(&text);
            prop_assert_eq!(left, format!("{before}[acme]\neab_hmac_key = \"sealed\"{after}"));
            prop_assert_eq!(secrets, [format!("acme.eab_hmac_key={secret}")]);
        }
    }
}
