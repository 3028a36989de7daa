//! How far something is, for who watches at a terminal.

use std::io::{self, IsTerminal};

/// Says on a terminal how far something is, and nothing where nobody looks.
pub struct Meter {
    what: &'static str,
    total: Option<u64>,
    said: Option<u64>,
    shown: bool,
}

impl Meter {
    /// `total` in bytes, where it is known.
    pub fn new(what: &'static str, total: Option<u64>) -> Self {
        Self { what, total, said: None, shown: io::stderr().is_terminal() }
    }

    /// So many bytes are done, in all.
    pub fn reach(&mut self, done: u64) {
        let (number, unit) = match self.total {
            Some(total) => (done.saturating_mul(100) / total.max(1), "%"),
            None => (done >> 20, "MiB"),
        };
        if self.shown && self.said != Some(number) {
            self.said = Some(number);
            eprint!("\r{} {number} {unit} ", self.what);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.said.is_some() {
            eprintln!();
        }
    }
}
