//! What survives a crash: the kernel's records of the last one, and the mark that this run has not ended well yet.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::core::crash::{Record, judge};
use super::core::retention::{CRASH_BUDGET, CRASHES_MAX, surplus};

/// Bytes read of one record.
const RECORD_MAX: u64 = 256 * 1024;
/// Records read at a boot.
const RECORDS_MAX: usize = 32;
/// In the folder `box`: there while the box runs, gone after an end in good order.
const RUNNING: &str = "running";
/// Where a last word outlives a warm reset.
const LAST_WORD: &str = "/dev/pmsg0";

/// Moves the kernel's records from `pstore` to `own/crash` and gives a text per crash. Marks this run as begun.
///
/// # Errors
/// The records cannot be kept; they stay with the kernel.
pub fn collect(pstore: &Path, own: &Path) -> io::Result<Vec<String>> {
    let mark = own.join(RUNNING);
    let was_orderly = !mark.exists();
    let records = read(pstore);
    let told = judge(&records, was_orderly);
    let folder = own.join("crash");
    if !told.is_empty() {
        keep(&records, &folder)?;
    }
    for record in &records {
        std::fs::remove_file(pstore.join(&record.name))?;
    }
    if was_orderly {
        std::fs::File::create(mark)?;
    }
    Ok(told)
}

/// This run ends in good order.
pub fn forget_run(own: &Path) {
    drop(std::fs::remove_file(own.join(RUNNING)));
}

/// Leaves a text that the next boot finds; where the kernel keeps none, it is lost.
pub fn last_word(text: &str) {
    drop(std::fs::OpenOptions::new().write(true).open(LAST_WORD).and_then(|mut file| {
        use std::io::Write;
        file.write_all(text.as_bytes())
    }));
}

fn read(pstore: &Path) -> Vec<Record> {
    let entries = std::fs::read_dir(pstore).into_iter().flatten().flatten().take(RECORDS_MAX);
    let mut records: Vec<Record> = entries
        .filter_map(|entry| {
            let mut bytes = Vec::new();
            let file = std::fs::File::open(entry.path()).ok()?;
            file.take(RECORD_MAX).read_to_end(&mut bytes).ok()?;
            let name = entry.file_name().into_string().ok()?;
            Some(Record { name, text: String::from_utf8_lossy(&bytes).into_owned() })
        })
        .collect();
    records.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    records
}

/// Writes the records as one file, numbered on from the newest, and removes what is too much.
fn keep(records: &[Record], folder: &Path) -> io::Result<()> {
    let names =
        || {
            std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| {
                Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?.len()))
            })
        };
    let number = |name: &str| name.strip_suffix(".txt")?.parse::<u32>().ok();
    let next = names().filter_map(|(name, _)| number(&name)).max().map_or(1, |last| last.saturating_add(1));
    let texts: Vec<String> =
        records.iter().map(|record| format!("==== {}\n{}\n", record.name, record.text)).collect();
    let mut file = File::create(folder.join(format!("{next:08}.txt")))?;
    file.write_all(texts.concat().as_bytes())?;
    // The kernel's own copy is removed next.
    file.sync_all()?;
    let files: Vec<(String, u64)> = names().collect();
    surplus(files, CRASHES_MAX, CRASH_BUDGET)
        .iter()
        .try_for_each(|name| std::fs::remove_file(folder.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_kept_once_and_told() {
        let root = tempfile::tempdir().expect("a folder");
        let (pstore, own) = (root.path().join("pstore"), root.path().join("box"));
        std::fs::create_dir_all(&pstore).expect("a folder");
        std::fs::create_dir_all(own.join("crash")).expect("a folder");
        assert_eq!(collect(&pstore, &own).expect("nothing to keep"), Vec::<String>::new());
        std::fs::write(pstore.join("dmesg-ramoops-0"), "Kernel panic - not syncing: test").expect("a file");
        assert_eq!(collect(&pstore, &own).expect("it fits"), ["Kernel panic - not syncing: test"]);
        assert_eq!(std::fs::read_dir(&pstore).expect("a folder").count(), 0);
        assert!(own.join("crash/00000001.txt").is_file());
        forget_run(&own);
        std::fs::write(pstore.join("console-ramoops-0"), "all is well").expect("a file");
        assert_eq!(collect(&pstore, &own).expect("it fits"), Vec::<String>::new());
    }

    #[test]
    fn old_crashes_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let record = [Record { name: "dmesg-ramoops-0".into(), text: "x".into() }];
        (0..CRASHES_MAX + 5).for_each(|_| keep(&record, folder.path()).expect("it fits"));
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), CRASHES_MAX);
        assert!(!folder.path().join("00000001.txt").exists() && folder.path().join("00000021.txt").exists());
    }
}
