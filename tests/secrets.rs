//! A planted secret shows up nowhere: not in the report, not in a problem, not in the log, not on a page, not in the status text.

use std::process::Command;

use genkan::appliance::core::status_text::status_text;
use genkan::base::condition::{Condition, Severity};
use genkan::config::{self, SECRETS, SECRETS_FOLDER};
use genkan::web::status::Status;
use genkan::wire::supervision::BoxStatus;

const SECRET: &str = "UExBTlRFRC1TRUNSRVQtVE9LRU4tMDEyMzQ1Njc4OQ";
const KEY_ID: &str = "kid-planted-42";

/// Ways in which the secret may stand in the file, right and wrong.
const SETTINGS: [&str; 9] = [
    "[acme]\neab_key_id = \"KEY_ID\"\neab_hmac_key = \"SECRET\"\n",
    "[acme]\r\neab_key_id = \"KEY_ID\"\r\neab_hmac_key = 'SECRET' # mine\r\n",
    "[acme]\neab_hmac_key = \"SECRET\"\n",
    "[acme]\neab_key_id = 1\neab_hmac_key = [\"SECRET\"]\n",
    "[acme]\neab_key_id = \"KEY_ID\"\neab_hmac_key = \"SECRET!\"\n",
    "[acme]\neab_key_id = \"KEY_ID\"\neab_hmac_key = SECRET\n",
    "[acme]\neab_key_id = \"KEY_ID\"\neab_hmac_key = \"SECRET\n",
    "[acme]\neab_key_id = \"KEY_ID\"\neab_hmac_key = “SECRET”\n",
    "[acme]\neab_key_id = \"KEY_ID\"\neab_hmac_key = \"SECRET\"\neab_hmac_key = \"SECRET\"\n",
];

fn planted(template: &str) -> String {
    template.replace("SECRET", SECRET).replace("KEY_ID", KEY_ID)
}

fn assert_clean(text: &str, where_from: &str) {
    for (what, planted) in [("the key", SECRET), ("the key's id", KEY_ID)] {
        assert!(!text.contains(planted), "{what} is in {where_from}:\n{text}");
    }
}

#[test]
fn no_report_and_no_problem_shows_it() {
    for template in SETTINGS {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("genkan.toml"), planted(template)).expect("written");
        let loaded = config::load(folder.path());
        assert_clean(&format!("{loaded:?}"), "what was loaded");
        for options in [&[][..], &["--json"]] {
            let run = Command::new(env!("CARGO_BIN_EXE_genkan"))
                .args(["check", "--config"])
                .arg(folder.path())
                .args(options)
                .output()
                .expect("it runs");
            assert_clean(&String::from_utf8_lossy(&run.stdout), "the report");
            assert_clean(&String::from_utf8_lossy(&run.stderr), "the report's errors");
        }
        let conditions: Vec<Condition> = loaded
            .problems
            .iter()
            .map(|problem| Condition::new("CFG-01", Severity::Error, problem.to_string()))
            .collect();
        assert_clean(&status_text(&BoxStatus::default(), &conditions, &[]), "the status text");
        let status = Status { conditions, ..Status::default() };
        assert_clean(&status.page(), "the page");
        assert_clean(&status.json(), "the status as JSON");
    }
}

#[test]
fn sealed_it_is_read_from_its_folder_and_without_it_the_owner_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("genkan.toml");
    std::fs::write(&file, planted(SETTINGS[1])).expect("written");
    let open = config::load(folder.path()).model.expect("a model").acme.external_account.expect("an account");

    let sealed = config::seal(&std::fs::read(&file).expect("read"), &SECRETS).expect("a secret");
    assert!(!String::from_utf8_lossy(&sealed.text).contains(SECRET));
    std::fs::write(&file, &sealed.text).expect("written");
    let lost = config::load(folder.path());
    assert_eq!(lost.model.expect("it works without").acme.external_account, None);
    assert!(lost.problems.iter().any(|problem| problem.code == "secret-missing" && problem.place.line == 3));

    let secrets = folder.path().join(SECRETS_FOLDER);
    std::fs::create_dir(&secrets).expect("made");
    for (key, value) in &sealed.secrets {
        std::fs::write(secrets.join(key.file()), value.expose()).expect("written");
    }
    let again = config::load(folder.path()).model.expect("a model").acme.external_account;
    assert_eq!(again.as_ref(), Some(&open));
    let elsewhere =
        config::load_sealed(folder.path(), &secrets).model.expect("a model").acme.external_account;
    assert_eq!(elsewhere, Some(open));
}
