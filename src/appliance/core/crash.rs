//! What the kernel kept over a warm reset (pstore), judged: was it a crash, and which?

/// One file of pstore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// As the kernel names it: `dmesg-ramoops-0`, `console-ramoops-0`, `pmsg-ramoops-0`.
    pub name: String,
    pub text: String,
}

/// Longest text that is shown of a crash, in characters.
const SHOWN: usize = 200;

/// Beginnings of what a kernel says of its own end, and our own panic.
const MARKS: [&str; 6] = [
    "panicked at ",
    "Kernel panic",
    "Unable to handle kernel",
    "BUG: ",
    "Internal error: Oops",
    "watchdog: ",
];

/// One text per crash; empty when `records` merely tell of a restart in good order.
#[must_use]
pub fn judge(records: &[Record], was_orderly: bool) -> Vec<String> {
    let told: Vec<String> = records.iter().filter(|record| !is_console(record)).filter_map(cause).collect();
    if !told.is_empty() || was_orderly {
        return told;
    }
    // A power cut empties the memory: what is left of the console was kept by a reset.
    let console = records.iter().find(|record| is_console(record) && !record.text.trim().is_empty());
    let reset = |record: &Record| {
        cause(record).unwrap_or_else(|| "it was reset without a word (watchdog)".to_owned())
    };
    console.map(reset).into_iter().collect()
}

fn is_console(record: &Record) -> bool {
    record.name.starts_with("console")
}

/// The line that says why, without the kernel's time stamp.
fn cause(record: &Record) -> Option<String> {
    let marked = |line: &&str| MARKS.iter().any(|mark| line.contains(mark));
    let fallback = || record.name.starts_with("dmesg").then_some("the kernel crashed");
    let line = record.text.lines().find(marked).or_else(fallback)?;
    let line = line.trim_start();
    let line = match line.split_once(']') {
        Some((stamp, rest)) if stamp.starts_with('[') || stamp.starts_with('<') => rest.trim_start(),
        _ => line,
    };
    let printable = line.chars().filter(|c| !c.is_control());
    Some(printable.take(SHOWN).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(name: &str, text: &str) -> Record {
        Record { name: name.into(), text: text.into() }
    }

    #[test]
    fn a_restart_in_good_order_is_no_crash_and_a_silent_reset_is() {
        let console = [record("console-ramoops-0", "[    1.2] eth0: link up\n")];
        assert_eq!(judge(&console, true), Vec::<String>::new());
        assert_eq!(judge(&console, false).len(), 1);
        assert_eq!(judge(&[], false), Vec::<String>::new(), "a power cut");
    }

    #[test]
    fn the_cause_is_the_line_that_says_so() {
        let records = [
            record("dmesg-ramoops-0", "Panic#1 Part1\n<0>[   12.3] Kernel panic - not syncing: x\n"),
            record("pmsg-ramoops-0", "init panicked at src/appliance/x.rs:1:1: broken\n"),
            record("console-ramoops-0", "[ 12.3] Kernel panic - not syncing: x"),
        ];
        let told = judge(&records, false);
        assert_eq!(
            told,
            ["Kernel panic - not syncing: x", "init panicked at src/appliance/x.rs:1:1: broken"]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_judged(name in "(dmesg|console|pmsg|x)-[a-z0-9]{0,5}", text in "\\PC{0,300}", orderly: bool) {
            for told in judge(&[record(&name, &text)], orderly) {
                prop_assert!(told.chars().count() <= SHOWN && !told.contains('\n'));
            }
        }
    }
}
