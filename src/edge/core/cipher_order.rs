//! Which cipher TLS prefers, by what the processor is good at.
//!
//! Without AES instructions (Raspberry Pi 3 and 4) AES-GCM takes 3.6 times the instructions of ChaCha20-Poly1305, and browsers
//! ask for AES first. With them AES is the faster one by far.

use std::cmp::Reverse;

/// What counts of a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processor {
    /// Instructions for AES and for the multiplication that GCM needs.
    pub has_aes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    Aes,
    ChaCha20,
}

/// What a server does with the orders of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CipherOrder {
    first: Cipher,
}

impl CipherOrder {
    #[must_use]
    pub fn of(processor: Processor) -> Self {
        Self { first: if processor.has_aes { Cipher::Aes } else { Cipher::ChaCha20 } }
    }

    /// Puts what is preferred first; the order is kept otherwise.
    pub fn sort<T>(self, suites: &mut [T], cipher: impl Fn(&T) -> Cipher) {
        suites.sort_by_key(|suite| Reverse(cipher(suite) == self.first));
    }

    /// Whether the server's order holds against the client's. With AES instructions here the client knows better: it may be
    /// the one that has none.
    #[must_use]
    pub fn ignores_client(self) -> bool {
        self.first == Cipher::ChaCha20
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(has_aes: bool) -> (Vec<&'static str>, bool) {
        let order = CipherOrder::of(Processor { has_aes });
        let mut suites = vec!["AES-256", "CHACHA", "AES-128"];
        order.sort(&mut suites, |name| if *name == "CHACHA" { Cipher::ChaCha20 } else { Cipher::Aes });
        (suites, order.ignores_client())
    }

    #[test]
    fn the_processor_decides() {
        assert_eq!(sorted(true), (vec!["AES-256", "AES-128", "CHACHA"], false));
        assert_eq!(sorted(false), (vec!["CHACHA", "AES-256", "AES-128"], true));
    }
}
